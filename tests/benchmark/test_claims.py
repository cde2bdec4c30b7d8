"""Who works on what: leases between machines whose clocks differ, and processes that share a folder."""

import multiprocessing
import os
import socket
import time

import pytest

from jtrack.benchmark import protocol, results
from jtrack.errors import JtrackError

LABEL = {"tracker": "hcft", "profile": "default", "backbone": "hog", "seed": 0}
OPE = protocol.load("ope")
SPAWN = multiprocessing.get_context("spawn")
BRIEF = 1.5  # seconds of a lease in these tests


def elsewhere(ahead):
    """Makes this process one of another machine, whose clocks are ahead by some seconds."""
    socket.gethostname = lambda: "elsewhere"
    for name in ("time", "monotonic"):
        real = getattr(time, name)
        setattr(time, name, lambda real=real: real() + ahead)


def hold(folder, ahead, ready, until):
    elsewhere(ahead)
    results.LEASE = BRIEF
    with results.Store(folder, claims="lease").lock(OPE, "Walk", wait=True) as mine:
        assert mine
        ready.set()
        until.wait(60)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "LEASE", BRIEF)
    return results.open_store(tmp_path / "out", LABEL, {}, claims="lease").folder


@pytest.fixture(params=[-86400.0, 0.0, 86400.0], ids=["a day behind", "together", "a day ahead"])
def holder(request, folder):
    """A process of another machine that holds a sequence, and what ends it well."""
    ready, until = SPAWN.Event(), SPAWN.Event()
    process = SPAWN.Process(target=hold, args=(folder, request.param, ready, until))
    process.start()
    assert ready.wait(60)
    yield process, until
    process.kill()
    process.join()


def is_free(store):
    with store.lock(OPE, "Walk", wait=False) as mine:
        return mine


@pytest.mark.slow
def test_a_live_holder_keeps_its_lease(folder, holder):
    store, begun = results.Store(folder, claims="lease"), time.monotonic()
    while time.monotonic() - begun < 3 * BRIEF:
        assert not is_free(store)
        time.sleep(0.1)
    with store.lock(OPE, "Run", wait=False) as mine:
        assert mine


def test_a_lease_that_is_let_go_is_free(folder, holder):
    process, until = holder
    until.set()
    process.join(60)
    assert is_free(results.Store(folder, claims="lease"))


@pytest.mark.parametrize("stamp", [1, 2**32], ids=["old by the disk's clock", "new by the disk's clock"])
def test_a_dead_holders_lease_is_taken_after_its_time_and_not_before(folder, holder, stamp):
    process, _ = holder
    store = results.Store(folder, claims="lease")
    assert not is_free(store)
    process.kill()
    process.join()
    (lease,) = folder.rglob("*.lease")
    os.utime(lease, (stamp, stamp))
    begun = time.monotonic()
    assert not is_free(store)
    with store.lock(OPE, "Walk", wait=True) as mine:
        assert mine
    assert BRIEF <= time.monotonic() - begun < 4 * BRIEF


def die_holding(folder, ready):
    with results.Store(folder, claims="lease").lock(OPE, "Walk", wait=True):
        ready.set()
        time.sleep(60)


def test_a_dead_process_of_the_same_machine_is_not_waited_for(tmp_path):
    folder = results.open_store(tmp_path, LABEL, {}, claims="lease").folder
    ready = SPAWN.Event()
    process = SPAWN.Process(target=die_holding, args=(folder, ready))
    process.start()
    assert ready.wait(60)
    store = results.Store(folder, claims="lease")
    assert not is_free(store)
    process.kill()
    process.join()
    begun = time.monotonic()
    with store.lock(OPE, "Walk", wait=True) as mine:
        assert mine
    assert time.monotonic() - begun < results.LEASE / 3


def take_turns(folder, path, ready):
    results.LEASE = BRIEF
    store = results.Store(folder, claims="lease")
    ready.wait(60)
    for _ in range(10):
        with store.lock(OPE, "Walk", wait=True) as mine:
            assert mine
            number = int(path.read_text())
            time.sleep(0.001)
            path.write_text(str(number + 1))


def three_at_once(work, folder, *argument):
    """Runs `work(folder, what, barrier)` in three processes, what is the argument or else their number."""
    ready = SPAWN.Barrier(3)
    processes = [
        SPAWN.Process(target=work, args=(folder, *(argument or (number,)), ready)) for number in range(3)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0, 0]


def test_a_lease_is_one_processs_at_a_time(folder, tmp_path):
    path = tmp_path / "count"
    path.write_text("0")
    three_at_once(take_turns, folder, path)
    assert path.read_text() == "30"


def begin(folder, number, ready):
    results.LEASE = BRIEF
    ready.wait(60)
    for more in range(5):
        name = f"{number}-{more}"
        store = results.open_store(folder, LABEL, {}, {name: name}, {"processor": name}, claims="lease")
        assert results.read_label(store.folder)["machines"][store.machine] == {"processor": name}


def test_processes_that_begin_a_run_at_once_forget_none_of_them(tmp_path):
    three_at_once(begin, tmp_path)
    (run,) = filter(results.is_run, tmp_path.iterdir())
    label = results.read_label(run)
    assert len(label["machines"]) == len(label["sequences"]) == 15


def test_another_kind_of_claim_is_refused(tmp_path):
    with pytest.raises(JtrackError, match="unknown claim 'luck'"):
        results.open_store(tmp_path, LABEL, {}, claims="luck")


def test_a_disk_without_locks_is_told_what_to_do(tmp_path, monkeypatch):
    import fcntl

    def none(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with pytest.raises(JtrackError, match="No locks available: this disk has no locks, give --claims lease"):
        results.open_store(tmp_path, LABEL, {})
    results.open_store(tmp_path, LABEL, {}, claims="lease")
