"""The `jtrack` command. A file a command: it parses, calls the library and prints.

Exit codes: 0 done; 1 done in part, or a check failed; 2 a wrong input, said in one line on stderr; 130
interrupted.
"""

import contextlib
import errno
import io
import os
import sys
import warnings
from importlib import import_module
from typing import Annotated, Any, TextIO

import typer
from typer.core import TyperCommand, TyperGroup

from jtrack import __version__
from jtrack.errors import JtrackError, printable, unknown_name

COMMANDS = {
    "track": "Track targets through a video, an image folder or a camera's pictures.",
    "eval": "Run a tracker over the sequences of a benchmark, by its protocol.",
    "sweep": "Try settings of a tracker on a benchmark, many at once, and compare them.",
    "vot": "Run trackers of jtrack inside the VOT toolkit.",
    "export": "Export a tracker as programs that run without jtrack.",
    "score": "Score results, published ones too, against a dataset's annotations.",
    "masks": "Score masks against true masks.",
    "report": "Compare results: an interactive page, figures and tables.",
    "view": "Look at results frame by frame: a page a sequence with everybody's boxes.",
    "paper": "Make a tracker's paper again: its tables and figures, with ours beside them.",
    "pack": "Pack a dataset into array records that TensorFlow Datasets reads.",
    "demo": "Track a made-up clip with known ground truth and show what comes out.",
    "train": "Train a network to tell objects from background, for trackers that begin with one.",
    "list": "List trackers, profiles, settings, networks, datasets and protocols.",
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
    """Runs the command line of this process. Whatever stdout is, it ends in a code and at most a sentence."""
    _quieten()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name may have letters that the terminal has not
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            app()
        finally:
            if sys.stdout is not None:  # as it is where it was closed
                sys.stdout.flush()
    except OSError as error:  # of stdout: what files cannot be read or written is said where that is known
        _let_go(sys.stdout)
        if error.errno == errno.EPIPE:  # the reader has what it wanted, as `head` does
            sys.exit(1)
        what = "cannot write the output" if error.filename is None else printable(error.filename)
        with contextlib.suppress(OSError):
            typer.echo(f"jtrack: {what}: {error.strerror or error}", err=True)
        _let_go(sys.stderr)
        sys.exit(2)


def _quieten() -> None:
    """Keeps other libraries' own words from stderr, where one sentence says what is wrong."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # XLA's, such as its alarm that compiling is slow
    warnings.showwarning = lambda message, *_, **__: typer.echo(
        f"jtrack: {printable(message, 600)}", err=True
    )
    # A number out of range is refused or carried on as what it is; NumPy's word for it helps no user.
    warnings.filterwarnings("ignore", "(overflow|underflow|invalid value|divide by zero) enc", RuntimeWarning)


def _let_go(stream: TextIO | None) -> None:
    """What is still in a stream's buffer goes nowhere: Python would try again at the end, and complain."""
    if stream is None:
        return
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
