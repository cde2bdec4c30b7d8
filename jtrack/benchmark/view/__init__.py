"""One page a sequence, to look at what several trackers did in it, frame by frame.

    found = sources.open_results("results")
    page = view.page(sequence, found, frames=sequence.frames)
    whole.write_whole(Path("Basketball.html"), page)

A page holds its pictures, boxes and curves, needs no other file and no network, and is driven by mouse or
keyboard. It needs the extra `report`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jtrack import __version__
from jtrack.benchmark import protocol as protocols
from jtrack.benchmark.report import embedding
from jtrack.benchmark.results import Results
from jtrack.benchmark.run_names import cut, told_apart
from jtrack.benchmark.view import pictures, tracks
from jtrack.data import Annotation, FrameSource
from jtrack.errors import JtrackError, missing_extra

HEIGHT = 360  # of pictures, in pixels; those of smaller frames are as these are
FIGURE_FORMATS = ("png", "pdf")  # of chosen frames (`view.frame_grid`)
_HERE = "jtrack.benchmark.view"  # where the assets are


def page(
    annotation: Annotation,
    found: Sequence[Results],
    *,
    frames: FrameSource | None = None,
    maps: pictures.Maps | None = None,
    height: int = HEIGHT,
    every: int = 1,
    notes: Sequence[str] = (),
) -> str:
    """Makes the page of a sequence.

    Args:
      annotation: of the sequence, T frames.
      found: the runs, of one protocol or several. One that has nothing of the sequence is named, with why.
      frames: its frames, from the first that is annotated; None shows boxes on a plain ground.
      maps: pictures of response maps by frame (`pictures.open_maps`); None for none.
      height: of the pictures in pixels, at most.
      every: show every so many frames only; curves and events are of all.
      notes: what a reader must know.

    Returns:
      HTML.

    Raises:
      JtrackError: no run has anything of the sequence, a page that would be too large, or packages of the
        extra `report` that are missing.
    """
    check()
    names = called(found)
    shown = tracks.tracks(found, names, annotation)
    if not any(track.trials for track in shown):
        raise JtrackError(f"nothing is shown of {annotation.name}: {shown[0].missing}")
    end = max(trial.end for track in shown for trial in track.trials)
    numbers = range(0, end, every)
    films = pictures.embed(annotation.name, numbers, frames, maps, height=height)
    values = {
        "name": annotation.name,
        "lead": _lead(annotation, found, len(numbers), end),
        "tracks": shown,
        "trials": max(len(track.trials) for track in shown),
        "notes": [*notes, *films.notes, *_notes(shown)],
        "maps": films.maps is not None,
        "overlays": any(trial.maps for track in shown for trial in track.trials),
        "learnt": any(map(_tells_learning, shown)),
        "silent": [track.name for track in shown if track.trials and not _tells_learning(track)],
        "css": embedding.asset("jtrack.benchmark.report", "page.css") + embedding.asset(_HERE, "view.css"),
        "script": embedding.asset(_HERE, "view.js"),
        "data": embedding.json_text(data(annotation, shown, films, numbers)),
        "version": __version__,
    }
    return embedding.fill(_HERE, "view.html.j2", values)


def check() -> None:
    """Refuses to begin without the packages of the extra `report`.

    Raises:
      JtrackError: then.
    """
    try:
        import jinja2  # noqa: F401
    except ImportError as error:
        raise missing_extra("a page", "report", error) from None


def called(found: Sequence[Results]) -> list[str]:
    """What runs are called, as a report calls them; with the protocol where there are several."""
    each = [one.protocol for one in found]
    names = told_apart(found, each, [cut(one) for one in found])
    return [
        f"{name} · {protocol}" if len(set(each)) > 1 else name
        for name, protocol in zip(names, each, strict=True)
    ]


def data(
    annotation: Annotation, shown: Sequence[tracks.Track], films: pictures.Films, numbers: range
) -> dict[str, Any]:
    """What the page's script draws, as JSON has it: T frames with curves and events, F of them shown."""
    size = annotation.size or films.size or _extent(annotation.boxes)
    truth = tracks.outlines(annotation.boxes, annotation.polygons)
    kept = [trial.maps for track in shown for trial in track.trials if trial.maps is not None]
    overlays = iter(pictures.overlays(annotation.name, numbers, kept))
    return {
        "name": annotation.name,
        "size": [size[1], size[0]],
        "length": len(annotation.boxes),
        "frames": list(numbers),
        "images": films.images,
        "maps": films.maps,
        "truth": embedding.base64_text(truth[numbers].tobytes()),
        "scene": tracks.scene(annotation),
        "trackers": [
            {
                "name": track.name,
                "colour": track.look.colour,
                "dash": track.look.dash,
                "trials": [
                    {
                        "outlines": embedding.base64_text(trial.outlines[numbers].tobytes()),
                        "overlaps": embedding.levels(trial.overlaps),
                        "scores": None if trial.scores is None else embedding.levels(trial.scores),
                        "states": trial.states,
                        "events": tracks.events(trial.states),
                        "learnt": trial.learnt,
                        "maps": None if trial.maps is None else next(overlays),
                    }
                    for trial in track.trials
                ],
            }
            for track in shown
        ],
    }


def _lead(annotation: Annotation, found: Sequence[Results], shown: int, end: int) -> str:
    """What is shown, in one line."""
    about = [
        protocols.load(name).title if name in protocols.names() else name
        for name in dict.fromkeys(one.protocol for one in found)
    ]
    length = len(annotation.boxes)
    frames = f"{length} frames" if end == length else f"the first {end} of {length} frames"
    part = "" if shown == end else f", {shown} of them shown"
    return " · ".join([frames + part, *about, *filter(None, [" ".join(annotation.attributes)])])


def _tells_learning(track: tracks.Track) -> bool:
    """Whether it is known when a run learnt."""
    return any(trial.learnt is not None for trial in track.trials)


def _notes(shown: Sequence[tracks.Track]) -> list[str]:
    return [f"{track.name}: {track.missing}" for track in shown if track.missing]


def _extent(boxes: np.ndarray) -> tuple[int, int]:
    """Height and width of an image plane that holds all boxes."""
    ends = (boxes[:, :2] + boxes[:, 2:])[np.isfinite(boxes).all(axis=1)]
    width, height = ends.max(axis=0, initial=1.0)
    return int(np.ceil(height)), int(np.ceil(width))
