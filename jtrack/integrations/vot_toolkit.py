"""jtrack's trackers in the VOT toolkit, which talks to them by TraX (the extra `vot`).

    jtrack vot entry --backbone googlenet --root data/vot2015 >> workspace/trackers.ini
    vot evaluate --workspace workspace hcft_default_googlenet

`vot_python.py` is the other way, without TraX.

By TraX the toolkit gives a tracker half a minute for every answer, the first greeting too. So what can be
compiled is compiled before the greeting, for the sizes of frames that the entry in `trackers.ini` names; and
the entry asks for more patience, should another size come up.
"""

import os
import re
import shlex
import sys
from collections.abc import Iterable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from jtrack.benchmark.adapters import EvaluatedTracker, Prediction, Session
from jtrack.data.folder import decode_image, read_image
from jtrack.errors import JtrackError, missing_extra
from jtrack.integrations.vot_python import Targets
from jtrack.run.inputs import canvas_of

TIMEOUT = 300  # seconds the toolkit shall wait for an answer


def entry(found: EvaluatedTracker, options: Mapping[str, str], sizes: Iterable[tuple[int, int]] = ()) -> str:
    """What `trackers.ini` says of a tracker that is talked to by TraX.

    Args:
      found: the tracker.
      options: of `jtrack vot serve`, which the toolkit shall start.
      sizes: (height, width) of the frames to come.
    """
    command = [sys.executable, "-m", "jtrack.cli", "vot", "serve"]
    command += [f"--{name}={value}" for name, value in options.items()]
    command += [f"--set={change}" for change in str(found.label.get("changes", "")).split()]
    # Frames of one canvas share what is compiled.
    different = {canvas_of(size): size for size in sorted(set(sizes))}.values()
    command += [f"--size={width}x{height}" for height, width in different]
    lines = [*_head(found, "trax"), f"command = {shlex.join(command)}", f"timeout = {TIMEOUT}"]
    if named := os.environ.get("JTRACK_WEIGHTS"):  # whole: the toolkit starts trackers in a folder of its own
        folders = [str(Path(part).expanduser().resolve()) for part in named.split(os.pathsep) if part]
        lines.append(f"env_JTRACK_WEIGHTS = {os.pathsep.join(folders)}")
    return "\n".join(lines) + "\n"


def python_entry(found: EvaluatedTracker, options: Mapping[str, str]) -> str:
    """What `trackers.ini` says of a tracker that the toolkit calls by `protocol = python`.

    The toolkit's own Python imports it, and hands its environment on, `JTRACK_WEIGHTS` too.

    Args:
      found: the tracker.
      options: arguments of `vot_python.Targets`.

    Raises:
      JtrackError: it is not a tracker of jtrack.
    """
    if found.bound is None:
        raise JtrackError(
            f"{found.label['tracker']} is not a tracker of jtrack: give --protocol trax, which serves any"
        )
    chosen = dict(options)
    if changes := str(found.label.get("changes", "")):
        chosen["changes"] = changes
    lines = [*_head(found, "python"), f"command = {Targets.__module__}:{Targets.__name__}"]
    lines += [f"arg_{name} = {value}" for name, value in chosen.items()]
    lines += ["convert = rectangle", f"timeout = {TIMEOUT}"]
    return "\n".join(lines) + "\n"


def _head(found: EvaluatedTracker, protocol: str) -> list[str]:
    """The tracker's name and label, and how it is talked to."""
    names = ("tracker", "profile", "changes", "backbone", "trained")
    label = " ".join(str(found.label[what]) for what in names if found.label.get(what))
    identifier = re.sub(r"[^A-Za-z0-9_]", "_", "_".join(found.identifier))
    return [f"[{identifier}]", f"label = {label}", f"protocol = {protocol}"]


def warm_up(found: EvaluatedTracker, sizes: Iterable[tuple[int, int]]) -> None:
    """Compiles for frames of some sizes (height, width)."""
    for height, width in sizes:
        box = np.array([width / 4, height / 4, width / 4, height / 4])
        found.start(0).prepare(np.zeros((height, width, 3), np.uint8), box)


def serve(found: EvaluatedTracker, *, seed: int = 0) -> None:
    """Answers the toolkit until it says goodbye; one target or several, each with the next seed.

    Raises:
      JtrackError: vot-trax is not installed, an image cannot be read, or a box cannot be tracked.
    """
    try:
        from trax import Image, Rectangle, Region, Server, TraxException, TraxStatus
    except ImportError as error:
        raise missing_extra("answering the VOT toolkit", "vot", error) from None

    sessions: list[Session] = []  # one a target
    seeds = count(seed)

    def start(image: np.ndarray, region: Any) -> Prediction:
        box = np.array(region.bounds(), np.float64)
        session = found.start(next(seeds))
        session.prepare(image, box)
        session.init(image, box)
        sessions.append(session)
        return Prediction(box, 1.0)

    def answer(request: Any) -> list[tuple[Any, dict[str, float]]]:
        image = _read(next(iter(request.image.values())))
        if request.type == TraxStatus.INITIALIZE:
            sessions.clear()
        predictions = [session.update(image) for session in sessions]
        predictions += [start(image, region) for region, _ in request.objects or ()]
        boxes = [
            np.where(np.isfinite(each.box), each.box, 0.0) for each in predictions
        ]  # empty: overlaps nothing
        about = [{} if each.score is None else {"confidence": each.score} for each in predictions]
        return [(Rectangle.create(*box.tolist()), more) for box, more in zip(boxes, about, strict=True)]

    formats = [Region.RECTANGLE], [Image.PATH, Image.BUFFER]
    try:
        with Server(*formats, tracker_name=str(found.label["tracker"]), multiobject=True) as server:
            while (request := server.wait()).type != TraxStatus.QUIT:
                server.status(answer(request))
    except TraxException as error:
        raise JtrackError(f"the VOT toolkit, which starts this command, does not answer: {error}") from None


def _read(image: Any) -> np.ndarray:
    if image.type() == "path":
        return read_image(Path(image.path()))
    return decode_image(bytes(image.buffer()), "the toolkit's image")
