"""The files a run writes: refused before the work starts, then written whole or not at all."""

import errno
import json
import tempfile
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from jtrack.cli import encode
from jtrack.cli.printing import tell
from jtrack.data import mot
from jtrack.errors import JtrackError
from jtrack.run import Track
from jtrack.whole import replacing


class WriteError(JtrackError):
    """A file that could not be written after the work had begun."""


BOXES = (".csv", ".txt", ".json")
VIDEOS = (".mp4",)
IMAGES = (".png",)


def check_file(path: Path, suffixes: tuple[str, ...], *, overwrite: bool) -> None:
    """Refuses a file that could not be written at the end, or that is there already.

    A folder that is missing is not made yet.

    Raises:
      JtrackError: an unknown suffix, an existing file without `overwrite`, a folder in which no file can be
        made.
    """
    if path.suffix.lower() not in suffixes:
        raise JtrackError(f"cannot write {path}: its name must end in {' or '.join(suffixes)}")
    if path.is_dir():
        raise JtrackError(f"cannot write {path}: it is a folder")
    if path.exists() and not overwrite:
        raise JtrackError(f"{path} exists: give another name, or --overwrite")
    there = next(parent for parent in path.absolute().parents if parent.exists())
    if not there.is_dir():
        raise JtrackError(f"cannot write {path}: {there} is not a folder")
    with saying(path), tempfile.TemporaryFile(dir=there):
        pass


def check_folder(folder: Path, *, overwrite: bool, keep: bool = True) -> None:
    """Makes a folder for many files if need be; refuses one that holds files, without `overwrite`.

    `keep` False only tries, and makes none.
    """
    try:
        filled = folder.exists() and any(folder.iterdir())
    except OSError as error:
        raise JtrackError(f"cannot write into folder {folder}: {error.strerror}") from None
    if filled and not overwrite:
        raise JtrackError(f"folder {folder} is not empty: give another, or --overwrite")
    check_file(folder / "0.png", IMAGES, overwrite=True)
    if keep:
        folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def appearing(path: Path) -> Generator[Path]:
    """`whole.replacing`, whose errors are sentences.

    Raises:
      JtrackError: for any `OSError` inside: no permission, a full disk.
    """
    with saying(path), replacing(path) as part:
        yield part


@contextmanager
def saying(path: Path) -> Generator[None]:
    """Turns any `OSError` into the sentence that a file cannot be written: no permission, a full disk."""
    try:
        yield
    except OSError as error:
        hint = ": make room and run again" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else ""
        raise WriteError(f"cannot write {path}: {error.strerror or error}{hint}") from None


def box_files(path: Path, targets: int) -> list[Path]:
    """The files that hold the boxes: one, but for .txt as OTB's one a target: boxes.1.txt, boxes.2.txt ..."""
    if path.suffix.lower() != ".txt" or targets == 1 or _is_mot(path):
        return [path]
    return [path.with_suffix(f".{target}.txt") for target in range(1, targets + 1)]


def _is_mot(path: Path) -> bool:
    return path.name.lower().endswith(mot.SUFFIX)


def write_boxes(path: Path, track: Track, *, first: int = 0, one_based: bool = False) -> list[Path]:
    """Writes what was tracked, by the file's suffix.

    .csv has the columns frame, target, x, y, w, h, score, lost (0 or 1); .txt has x,y,w,h a line, as OTB's
    files, one file a target (`box_files`); .mot.txt is MOTChallenge's, in which everything counts from 1 and
    a target has no line where it is lost; .json has everything, the label included. Numbers are written to
    six decimals. Targets count from 1.

    Args:
      path: the file to be.
      track: of one target or several.
      first: number of the first frame in its source, from 0.
      one_based: add 1 to x and y, as OTB's files have them; .mot.txt always does.

    Returns:
      The files written.

    Raises:
      JtrackError: a file that cannot be written; then it is not there.
    """
    rows = _by_target(track, one_based=one_based and not _is_mot(path))
    files = box_files(path, len(rows))
    for target, file in enumerate(files):
        with appearing(file) as part, part.open("w", newline="", encoding="utf-8") as stream:
            match path.suffix.lower():
                case ".txt" if _is_mot(path):
                    for t in range(len(track.boxes)):
                        for n, (boxes, scores, lost) in enumerate(rows, start=1):
                            if not lost[t]:
                                stream.write(mot.line(first + t, n, boxes[t], scores[t]))
                case ".txt":
                    stream.writelines(_numbers(box) + "\n" for box in rows[target][0])
                case ".csv":
                    stream.write("frame,target,x,y,w,h,score,lost\n")
                    for t in range(len(track.boxes)):
                        for n, (boxes, scores, lost) in enumerate(rows, start=1):
                            values = _numbers([*boxes[t], scores[t]])
                            stream.write(f"{first + t},{n},{values},{int(lost[t])}\n")
                case _:
                    about = {"label": track.label, "fps": track.fps, "stopped": track.stopped}
                    about |= {"first_frame": first, "one_based": one_based}
                    columns = [[column.tolist() for column in row] for row in rows]
                    targets = [dict(zip(("boxes", "scores", "lost"), row, strict=True)) for row in columns]
                    json.dump({**about, "targets": targets}, stream)
                    stream.write("\n")
    return files


def _by_target(track: Track, *, one_based: bool) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """For each target its boxes [T, 4] as files have them, scores [T] and lost flags [T]."""
    frames = len(track.boxes)
    boxes = track.boxes.reshape(frames, -1, 4).astype(np.float64)
    boxes[..., :2] += one_based
    scores, lost = track.scores.reshape(frames, -1).astype(np.float64), track.lost.reshape(frames, -1)
    return [(boxes[:, n].round(6), scores[:, n].round(6), lost[:, n]) for n in range(boxes.shape[1])]


def _numbers(values: Iterable[float]) -> str:
    return ",".join(f"{value:.6f}" for value in values)


def write_image(path: Path, image: np.ndarray) -> None:
    """Writes an RGB image [H, W, 3] as a PNG file."""
    with appearing(path) as part:
        part.write_bytes(cv2.imencode(".png", image[:, :, ::-1])[1].tobytes())


@contextmanager
def video_writer(path: Path, fps: float) -> Generator[Callable[[np.ndarray], None]]:
    """A function that appends RGB frames of one size to an MP4 file, which is there at the end.

    Raises:
      JtrackError: the file cannot be written; then it is not there.
    """
    name = encode.encoder_name()
    if not encode.plays_in_browsers(name):
        tell(f"{path} will be {name}, which browsers do not play: this PyAV has no H.264")
    failed: list[WriteError] = []

    def writing(image: np.ndarray) -> None:
        try:
            with saying(path):
                write(image)
        except WriteError as error:
            failed.append(error)
            raise

    with appearing(path) as part, encode.encoding(part, fps) as write:
        yield writing
        if failed:  # one that lacks frames is none
            raise failed[0]
