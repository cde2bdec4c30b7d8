"""Reads very many damaged inputs: `python -m tests.fuzz`.

One of them again: `python -m tests.fuzz --readers npz --seed 17 --inputs 1`.
"""

import argparse
import sys

from tests.fuzz.readers import READERS
from tests.fuzz.runner import fuzz

INPUTS = 1000  # for each reader

parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Damages what every reader reads.")
parser.add_argument("--readers", default=",".join(READERS), help="which, by commas")
parser.add_argument("--inputs", type=int, default=INPUTS, help="for each reader")
parser.add_argument("--seconds", type=float, help="for each reader, at most")
parser.add_argument("--seed", type=int, default=0, help="of the first input; the others follow")
parser.add_argument("--keep", default="fuzz-failures", help="the folder for inputs that a reader failed at")
options = parser.parse_args()

failures = inputs = 0
print(f"{'reader':16} {'inputs':>7} {'accepted':>9} {'refused':>8} {'failed':>7}")
for name in options.readers.split(","):
    kind = {"inputs": options.inputs, "seconds": options.seconds, "seed": options.seed, "keep": options.keep}
    found = fuzz([name], **kind)[name]
    print(
        f"{name:16} {found.inputs:7} {found.accepted:9} {found.refused:8} {len(found.failures):7}", flush=True
    )
    print(*(f"  {failure}" for failure in found.failures), sep="\n", end="\n" if found.failures else "")
    failures, inputs = failures + len(found.failures), inputs + found.inputs
print(f"{inputs} inputs, {failures} failed")
sys.exit(f"{failures} inputs failed: they are kept in {options.keep}" if failures else 0)
