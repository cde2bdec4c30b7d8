"""What the commands of `jtrack train` share."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import MofNCompleteColumn, TimeRemainingColumn

from jtrack.cli.printing import tell
from jtrack.cli.progress import Bar
from jtrack.errors import JtrackError
from jtrack.train import curves, feature_learning
from jtrack.train.loop import DivergedError

Split = Annotated[str, typer.Option(help="Of tfds, voc, ilsvrc and coco: train, val, train+val.")]
DataDir = Annotated[
    Path | None,
    typer.Option(help="The folder of prepared sets.", show_default="TensorFlow Datasets' own"),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Begin anew, and replace what is there.")]


def draw_curves(folder: Path, logs: dict[str, Path]) -> None:
    """Draws curves.png of logs, where that can be done."""
    try:
        found = {phase: curves.read(path) for phase, path in logs.items() if path.is_file()}
        curves.draw(folder / "curves.png", found)
    except (JtrackError, OSError) as error:
        tell(f"no picture of the curves, which are in log.csv: {error}")


@contextmanager
def diverging() -> Generator[None]:
    """Turns a training that diverges into the exit code 1."""
    try:
        yield
    except DivergedError as error:
        tell(str(error))
        raise typer.Exit(1) from None


@contextmanager
def phases() -> Generator[Callable[[feature_learning.Progress], None]]:
    """How far each phase of a training is; without a terminal, also a line a checkpoint."""
    with Bar(MofNCompleteColumn(), TimeRemainingColumn(), unit="steps") as bar:
        tasks: dict[str, Any] = {}

        def show(at: feature_learning.Progress) -> None:
            if at.phase not in tasks:
                tasks[at.phase] = bar.add_task(at.phase, total=at.steps)
            said = at.phase
            if at.at is not None:
                said += "".join(f" {name} {value:.3f}" for name, value in at.at.figures.items())
                if at.at.held_out is not None:
                    held = "".join(f" {name} {value:.3f}" for name, value in at.at.held_out.items())
                    if bar.disable:
                        typer.echo(f"step {at.step} of {at.steps}: {said}, held out{held}", err=True)
            elif bar.disable:
                typer.echo(f"{at.phase}: {at.step} of {at.steps} views", err=True)
            bar.update(tasks[at.phase], completed=at.step, description=said)

        yield show
