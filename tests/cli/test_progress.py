"""How far a command is, as a terminal and as a file see it; and that compiling takes long."""

import io
import os
import pty
import subprocess
import sys
import threading
import time

import jax
import pytest
from rich.progress import MofNCompleteColumn

from jtrack.cli import progress
from jtrack.cli.progress import Bar


@pytest.mark.parametrize("name", ["Seq[red]", "[/]", "a\x1b[31mb\nc"])
def test_without_a_terminal_it_is_a_line_now_and_then(monkeypatch, capsys, name):
    now = [100.0]
    monkeypatch.setattr(progress, "EVERY", 10.0)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with Bar(MofNCompleteColumn()) as bar:
        task = bar.add_task(name, total=300)
        for _ in range(25):
            now[0] += 1
            bar.advance(task)
    lines = capsys.readouterr().err.splitlines()
    shown = name.replace("\x1b", "\\x1b").replace("\n", "\\n")
    assert len(lines) == 2 and lines[0].startswith(f"jtrack: {shown}: 10 of 300 frames"), lines
    assert lines[1].startswith(f"jtrack: {shown}: 20 of 300 frames"), lines


def test_an_unknown_number_and_another_unit(monkeypatch, capsys):
    monkeypatch.setattr(progress, "EVERY", 0.0)
    with Bar(unit="steps") as bar:
        task = bar.add_task("", total=None)
        bar.update(task, completed=7, description="x[bold]")
    assert "jtrack: x[bold]: 7 steps" in capsys.readouterr().err


TERMINAL = """
from jtrack.cli.progress import Bar
import typer
with Bar() as bar:
    task = bar.add_task("Seq[red]", total=3)
    for name in ("[/]", "[nonsense", "a[/red]b"):
        bar.update(task, advance=1, description=name)
        bar.refresh()
        typer.echo("said beside it", err=True)
"""


def test_names_are_no_markup_on_a_terminal(environment):
    ours, theirs = pty.openpty()
    done = subprocess.Popen(
        [sys.executable, "-c", TERMINAL], stderr=theirs, env=environment | {"TERM": "xterm"}
    )
    os.close(theirs)
    seen = b""
    try:
        while part := os.read(ours, 4096):
            seen += part
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    assert done.wait(60) == 0, seen
    assert all(name in seen for name in (b"[/]", b"[nonsense", b"a[/red]b", b"said beside it")), seen


@pytest.fixture
def announcer(monkeypatch):
    made = progress._Announcer()
    yield made
    if made.timer is not None:
        made.timer.cancel()


def test_a_long_compilation_is_said_once(monkeypatch, announcer):
    monkeypatch.setattr(progress, "LONG", 0.05)
    said = io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)
    for _ in range(2):
        announcer.hear(progress._LOWERED, 0.1)
        time.sleep(0.3)
        announcer.hear(progress._COMPILED, 0.1)
    assert said.getvalue() == "jtrack: compiling, which takes long only the first time\n"


def test_a_short_compilation_is_not_said(monkeypatch, announcer):
    monkeypatch.setattr(progress, "LONG", 0.3)
    said = io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)
    announcer.hear(progress._LOWERED, 0.1)
    announcer.hear(progress._COMPILED, 0.1)
    time.sleep(0.5)
    assert not said.getvalue()


def test_jax_tells_before_and_after_it_compiles():
    """The names of its events are JAX's own: a version that has others would silence us."""
    heard = []

    def hear(event, duration_secs, **_):
        if threading.current_thread() is threading.main_thread():
            heard.append(event)

    jax.monitoring.register_event_duration_secs_listener(hear)
    jax.jit(lambda x: x * 3 - 1)(2.0)
    lowered, compiled = heard.index(progress._LOWERED), heard.index(progress._COMPILED)
    assert lowered < compiled
