"""`jtrack demo`: a made-up clip with known ground truth, tracked, scored and drawn."""

import dataclasses
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
from jtrack.errors import JtrackError
from jtrack.types import Output

app = typer.Typer(add_completion=False)


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
                    caption=f"frame {index}  (white: ground truth)",
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
        outputs.write_image(out / "response_maps.png", draw.stack(rows))
        wrote = f"{out}/tracked.mp4, boxes.csv and response_maps.png"
    outputs.write_boxes(out / "boxes.csv", done)
    scores = metrics.score(done.boxes, truth)
    typer.echo(summary(clip.name, done))
    typer.echo(
        f"against the ground truth: mean overlap {metrics.overlap(done.boxes, truth).mean():.3f}, "
        f"precision at 20 px {scores.precision20:.3f}, area under the success curve {scores.auc:.3f}"
    )
    typer.echo(f"wrote {wrote}")
    if bound.backbone.name == "hog":
        typer.echo(
            "with hog features, which need no weights; for a network's: jtrack weights fetch googlenet"
        )
