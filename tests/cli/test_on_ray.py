"""`jtrack eval --on ray`: workers that die and nodes that leave, and still the bits of a run without Ray."""

import dataclasses
import functools
import os
import signal
import threading
import time
import warnings

import cv2
import numpy as np
import pytest

from jtrack.benchmark import adapters, cluster, protocol, results
from jtrack.benchmark.cluster import Equipment
from jtrack.benchmark.evaluate import evaluate, evaluate_all
from jtrack.cli.eval import ready
from jtrack.data import open_dataset
from jtrack.errors import JtrackError

OPE, SRE4 = map(protocol.load, ("ope", "sre4"))
NAMES = [f"walk{number}" for number in range(6)]
# Draws from the trial's seed and sees the frames. Kills its process at frame 3 of a video called
# `deadly`: once if there is a file beside it to be removed, else always.
DRUNKARD = """
import os, pathlib, signal, time
import numpy as np

FUSE = pathlib.Path(__file__).with_name("fuse")
PACE = pathlib.Path(__file__).with_name("pace")

class Drunkard:
    def __init__(self, seed):
        self.rng, self.seen = np.random.default_rng(seed), 0
    def init(self, frame, box):
        self.box = np.array(box)
    def update(self, frame):
        self.seen += 1
        if PACE.exists():
            time.sleep(float(PACE.read_text()))
        if frame[0, 0, 0] == DEADLY and self.seen == 3 and FUSE.exists():
            if FUSE.read_text() == "once":
                FUSE.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        self.box[:2] += self.rng.normal(size=2) + frame.mean() / 100
        return self.box
"""
DEADLY = 30  # the grey of the video that kills


@pytest.fixture
def videos(tmp_path):
    """Six small videos; the fourth is the deadly one."""
    root = tmp_path / "videos"
    for number, name in enumerate(NAMES):
        (root / name).mkdir(parents=True)
        for index in range(8):
            cv2.imwrite(str(root / name / f"{index}.png"), np.full((40, 50, 3), 10 * number, np.uint8))
        (root / name / "groundtruth.txt").write_text(f"{5 + number},6,12,14\n" * 8)
    return root


@pytest.fixture
def drunkard(tmp_path):
    path = tmp_path / "drunkard.py"
    path.write_text(DRUNKARD.replace("DEADLY", str(DEADLY)))
    return path


@pytest.fixture
def command(videos, drunkard):
    return [
        "eval",
        "--tracker",
        f"{drunkard}:Drunkard",
        "--dataset",
        "folder",
        "--root",
        videos,
        "--repeats",
        3,
    ]


def bits(folder):
    """All that a run's trials are, but how long they took; and that there is one run, without failures."""
    (found,) = results.load(folder)
    assert not found.failures
    return {
        name: [(trial.start, trial.boxes.tobytes(), trial.status.tobytes(), trial.scores) for trial in trials]
        for name, trials in found.trajectories.items()
    }


@pytest.fixture
def whole(jtrack, command, tmp_path):
    """The bits of a run without Ray."""
    jtrack(*command, "--results", tmp_path / "whole")
    return bits(tmp_path / "whole")


@pytest.fixture(scope="module")
def two_cpus():
    """Two nodes with room for a worker each, on which commands of this process then run."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    nodes.add_node(num_cpus=1)
    ray.init(address=nodes.address, log_to_driver=False)
    yield nodes
    ray.shutdown()
    nodes.shutdown()


@pytest.fixture(params=[2, 4])
def workers(request, two_cpus):
    """How many there is room for."""
    more = [two_cpus.add_node(num_cpus=1) for _ in range(request.param - 2)]
    yield request.param
    for node in more:
        two_cpus.remove_node(node)


@pytest.mark.slow
def test_one_is_killed_in_the_middle(jtrack, command, whole, drunkard, tmp_path, workers):
    fuse = drunkard.with_name("fuse")
    fuse.write_text("once")
    with pytest.warns(UserWarning, match="a worker died at walk3, which another is given"):
        done = jtrack(*command, "--results", tmp_path / "out", "--on", "ray")
    assert not fuse.exists() and f"jtrack: {workers} workers" in done.stderr
    assert "18 trials run" in done.stdout  # nothing twice
    assert bits(tmp_path / "out") == whole and len(whole) == 6
    (loaded,) = results.load(tmp_path / "out")
    made_on = {trial.machine for trials in loaded.trajectories.values() for trial in trials}
    assert made_on == {0} and len(loaded.machines) == 1
    again = jtrack(*command, "--results", tmp_path / "out", "--on", "ray")
    assert "0 trials run, 18 were there" in again.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("two_cpus")
def test_a_video_that_kills_all_its_workers_fails_alone(jtrack, command, drunkard, tmp_path):
    drunkard.with_name("fuse").write_text("always")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        done = jtrack(*command, "--results", tmp_path / "out", "--on", "ray", code=1)
    assert "walk3 failed: 3 workers died at it" in done.stderr
    (loaded,) = results.load(tmp_path / "out")
    assert sorted(loaded.trajectories) == [name for name in NAMES if name != "walk3"]


@pytest.mark.slow
@pytest.mark.usefixtures("two_cpus")
def test_a_failure_is_kept_with_its_traceback(jtrack, command, videos, tmp_path):
    (videos / "walk1" / "4.png").write_bytes(b"\x89PNG cut")
    done = jtrack(*command, "--results", tmp_path / "out", "--on", "ray", code=1)
    assert "walk1 failed: " in done.stderr and "4.png" in done.stderr
    assert "1 of 6 sequences failed" in done.stderr
    assert "Traceback" in next((tmp_path / "out").rglob("walk1.error")).read_text()


@pytest.mark.slow
@pytest.mark.usefixtures("two_cpus")
def test_a_shard_runs_there_as_well(jtrack, command, whole, tmp_path):
    for shard in ("1/2", "0/2"):
        jtrack(*command, "--results", tmp_path / "out", "--on", "ray", "--shard", shard)
    assert bits(tmp_path / "out") == whole


@pytest.mark.slow
@pytest.mark.usefixtures("two_cpus")
def test_what_a_worker_lacks_is_named_before_the_first_task(jtrack, command, videos, tmp_path):
    make = functools.partial(adapters.in_settings, "hcft", [], backbone="hog")
    elsewhere = functools.partial(open_dataset, "folder", tmp_path / "none")
    with (
        pytest.raises(JtrackError, match=r"on [0-9.]+: .*none"),
        cluster.workers("ray", make, elsewhere, OPE),
    ):
        raise AssertionError("it was begun")
    command[2] = "no_such_module_of_trackers:Drunkard"
    done = jtrack(*command, "--results", tmp_path / "out", "--on", "ray", code=2)
    assert "on " in done.stderr and "no_such_module_of_trackers" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("two_cpus")
def test_a_video_that_is_another_on_the_worker_fails(videos, tmp_path):
    make = functools.partial(adapters.in_settings, "hcft", [], backbone="hog")
    ours = reannotated(open_dataset("folder", videos), "walk2")
    with cluster.workers("ray", make, functools.partial(open_dataset, "folder", videos), OPE) as crew:
        [done] = evaluate_all(crew.trackers, ours, OPE, tmp_path / "out", limit=2, executor=crew)
    assert list(done.failures) == ["walk2"] and done.made == 5


@pytest.mark.slow
@pytest.mark.usefixtures("two_cpus")
def test_lanes_and_starts_are_those_of_a_process(videos, tmp_path):
    make = functools.partial(adapters.in_settings, "hcft", [], backbone="hog")
    videos = functools.partial(open_dataset, "folder", videos, sequences=NAMES[:2])
    options = {"lanes": 2, "limit": 3}
    with cluster.workers("ray", make, videos, SRE4, lanes=2) as crew:
        [done] = evaluate_all(crew.trackers, videos(), SRE4, tmp_path / "out", executor=crew, **options)
    assert done.made == 8
    evaluate(make()[0], videos(), SRE4, tmp_path / "whole", **options)
    assert str(bits(tmp_path / "out")) == str(bits(tmp_path / "whole"))


@pytest.mark.slow
@pytest.mark.usefixtures("two_cpus")
def test_there_must_be_room(jtrack, command, tmp_path):
    done = jtrack(*command, "--results", tmp_path, "--on", "ray", "--num-cpus", 3, code=2)
    assert "the cluster has 2 CPUs and 0 GPUs: there is no room for a worker of --num-cpus 3" in done.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("two_cpus")
def test_a_sweep_goes_on_with_what_a_process_has_begun(jtrack, videos, tmp_path):
    sweep = [
        "sweep",
        "--dataset",
        "folder",
        "--root",
        videos,
        "--sequences",
        "walk0,walk1",
        "--backbone",
        "tiny",
    ]
    sweep += ["--set", "learning_rate=0.02", "--limit-frames", 4, "--lanes", 1, "--results", tmp_path / "out"]
    jtrack(*sweep, "--shard", "0/2")
    done = jtrack(*sweep, "--on", "ray")
    assert "2 trials run, 2 were there" in done.stdout and "(base)" in done.stdout


class Unknown:
    """What a worker cannot import: it has no module of tests."""


@pytest.mark.slow
@pytest.mark.usefixtures("two_cpus")
def test_a_module_that_workers_lack_is_named(videos):
    videos = functools.partial(open_dataset, "folder", videos)
    with (
        pytest.raises(JtrackError, match=r"a worker cannot begin: .*No module named 'test_on_ray'"),
        cluster.workers("ray", Unknown, videos, OPE),
    ):
        raise AssertionError("it was begun")


def reannotated(dataset, name):
    """A dataset that has another annotation of a sequence than its files say."""

    def changed(asked):
        sequence = dataset.sequence(asked)
        return dataclasses.replace(sequence, boxes=sequence.boxes + 1) if asked == name else sequence

    return dataclasses.replace(dataset, sequence=changed)


@pytest.mark.slow
def test_a_node_that_leaves_takes_nothing_with_it(two_cpus, videos, drunkard, tmp_path):
    make = functools.partial(ready, "float32", f"{drunkard}:Drunkard")
    opened = functools.partial(open_dataset, "folder", videos)
    evaluate(make()[0], opened(), OPE, tmp_path / "whole", repeats=3)
    drunkard.with_name("pace").write_text("0.2")
    leaving = two_cpus.add_node(num_cpus=1)
    leave = threading.Thread(target=two_cpus.remove_node, args=(leaving,))

    def on_progress(done):
        if done.frames > 20 and not leave.ident:
            leave.start()

    with cluster.workers("ray", make, opened, OPE) as crew, pytest.warns(UserWarning, match="a worker died"):
        assert len(crew.hired) == 3
        options = {"repeats": 3, "executor": crew, "on_progress": on_progress}
        [done] = evaluate_all(crew.trackers, opened(), OPE, tmp_path / "out", **options)
        leave.join()
        assert len(crew.hired) == 2
    assert done.made == 18 and not done.failures
    assert bits(tmp_path / "out") == bits(tmp_path / "whole")


@pytest.mark.slow
def test_an_interruption_ends_cleanly_and_can_go_on(process, command, whole, drunkard, tmp_path):
    pytest.importorskip("ray")
    out = tmp_path / "out"
    pace = drunkard.with_name("pace")
    pace.write_text("0.3")
    line = [*command, "--results", out, "--on", "ray"]
    started = process(*line, RAY_ADDRESS="local")
    begun = time.monotonic()
    while not [*out.rglob("walk*.csv")]:
        assert started.poll() is None, started.communicate()
        assert time.monotonic() - begun < 120
        time.sleep(0.1)
    started.send_signal(signal.SIGINT)
    _, errors = started.communicate(timeout=60)
    assert started.returncode == 130, errors
    assert errors.splitlines()[-1] == "jtrack: interrupted" and "Traceback" not in errors
    kept = len([*out.rglob("walk*.csv")])
    assert 0 < kept < 18
    pace.unlink()
    resumed = process(*line, RAY_ADDRESS="local")
    said, errors = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, errors
    assert f"{18 - kept} trials run, {kept} were there" in said
    assert bits(out) == whole


EQUIPMENT = Equipment(
    "10.0.0.1",
    NAMES,
    cluster._decoders(),
    [{"tracker": "Drunkard", "code": adapters.code_digest(), "jax": "0.12"}],
    [{}],
    [False],
    [{}],
    1,
)


def test_workers_agree_with_the_driver_and_with_each_other():
    cluster._check_code(EQUIPMENT)
    cluster._check_same(EQUIPMENT, EQUIPMENT._replace(node="10.0.0.2", machines=[{"processor": "Abacus"}]))


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"labels": [EQUIPMENT.labels[0] | {"jax": "0.11"}]}, "its jax is 0.11, on 10.0.0.1 it is 0.12"),
        ({"labels": [EQUIPMENT.labels[0] | {"weights": "ab"}]}, "its weights is ab, on 10.0.0.1 it is None"),
        ({"decoders": {"opencv": "1", "av": "2"}}, "its av is 2"),
        ({"names": NAMES[1:]}, "walk0 is a sequence on one of 10.0.0.1 and 10.0.0.2 alone"),
    ],
)
def test_a_worker_that_differs_is_refused(change, reason):
    with pytest.raises(JtrackError, match=reason):
        cluster._check_same(EQUIPMENT, EQUIPMENT._replace(node="10.0.0.2", **change))


def test_other_code_than_the_drivers_is_refused():
    with pytest.raises(JtrackError, match=r"on 10.0.0.1: its code of jtrack is 0123abcd, here it is"):
        cluster._check_code(EQUIPMENT._replace(labels=[EQUIPMENT.labels[0] | {"code": "0123abcd"}]))
    with pytest.raises(JtrackError, match=r"on 10.0.0.1: it has .*install the same"):
        cluster._check_code(EQUIPMENT._replace(decoders={"opencv": "0", "av": "0"}))


@pytest.mark.parametrize(
    "has, cpus, gpus, room",
    [
        ({"CPU": 16.0}, 1, 0, 16),
        ({"CPU": 16.0}, 3, 0, 5),
        ({"CPU": 16.0, "GPU": 4.0}, 1, 1, 4),
        ({"CPU": 16.0, "GPU": 4.0}, 1, 0.5, 8),
        ({"CPU": 16.0, "GPU": 4.0}, 1, 0.3, 12),  # three on each
        ({"CPU": 16.0, "GPU": 3.0}, 0, 2, 1),
        ({"CPU": 16.0}, 1, 1, 0),
        ({}, 1, 0, 0),
    ],
)
def test_room(has, cpus, gpus, room):
    assert cluster._room(has, {"num_cpus": cpus, "num_gpus": gpus}) == room


@pytest.mark.parametrize("share", [-1, 1.5, float("nan"), float("inf")])
def test_a_share_of_a_machine_is_a_part_of_one_or_a_whole_number(share):
    with pytest.raises(JtrackError, match="give a part of one"):
        cluster._check_shares({"num_cpus": share, "num_gpus": 0})


def test_workers_on_a_gpu_share_its_memory(monkeypatch):
    monkeypatch.delenv("XLA_CLIENT_MEM_FRACTION", raising=False)
    cluster.Worker(1)
    assert "XLA_CLIENT_MEM_FRACTION" not in os.environ
    cluster.Worker(0.25)
    assert float(os.environ["XLA_CLIENT_MEM_FRACTION"]) == 0.225


def test_options_of_workers_need_workers(jtrack, command, tmp_path):
    done = jtrack(*command, "--results", tmp_path / "out", "--num-gpus", "0.5", code=2)
    assert "give --on ray as well" in done.stderr


def test_an_address_of_another_kind_is_refused(jtrack, command, tmp_path):
    pytest.importorskip("ray")
    done = jtrack(*command, "--results", tmp_path / "out", "--on", "slurm", code=2)
    assert "--on is slurm: give ray, or ray://HOST:PORT" in done.stderr
