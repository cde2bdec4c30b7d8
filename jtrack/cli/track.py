"""`jtrack track`: a video in, boxes (and pictures) out."""

import dataclasses
import os
import signal
import sys
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from rich.progress import MofNCompleteColumn, TimeRemainingColumn

from jtrack import devices, draw, run, trackers
from jtrack.backbones import PRECISIONS
from jtrack.cli import outputs
from jtrack.cli.options import Backbone, Precision, Profile, Settings, Tracker, Weights, changes, either
from jtrack.cli.printing import NO_NETWORK, tell
from jtrack.cli.progress import Bar, Rate, announce_compiling
from jtrack.data import FrameSource, mot, open_source
from jtrack.data.annotated import OTB_NAME, initial_box
from jtrack.data.folder import Levels
from jtrack.errors import JtrackError, printable
from jtrack.names import match
from jtrack.run import Track, segmentation
from jtrack.run.inputs import check_boxes
from jtrack.run.stream import OnFrame, build
from jtrack.trackers import BoundTracker
from jtrack.types import Output
from jtrack.weights import store

# XLA has one for every program: of a full disk, a folder that is read only, or oneDNN (`configure_cpu`).
CACHE_WARNING = "Error (reading|writing) persistent compilation cache entry"

RATE = 30.0  # frames a second of a video made of images

app = typer.Typer(add_completion=False)


@app.command()
def track(
    source: Annotated[
        str,
        typer.Argument(
            help="A video file, an image folder (also an OTB or VOT sequence), a quoted pattern "
            "('img/*.jpg', img/%04d.jpg), an address (rtsp://, http://) or a camera's number."
        ),
    ],
    *,
    init: Annotated[
        list[str] | None,
        typer.Option(
            metavar="X,Y,W,H",
            help="A target's box in the first frame; repeat for several targets. Without it, "
            "boxes are drawn with the mouse.",
        ),
    ] = None,
    init_file: Annotated[
        Path | None,
        typer.Option(
            help="A file with the target's box in the first frame, such as an annotation, or with several "
            "targets', as MOTChallenge's gt.txt or det.txt. These and OTB's groundtruth_rect.txt count "
            "pixels from 1, any other from 0.",
        ),
    ] = None,
    one_based: Annotated[
        bool, typer.Option("--one-based", help="Boxes read and written count pixels from 1, as OTB's do.")
    ] = False,
    levels: Annotated[
        str | None,
        typer.Option(
            "--range",
            metavar="LOW,HIGH",
            help="The values of images of 16 bits that become black and white.",
            show_default="0,65535",
        ),
    ] = None,
    live: Annotated[
        bool,
        typer.Option(
            "--live",
            help="Of a camera or stream, drop the frames that come while one is in work, as rtsp:// does.",
        ),
    ] = False,
    tracker: Tracker = trackers.DEFAULT,
    profile: Profile = "default",
    backbone: Backbone = None,
    precision: Precision = "float32",
    weights: Weights = None,
    settings: Settings = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Boxes, as .csv, .txt (as OTB's files, one a target), .mot.txt (as MOTChallenge's) or .json."
        ),
    ] = None,
    video: Annotated[Path | None, typer.Option(help="The annotated video, .mp4.")] = None,
    show: Annotated[bool, typer.Option("--show", help="Show it in a window; q ends.")] = False,
    maps: Annotated[Path | None, typer.Option(help="A folder for pictures of the response maps.")] = None,
    masks: Annotated[
        Path | None,
        typer.Option(
            help="A folder for masks of the targets, as .png of 0 and 1, 2, ...; only "
            f"{either(trackers.names_with('saliency'))}."
        ),
    ] = None,
    start: Annotated[int, typer.Option(help="First frame, counted from 0.")] = 0,
    end: Annotated[int | None, typer.Option(help="Frame to stop before.", show_default="the last")] = None,
    seed: Annotated[int, typer.Option(help="Of the tracker's randomness.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
) -> None:
    """Tracks targets through a video, an image folder or a camera's pictures.

    Ctrl-C stops after the frame in work and keeps what was tracked.
    """
    given = initial_boxes(init or [], init_file, start, one_based=one_based)
    check_outputs(out, video, (maps, masks), targets=max(1, len(given)), overwrite=overwrite)
    if show or not len(given):
        check_display("leave out --show" if len(given) else "give the target's box as --init X,Y,W,H")
    frames = open_source(source, start=start, end=end, levels=parse_levels(levels), live=live)
    boxes = check_boxes(
        given if len(given) else pick(frames), frames.size, inside=True, origin=int(one_based)
    )
    prepare(precision)
    bound = build(
        tracker,
        profile=profile,
        backbone=backbone,
        precision=precision,
        weights=weights,
        changes=changes(settings),
    )
    if backbone is None and weights is None and bound.backbone.name == store.OWN:
        tell(NO_NETWORK)
    bound = informed(bound, maps, masks)
    make_folders(maps, masks)
    say_if_nothing_is_kept(show, out, video, maps, masks)

    found: list[np.ndarray] = []  # the masks of the frame in work
    failures: list[JtrackError] = []  # of the video or the maps: the boxes are kept all the same
    with ExitStack() as stack:
        stack.enter_context(noting(failures))
        interrupted = stack.enter_context(interruptible())
        steps: list[OnFrame] = [stack.enter_context(progress(frames)), lambda *_: bool(interrupted)]
        if masks is not None:
            steps.append(ending(mask_writer(masks, found, start), failures))
        if video is not None:
            write = stack.enter_context(outputs.video_writer(video, frames.fps or RATE))
            steps.append(ending(video_step(write, found, start), failures))
        if maps is not None:
            steps.append(ending(map_writer(maps, bound, start), failures))
        if show:
            steps.append(stack.enter_context(window(frames.name, start)))
        done = run.track(
            frames,
            boxes if len(boxes) > 1 else boxes[0],
            tracker=bound,
            seed=seed,
            on_frame=lambda *frame: any([step(*frame) for step in steps]),
        )
    written = [] if failures else [path for path in (video, maps, masks) if path is not None]
    if out is not None:
        written += outputs.write_boxes(out, done, first=start, one_based=one_based)
    typer.echo(summary(frames.name, done))
    if written:
        names = printable(", ".join(map(str, written)), 1000)
        unknown = f" ({RATE:g} frames a second: the source says none)"
        typer.echo(f"wrote {names}{unknown if video in written and frames.fps is None else ''}")
    if failures:
        kept = "" if out is None else f" (the boxes of {len(done.boxes)} frames are kept)"
        raise JtrackError(f"{failures[0]}{kept}")
    if interrupted:
        tell(f"interrupted after {len(done.boxes)} frames, which are kept")
        raise typer.Exit(130)
    if done.stopped and not show:
        raise JtrackError(f"{done.stopped} (the {len(done.boxes)} frames before it are tracked and kept)")


def say_if_nothing_is_kept(*kept: object) -> None:
    """Says at the start, not after an hour, that a run leaves nothing."""
    if not any(kept):
        typer.echo(
            "jtrack: nothing is kept of this run: give --out boxes.csv, --video out.mp4 or --show", err=True
        )


def check_outputs(
    out: Path | None, video: Path | None, folders: Sequence[Path | None], *, targets: int, overwrite: bool
) -> None:
    """Refuses what could not be written at the end."""
    for file in outputs.box_files(out, targets) if out is not None else []:
        outputs.check_file(file, outputs.BOXES, overwrite=overwrite)
    if video is not None:
        outputs.check_file(video, outputs.VIDEOS, overwrite=overwrite)
    for folder in folders:
        if folder is not None:
            outputs.check_folder(folder, overwrite=overwrite, keep=False)


def make_folders(*folders: Path | None) -> None:
    """Makes the folders that pictures go to, once nothing can be refused any more."""
    for folder in filter(None, folders):
        folder.mkdir(parents=True, exist_ok=True)


def informed(bound: BoundTracker, maps: Path | None, masks: Path | None) -> BoundTracker:
    """The tracker, which says what the pictures asked for are made of."""
    if masks is not None:
        segmentation.check_saliency(bound)
    if maps is not None and bound.row.response_maps is None:
        able = either(trackers.names_with("response_maps"))
        raise JtrackError(
            f"--maps draws the responses of a tracker's filters: {bound.name} has none, leave it out or use "
            f"{able}"
        )
    if maps is None and masks is None:
        return bound
    return bound._replace(config=dataclasses.replace(bound.config, info=True))


def prepare(precision: str) -> None:
    """Readies JAX before it touches a device. Without a cache that can be written, it compiles anew.

    Raises:
      JtrackError: there is no such precision.
    """
    devices.keep_memory()
    announce_compiling()
    if match("precision", precision, PRECISIONS) == "bfloat16":
        # Only then: XLA cannot keep programs that call oneDNN, which would be compiled in every run.
        devices.configure_cpu()
    warnings.filterwarnings("ignore", CACHE_WARNING)
    try:
        devices.enable_compilation_cache()
    except JtrackError as error:
        tell(f"{error} in XDG_CACHE_HOME; this run goes on without")


def initial_boxes(init: list[str], file: Path | None, start: int, *, one_based: bool) -> np.ndarray:
    """The targets' boxes in the first frame, [N, 4] counted from 0; none where none is given.

    Raises:
      JtrackError: text that is no box, a file without a box for the first frame, or both given.
    """
    if file is not None and init:
        raise JtrackError(f"--init and --init-file {file} both give the target's box: leave one out")
    boxes = np.array([parse_box(text) for text in init]).reshape(-1, 4)
    if file is not None and mot.is_mot(file):  # which counts from 1, as OTB's
        return mot.boxes_of_frame(file, start)
    if file is not None:
        boxes = initial_box(file, start)[None]
    if file is None or not file.name.startswith(OTB_NAME):
        boxes[:, :2] -= one_based
    return boxes


def parse_levels(text: str | None) -> Levels | None:
    """Reads `LOW,HIGH`.

    Raises:
      JtrackError: if these are not two numbers.
    """
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise JtrackError(
            f"--range {text!r} is no range: give LOW,HIGH, two numbers such as 0,4095"
        ) from None
    return low, high


def parse_box(text: str) -> tuple[float, ...]:
    """Reads `X,Y,W,H`.

    Raises:
      JtrackError: if these are not four numbers.
    """
    try:
        box = tuple(float(part) for part in text.split(","))
    except ValueError:
        box = ()
    if len(box) != 4:
        raise JtrackError(f"--init {text!r} is not a box: give X,Y,W,H, four numbers such as 117,68,122,125")
    return box


def summary(name: str, done: Track) -> str:
    """One line of what was done."""
    label = done.label
    called = " ".join(label[what] for what in ("tracker", "profile", "changes") if what in label)
    rate = "" if done.fps is None else f" at {done.fps:.1f} frames a second"
    lost = int(done.lost.reshape(len(done.lost), -1).any(axis=1).sum())
    return (
        f"{printable(name)}: {len(done.boxes)} frames{rate}, lost in {lost}; "
        f"{called} on {label['backbone']} ({label['precision']})"
    )


def annotated(image: np.ndarray, said: list[Output], frame: int) -> np.ndarray:
    """A frame with the boxes of all targets."""
    return draw.annotate(
        image,
        np.stack([output.box for output in said]),
        scores=[float(output.score) for output in said],
        lost=[bool(output.lost) for output in said],
        caption=f"frame {frame}",
    )


def video_step(write: Callable[[np.ndarray], None], found: list[np.ndarray], start: int) -> OnFrame:
    """Writes every frame with its boxes and the masks that are `found` in it."""

    def step(index: int, image: np.ndarray, said: list[Output]) -> None:
        write(annotated(draw.tint(image, found), said, start + index))

    return step


def map_writer(folder: Path, bound: BoundTracker, start: int) -> OnFrame:
    """Writes a picture of the response maps of every frame but the first, which has none."""
    assert bound.row.response_maps is not None
    names = bound.row.response_maps(bound.config)
    about = f"{bound.name} {bound.profile} on {bound.backbone.name}"

    def step(index: int, image: np.ndarray, said: list[Output]) -> None:
        if index == 0:
            return
        rows = [
            draw.response_maps(
                image,
                np.asarray(output.box),
                output.info,
                names,
                title=f"target {target + 1}" if len(said) > 1 else "search window",
                target=target,
            )
            for target, output in enumerate(said)
        ]
        title = f"{about}: responses of its filters in frame {start + index}"
        sheet = draw.sheet(rows, title, targets=len(said))
        outputs.write_image(folder / f"{start + index:06d}.png", sheet)

    return step


def mask_writer(folder: Path, found: list[np.ndarray], start: int) -> OnFrame:
    """Writes the targets' masks of every frame but the first, and leaves them in `found`."""

    def step(index: int, image: np.ndarray, said: list[Output]) -> None:
        found.clear()
        if index == 0:
            return
        found.extend(segmentation.segment_output(image, np.asarray(o.box), o.info) for o in said)
        numbers = np.zeros(image.shape[:2], np.uint8)
        for number, mask in enumerate(found, start=1):
            numbers[mask] = number
        outputs.write_image(folder / f"{start + index:06d}.png", numbers[:, :, None])

    return step


@contextmanager
def noting(failures: list[JtrackError]) -> Generator[None]:
    """Notes a second output's failure once tracking is over; one before that ends everything."""
    try:
        yield
    except outputs.WriteError as error:
        failures.append(error)


def ending(step: OnFrame, failures: list[JtrackError]) -> OnFrame:
    """A step that ends tracking when its file cannot be written."""

    def guarded(index: int, image: np.ndarray, said: list[Output]) -> bool:
        with noting(failures):
            step(index, image, said)
        return bool(failures)

    return guarded


@contextmanager
def progress(frames: FrameSource) -> Generator[OnFrame]:
    """How far the tracking is, of about as many frames as the source says."""
    with Bar(MofNCompleteColumn(), Rate(), TimeRemainingColumn()) as bar:
        task = bar.add_task(frames.name, total=frames.expected)
        yield lambda *_: bar.advance(task)


@contextmanager
def interruptible() -> Generator[list[int]]:
    """Turns the first Ctrl-C into an entry of a list; a second one interrupts at once."""
    caught: list[int] = []

    def catch(number: int, _: Any) -> None:
        caught.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    previous = signal.signal(signal.SIGINT, catch)
    try:
        yield caught
    finally:
        signal.signal(signal.SIGINT, previous)


def check_display(need: str) -> None:
    """Refuses to open a window where there is none: Qt would end the process without a word."""
    if sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        raise JtrackError(f"there is no display: {need}")
    try:
        cv2.namedWindow("jtrack")
        cv2.destroyWindow("jtrack")
    except cv2.error:
        raise JtrackError(
            f"this OpenCV cannot open windows (run `python -m pip install opencv-python`): {need}"
        ) from None


def pick(frames: FrameSource) -> np.ndarray:
    """Asks for boxes by the mouse in the first frame. [N, 4]."""
    image = next(iter(frames))
    title = "Draw a box and press ENTER, once a target; then ESC"
    boxes = np.asarray(cv2.selectROIs(title, image[:, :, ::-1])).reshape(-1, 4)
    cv2.destroyWindow(title)
    if not len(boxes):
        raise JtrackError("no box was drawn: draw one and press ENTER, or give --init X,Y,W,H")
    return boxes


@contextmanager
def window(title: str, start: int) -> Generator[OnFrame]:
    """Shows annotated frames; q or ESC ends."""

    def step(index: int, image: np.ndarray, said: list[Output]) -> bool:
        cv2.imshow(title, annotated(image, said, start + index)[:, :, ::-1])
        return cv2.waitKey(1) & 0xFF in (ord("q"), 27)

    try:
        yield step
    finally:
        cv2.destroyAllWindows()
