"""What Ray costs: an evaluation on two workers beside the same one in two plain processes.

    python bench/workers.py --data DATA/otb

Twelve targets, 60 frames each, two seeds, three trackers one after the other. Plain means that the same
command runs twice at once on one results folder. Both ways take turns. Start-up is apart: it is what the
same command takes for two frames of two targets (Python's imports, Ray itself, programs from the compilation
cache). Two frames fill that cache before the first turn. Prints Markdown: medians of seconds.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from jtrack import data

TRACKERS = {"hcft": "hog", "deeptrack": "none", "fcnt": "tiny"}  # and their networks
WAYS = {"two processes": (2, ()), "two workers of Ray": (1, ("--on", "ray", "--num-cpus", "1"))}


def took(command: list[str], processes: int, environment: dict[str, str]) -> float:
    """Seconds of a command that runs in so many processes at once.

    Raises:
      SystemExit: one of them fails.
    """
    began = time.perf_counter()
    running = [
        subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
        )
        for _ in range(processes)
    ]
    said = [process.communicate()[1] for process in running]
    for process, errors in zip(running, said, strict=True):
        if process.returncode:
            sys.exit(f"workers: {' '.join(command)} failed:\n{errors[-2000:]}")
    return time.perf_counter() - began


def main() -> None:
    """Reads the command line and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of OTB's sequences")
    parser.add_argument("--sequences", help="commas between them; all without it")
    parser.add_argument("--trackers", nargs="+", default=list(TRACKERS), choices=TRACKERS)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--turns", type=int, default=3, help="of each way")
    options = parser.parse_args()
    chosen = options.sequences.split(",") if options.sequences else None
    names = data.open_dataset("otb", options.data, sequences=chosen).names
    print(f"| tracker | {' | '.join(f'{way}, s | start-up' for way in WAYS)} | ratio |")
    print("| --- |" + " --: |" * (2 * len(WAYS) + 1))
    totals = dict.fromkeys(WAYS, 0.0)
    for tracker in options.trackers:
        network = TRACKERS[tracker]
        found: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
        with tempfile.TemporaryDirectory() as folder:
            environment = os.environ | {"XDG_CACHE_HOME": f"{folder}/cache"}
            command = [sys.executable, "-m", "jtrack.cli", "eval", "--tracker", tracker]
            command += ["--backbone", network, "--dataset", "otb", "--root", str(options.data)]
            for turn in range(options.turns + 1):
                for way, (processes, words) in WAYS.items():
                    into = f"{folder}/{way.replace(' ', '-')}-{turn}"
                    two = ["--sequences", ",".join(names[:2]), "--limit-frames", "2"]
                    short = [*command, *words, *two, "--results", f"{into}-short"]
                    every = ["--sequences", ",".join(names), "--limit-frames", str(options.frames)]
                    whole = [*command, *words, *every, "--repeats", "2", "--results", into]
                    start = took(short, processes, environment)
                    if turn:
                        found[way].append((start, took(whole, processes, environment) - start))
        cells, rests = [], []
        for way in WAYS:
            start, rest = map(statistics.median, zip(*found[way], strict=True))
            totals[way] += rest
            rests.append(rest)
            cells += [f"{rest:.1f}", f"{start:.1f}"]
        print(f"| {tracker} on {network} | {' | '.join(cells)} | {ratio(*rests)} |", flush=True)
    plain, ray = totals.values()
    print(f"| **all** | {plain:.1f} | | {ray:.1f} | | **{ratio(plain, ray)}** |")


def ratio(plain: float, ray: float) -> str:
    """By how much the second is longer; unknown where start-up is all there is."""
    return f"{ray / plain:.2f}" if plain > 0 else "–"


if __name__ == "__main__":
    main()
