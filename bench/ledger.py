"""The ledger of runs, docs/runs: hours of tracking, kept where the next machine finds them.

    python bench/ledger.py run baseline        # what is missing of a plan of docs/runs/plans.toml
    python bench/ledger.py keep RESULTS/RUN    # a run that `jtrack eval` has made
    python bench/ledger.py list

`run` goes on with what the ledger has of the same code, weights and sequences. It keeps what it has done
when it is interrupted, too: commit the files then. `jtrack score docs/runs/NAME.run.json.gz --root ...` reads
them, `python bench/tables.py` makes the tables of docs/results.md from them.
"""

import argparse
import functools
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from jtrack import data, settings
from jtrack.benchmark import adapters, ledger, protocol
from jtrack.benchmark.evaluate import evaluate
from jtrack.cli.eval import heeding_interrupts, progress
from jtrack.cli.track import prepare
from jtrack.errors import JtrackError

ROOT = Path(__file__).resolve().parents[1]
LEDGER = ROOT / "docs" / "runs"


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run what is missing of a plan, and keep it")
    run.add_argument("plan", choices=plans())
    run.add_argument("--results", type=Path, default=ROOT / "runs" / "results")
    run.add_argument("--data", type=Path, default=data_folder())
    run.add_argument("--only", help="runs whose line holds this, as `hcft`")
    keep = commands.add_parser("keep", help="keep a run of `jtrack eval`")
    keep.add_argument("run", type=Path)
    commands.add_parser("list", help="list what is kept")
    options = parser.parse_args()
    try:
        if options.command == "run":
            carry_out(options.plan, options.results, options.data, options.only)
        elif options.command == "keep":
            print(ledger.keep(options.run, LEDGER, commit=commit(), command="jtrack eval"))
        else:
            Console().print(listing())
    except JtrackError as error:
        sys.exit(f"ledger: {error}")
    except KeyboardInterrupt:
        sys.exit("ledger: interrupted; the same command goes on")


def plans() -> dict[str, dict[str, Any]]:
    """The plans by their names."""
    return tomllib.loads((LEDGER / "plans.toml").read_text("utf-8"))


def data_folder() -> Path:
    """Where the datasets are: `JTRACK_DATA`, else ../shared/data."""
    return Path(os.environ.get("JTRACK_DATA", ROOT.parent / "shared" / "data"))


def carry_out(name: str, into: Path, root: Path, only: str | None) -> None:
    """Runs every tracker of a plan over every dataset of it."""
    plan = plans()[name]
    precision = plan.get("precision", "float32")
    prepare(precision)
    rules = protocol.load(plan["protocol"])
    for path in LEDGER.glob("*" + ledger.SUFFIX):
        ledger.restore(path, into)
    for chosen in plan["runs"]:
        if only and only not in chosen:
            continue
        tracker, profile, backbone, *changed = chosen.split()
        entrant = adapters.evaluated(
            tracker,
            profile=profile,
            backbone=backbone,
            precision=precision,
            changes=functools.partial(settings.apply, settings=changed) if changed else None,
        )
        for kind, folder, *sequences in plan["data"]:
            dataset = data.open_dataset(kind, root / folder, sequences=sequences or None)
            print(f"{chosen} on {folder}, {rules.name}", flush=True)
            try:
                with progress() as on_progress, heeding_interrupts(on_progress) as on_progress:
                    done = evaluate(
                        entrant, dataset, rules, into, repeats=plan.get("repeats"), on_progress=on_progress
                    )
                print(f"  {done.made} run, {done.kept} were there, {len(done.failures)} failed", flush=True)
            finally:
                for run in [path.parent for path in into.glob("*/run.json")]:
                    if any(run.glob("*/**/*.csv")):
                        ledger.keep(
                            run, LEDGER, commit=commit(), command=f"python bench/ledger.py run {name}"
                        )


def commit() -> str:
    """The commit of this checkout, and whether the code differs from it."""

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True
        ).stdout.strip()

    return git("rev-parse", "--short=12", "HEAD") + (
        "-dirty" if git("status", "--porcelain", "jtrack") else ""
    )


def listing() -> Table:
    """A line a run."""
    table = Table("run", "protocol", "sequences", "frames", "commit", "date")
    for path in sorted(LEDGER.glob("*" + ledger.SUFFIX)):
        for found in ledger.read(path):
            frames = sum(len(trial.boxes) for trials in found.trajectories.values() for trial in trials)
            sequences = str(len(found.trajectories))
            about = (str(found.label.get(key, "")) for key in ("commit", "date"))
            table.add_row(
                path.name.removesuffix(ledger.SUFFIX), found.protocol, sequences, str(frames), *about
            )
    return table


if __name__ == "__main__":
    main()
