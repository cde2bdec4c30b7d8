"""`jtrack demo`: a made-up clip with known ground truth, tracked, scored and drawn."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from jtrack import draw, run, trackers
from jtrack.benchmark import metrics
from jtrack.cli import outputs
from jtrack.cli.options import Backbone, Profile, Tracker
from jtrack.cli.track import RATE, prepare, progress, summary
from jtrack.data import synthetic
from jtrack.errors import JtrackError, install, printable
from jtrack.types import Output
from jtrack.weights import store

app = typer.Typer(add_completion=False)

MISSED = 0.1  # overlap below which the box is not on the target
BEFORE = 5  # frames before a miss in which its cause is looked for


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="The folder for what comes out.")] = Path("demo"),
    tracker: Tracker = trackers.DEFAULT,
    profile: Profile = "default",
    backbone: Backbone = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
) -> None:
    """Tracks a made-up clip with known ground truth; writes a video, boxes and response maps."""
    outputs.check_folder(out, overwrite=overwrite)
    prepare("float32")
    clip = synthetic.clip()
    truth = clip.boxes
    assert truth is not None
    bound = trackers.create(tracker, profile=profile, backbone=backbone)
    title = f"{bound.name} {bound.profile} on {bound.backbone.name}"
    names, shown = list[str](), set[int]()
    if (named := bound.row.response_maps) is not None:
        bound = bound._replace(config=dataclasses.replace(bound.config, info=True))
        names = named(bound.config)
        shown = {len(truth) * part // 8 for part in (1, 3, 5, 7)}
    rows: list[np.ndarray] = []
    with (
        outputs.video_writer(out / "tracked.mp4", clip.frames.fps or RATE) as write,
        progress(clip.frames) as bar,
    ):

        def step(index: int, image: np.ndarray, said: list[Output]) -> None:
            bar(index, image, said)
            (output,) = said
            write(
                draw.annotate(
                    image,
                    np.asarray(output.box)[None],
                    scores=[float(output.score)],
                    lost=[bool(output.lost)],
                    truth=truth[index : index + 1],
                    caption=f"{title}, frame {index}",
                    key={"tracked": draw.COLOURS[0], "ground truth": draw.WHITE},
                )
            )
            if index in shown:
                box = np.asarray(output.box)
                rows.append(draw.response_maps(image, box, output.info, names, title=f"frame {index}"))

        done = run.track(clip, truth[0], tracker=bound, on_frame=step)
    if done.stopped:
        raise JtrackError(done.stopped)
    wrote = f"{out}/tracked.mp4 and boxes.csv"
    if rows:
        about = f"{title}: responses of its filters, a frame a row"
        outputs.write_image(out / "response_maps.png", draw.sheet(rows, about))
        wrote = f"{out}/tracked.mp4, boxes.csv and response_maps.png"
    outputs.write_boxes(out / "boxes.csv", done)
    scores, overlap = metrics.score(done.boxes, truth), metrics.overlap(done.boxes, truth)
    typer.echo(summary(clip.name, done))
    typer.echo(
        f"against the ground truth: mean overlap {overlap.mean():.3f}, "
        f"precision at 20 px {scores.precision20:.3f}, area under the success curve {scores.auc:.3f}"
    )
    typer.echo(account(overlap, done.lost, clip.events))
    typer.echo(f"wrote {printable(wrote)}")
    if bound.backbone.name == store.OWN:
        typer.echo(f"on {store.OWN}, jtrack's own small network; for larger ones {install('nets')}")


def account(overlap: np.ndarray, lost: np.ndarray, events: Mapping[str, np.ndarray]) -> str:
    """Where a target was lost, and what happened in the clip when that began, as a sentence.

    Args:
      overlap: [T] with the ground truth.
      lost: [T] bool, the frames that the tracker itself calls lost.
      events: {what happens: [T] bool, in which frames}.
    """
    missed = np.flatnonzero(overlap < MISSED)
    if not len(missed):
        flagged = int(lost.sum())
        doubt = f"; it called itself lost in {flagged} frames" if flagged else ""
        return f"the target is followed to the end{doubt}"
    first = int(missed[0])
    before = slice(max(0, first - BEFORE), first + 1)
    causes = [name for name, frames in events.items() if frames[before].any()]
    cause = f", which begins during {' and '.join(causes)}" if causes else ""
    noticed = int(lost[missed].sum())
    return (
        f"the target is missed in {len(missed)} frames, first in frame {first}{cause}; "
        f"the tracker called itself lost in {noticed} of them"
    )
