"""Damages what every reader reads and looks what it says: a value, or one sentence, within its limits.

The reading is done by a child, which may crash or hang: then its input is kept, and another child goes on.
"""

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import traceback
import zlib
from dataclasses import dataclass, field
from pathlib import Path

LONGEST = 1300  # characters of a message
HANG = 90.0  # seconds without a word of a child, which stops a reader by itself after sixty
ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Found:
    """What became of the inputs of one reader."""

    accepted: int = 0
    refused: int = 0
    failures: list[str] = field(default_factory=list)  # reader, seed and what happened

    @property
    def inputs(self):
        return self.accepted + self.refused + len(self.failures)


def fuzz(readers, *, inputs, seconds=None, seed=0, keep):
    """Reads damaged inputs.

    Args:
      readers: names of `tests.fuzz.readers.READERS`.
      inputs: how many for each reader.
      seconds: after which a reader's turn is over, whatever is left; None for no limit.
      seed: of the first input; the others follow. Reader and seed give the same input each time.
      keep: the folder for inputs that no reader should fail at; made if need be.

    Returns:
      {reader: Found}.
    """
    found, keep = {}, Path(keep).resolve()
    with tempfile.TemporaryDirectory() as work:
        child = None
        for name in readers:
            found[name] = Found()
            task = {"reader": name, "seed": seed, "left": inputs, "seconds": seconds, "keep": str(keep)}
            while task["left"] > 0:
                child = child or _Child(Path(work))
                child.start(task)
                while (line := child.line()) not in (None, {"over": True}):
                    if "broken" in line:
                        raise RuntimeError(line["broken"])
                    task["seed"], task["left"] = line["seed"] + 1, task["left"] - 1
                    _count(found[name], name, line)
                if line is not None:
                    break
                crash = {"failed": f"the process ended or hung ({child.end()})", "seed": task["seed"]}
                shutil.copytree(Path(work) / name, keep / f"{name}-{crash['seed']}", dirs_exist_ok=True)
                _count(found[name], name, crash)
                task["seed"], task["left"], child = task["seed"] + 1, task["left"] - 1, None
        if child:
            child.end()
    return found


def _count(found, name, line):
    if "failed" in line:
        found.failures.append(f"{name} {line['seed']}: {line['failed']}")
    else:
        found.accepted += line["accepted"]
        found.refused += not line["accepted"]


class _Child:
    """A process that reads."""

    def __init__(self, work):
        command = [sys.executable, "-m", "tests.fuzz.runner", str(work)]
        quiet = {"JAX_PLATFORMS": "cpu", "OPENCV_LOG_LEVEL": "SILENT", "OPENCV_FFMPEG_LOGLEVEL": "-8"}
        self.errors = work / "stderr"
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors.open("wb"),
            env=os.environ | quiet | {"PYTHONPATH": str(ROOT)},
        )
        self.buffer = b""

    def start(self, task):
        self.process.stdin.write(json.dumps(task).encode() + b"\n")
        self.process.stdin.flush()

    def line(self):
        """The next line of it; None if it has ended or says nothing any more."""
        while b"\n" not in self.buffer:
            ready, _, _ = select.select([self.process.stdout], [], [], HANG)
            data = os.read(self.process.stdout.fileno(), 1 << 16) if ready else b""
            if not data:
                return None
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        return json.loads(line)

    def end(self):
        """Ends it, and says how it ended."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        said = self.errors.read_text(errors="replace").splitlines()[-3:]
        return f"{self.process.returncode} {' / '.join(said)[-300:]}"


# --- the child --------------------------------------------------------------------------------------------


def serve(work):
    """Reads tasks from stdin, one a line, and says a line for each input on stdout."""
    import time
    import warnings

    from tests.fuzz.readers import READERS

    warnings.simplefilter("ignore")
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer
    for task in map(json.loads, sys.stdin):
        folder, reader = work / task["reader"], READERS[task["reader"]]
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            files = reader.make(folder)
            reader.read(folder)  # what is not damaged is accepted
        except Exception as error:
            print(json.dumps({"broken": "".join(traceback.format_exception(error))}), file=out)
            return
        begun = time.monotonic()
        for seed in range(task["seed"], task["seed"] + task["left"]):
            if task["seconds"] is not None and time.monotonic() - begun > task["seconds"]:
                break
            print(json.dumps({"seed": seed} | one(task, reader, folder, files, seed)), file=out)
        print(json.dumps({"over": True}), file=out)


def one(task, reader, folder, files, seed):
    """What becomes of one input."""
    import numpy as np

    from tests.fuzz.mutations import mutated

    rng = np.random.default_rng([zlib.crc32(task["reader"].encode()), seed])
    path = files[rng.integers(len(files))]
    valid = path.read_bytes()
    path.write_bytes(mutated(valid, rng))
    outcome = attempted(reader, folder)
    if "failed" in outcome:
        shutil.copytree(folder, Path(task["keep"]) / f"{task['reader']}-{seed}", dirs_exist_ok=True)
    path.write_bytes(valid)
    return outcome


def attempted(reader, folder):
    """Reads what is in a folder."""
    from jtrack.errors import JtrackError
    from tests.fuzz.limits import LimitError, limited

    try:
        with limited():
            reader.read(folder)
        return {"accepted": True}
    except JtrackError as error:
        if "\n" in str(error) or len(str(error)) > LONGEST:
            return {"failed": f"a message of another form: {str(error)[:300]!r}"}
        return {"accepted": False}
    except (Exception, LimitError) as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if f"{os.sep}jtrack{os.sep}" in frame.filename] or frames
        place = f"{Path(own[-1].filename).name}:{own[-1].lineno}"
        return {"failed": f"{type(error).__name__} at {place}: {str(error)[:200]}"}


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
