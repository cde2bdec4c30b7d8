"""The `jtrack` command. A file a command: it parses, calls the library and prints.

Exit codes: 0 done; 1 done in part, or a check failed; 2 a wrong input, said in one line on stderr; 130
interrupted.
"""

import os
import warnings
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from jtrack import __version__
from jtrack.errors import JtrackError, unknown_name

COMMANDS = {
    "track": "Track targets through a video, an image folder or a camera's pictures.",
    "eval": "Run a tracker over the sequences of a benchmark, by its protocol.",
    "vot": "Run trackers of jtrack inside the VOT toolkit.",
    "score": "Score results, published ones too, against a dataset's annotations.",
    "masks": "Score masks against true masks.",
    "report": "Compare results: an interactive page, figures and tables.",
    "pack": "Pack a dataset into array records that TensorFlow Datasets reads.",
    "demo": "Track a made-up clip with known ground truth and show what comes out.",
    "train": "Train a network to tell objects from background, for trackers that begin with one.",
    "list": "List trackers, profiles, networks, datasets and protocols.",
    "weights": "List, fetch, convert and verify the weights of the networks.",
    "doctor": "Say what is installed and run the numeric self-tests.",
}
# The file of a command that is not called as it: a module `list` would hide Python's own in this package.
FILES = {"list": "listing"}


class Commands(TyperGroup):
    """Imports a command when it is called, so that help comes at once; turns errors into one line."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The commands, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """What the help shows of a command."""
        return TyperCommand(cmd_name, help=COMMANDS[cmd_name]) if cmd_name in COMMANDS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command itself, imported."""
        if args[0] not in COMMANDS:
            raise unknown_name("command", args[0], COMMANDS)
        name, _, rest = super().resolve_command(ctx, args)
        file = FILES.get(args[0], args[0])
        return name, typer.main.get_command(import_module(f"jtrack.cli.{file}").app), rest

    def invoke(self, ctx: Any) -> Any:
        """Runs the command."""
        try:
            return super().invoke(ctx)
        except JtrackError as error:
            typer.echo(f"jtrack: {error}", err=True)
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            typer.echo("jtrack: interrupted", err=True)
            raise typer.Exit(130) from None


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},  # of all commands
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"jtrack {__version__}")
        raise typer.Exit


@app.callback()
def jtrack(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Classic CNN visual trackers in JAX."""


def main() -> None:
    """Runs the command line of this process."""
    # A decoder's own complaints would stand beside the one sentence that says what is wrong.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    warnings.showwarning = lambda message, *_, **__: typer.echo(f"jtrack: {message}", err=True)
    app()
