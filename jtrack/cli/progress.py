"""How far a command is: a bar on a terminal, else a line now and then; and a word when compiling is long."""

import threading
import time
from typing import Any

import jax
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

from jtrack.errors import printable

EVERY = 10.0  # seconds between lines where there is no terminal
LONG = 5.0  # seconds of compiling after which it is said

# Events of JAX: a program has been lowered, so that XLA compiles it next; and is compiled.
_LOWERED = "/jax/core/compile/jaxpr_to_mlir_module_duration"
_COMPILED = "/jax/core/compile/backend_compile_duration"


class Rate(ProgressColumn):
    """Frames a second."""

    def render(self, task: Task) -> Text:
        """The rate of the last frames, once there is one."""
        return Text(f"{task.speed:.1f} fps" if task.speed else "")


class Bar(Progress):
    """Rich's bars on stderr while the work lasts; without a terminal, a line every ten seconds.

    Args:
      columns: of the bar; the task's description comes first. Names are shown as they are, not as markup.
      unit: what is counted, in lines.
    """

    def __init__(self, *columns: ProgressColumn, unit: str = "frames") -> None:
        console = Console(stderr=True)
        described = TextColumn("{task.description}", markup=False)
        disable = not console.is_terminal
        super().__init__(described, BarColumn(), *columns, console=console, disable=disable, transient=True)
        self._unit = unit
        self._due = time.monotonic() + EVERY

    def add_task(self, description: str, *args: Any, **fields: Any) -> TaskID:
        """Adds a bar; control characters of its name are escaped."""
        return super().add_task(printable(description), *args, **fields)

    def update(self, task_id: TaskID, **fields: Any) -> None:
        """Sets what is done of a task; control characters of its name are escaped."""
        if fields.get("description") is not None:
            fields["description"] = printable(fields["description"])
        super().update(task_id, **fields)
        self._say(task_id)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """Counts what is done of a task."""
        super().advance(task_id, advance)
        self._say(task_id)

    def _say(self, task_id: TaskID) -> None:
        if not self.disable or time.monotonic() < self._due:
            return
        self._due = time.monotonic() + EVERY
        task = self.tasks[self.task_ids.index(task_id)]
        total = "" if task.total is None else f" of {task.total:.0f}"
        speed = f", {task.speed:.1f} a second" if task.speed else ""
        name = f"{task.description}: " if task.description else ""
        typer.echo(f"jtrack: {name}{task.completed:.0f}{total} {self._unit}{speed}", err=True)


def announce_compiling() -> None:
    """From now on, says once that XLA is compiling, if that takes longer than a few seconds."""
    if not _announcer.listening:
        _announcer.listening = True
        jax.monitoring.register_event_duration_secs_listener(_announcer.hear)


class _Announcer:
    """Hears when a program begins to be compiled, and speaks if it still is some seconds later."""

    def __init__(self) -> None:
        self.listening, self.said = False, False
        self.timer: threading.Timer | None = None

    def hear(self, event: str, duration_secs: float, **_: Any) -> None:
        if event in (_LOWERED, _COMPILED) and self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if event == _LOWERED and not self.said:
            self.timer = threading.Timer(LONG, self.speak)
            self.timer.daemon = True
            self.timer.start()

    def speak(self) -> None:
        self.said = True
        typer.echo("jtrack: compiling, which takes long only the first time", err=True)


_announcer = _Announcer()
