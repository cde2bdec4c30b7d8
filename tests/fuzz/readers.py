"""Every reader of files from elsewhere: how a valid input is made, and how it is read."""

import gzip
import io
import json
import pickle
import socket
import struct
import threading
import zipfile
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import cv2
import h5py
import numpy as np
import scipy.io

from jtrack import backbones
from jtrack.backbones import box_feature
from jtrack.benchmark import ledger, mask_measures, protocol, response_maps, results, stored_curves
from jtrack.benchmark.protocol import Trial
from jtrack.benchmark.sources import open_results
from jtrack.data import Sequence, from_arrays, mot, open_dataset
from jtrack.data.dataset import Dataset
from jtrack.data.detection import open_detection
from jtrack.data.folder import read_image
from jtrack.data.video import open_video
from jtrack.train import checkpoint
from jtrack.weights import checkpoints, download, fetch, store
from jtrack.weights.convert import Source, convert, flax_pickle
from tests.data import boxed_trees
from tests.weights import test_caffemodel, test_torch_pickle

FRAMES = 6
SIZE = (24, 32)
PICKLES = {"net3.ckpt": 3, "net4.ckpt": 4}  # by their protocols
BOXES = np.array([[4.0 + i, 5.0, 8.0, 6.0] for i in range(FRAMES)])


class Reader(NamedTuple):
    """A reader and what it reads."""

    make: Callable[[Path], list[Path]]  # (an empty folder) -> the files that are damaged, one at a time
    read: Callable[[Path], Any]  # of the folder


def image(index=0):
    """A frame [H, W, 3] uint8."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.stack([rows * 7 + index, columns * 5, rows * columns], axis=-1).astype(np.uint8)


def encoded(suffix, index=0):
    picture = image(index)[..., 0] if suffix in (".pgm", ".pbm") else image(index)
    return cv2.imencode(suffix, picture)[1].tobytes()


def text(rows):
    return "".join(",".join(f"{value:g}" for value in row) + "\n" for row in rows)


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


# --- weights ----------------------------------------------------------------------------------------------


def draw(*shape):
    return np.random.default_rng(3).standard_normal(shape).astype(np.float32)


PARAMS = {
    "conv1": {"kernel": draw(3, 2, 3, 4), "bias": draw(4)},
    "fc6": {"kernel": draw(30, 7), "bias": draw(7)},
}
OIHW = {
    layer: (
        np.ascontiguousarray(
            parts["kernel"].transpose(3, 2, 0, 1) if layer == "conv1" else parts["kernel"].T
        ),
        parts["bias"],
    )
    for layer, parts in PARAMS.items()
}


def converted(name, form):
    source = Source(name, form, "RGB", "unverified")

    def read(folder):
        return convert(folder / name, source, PARAMS, name="net", channels="RGB", flatten={"fc6": (2, 3, 5)})

    return read


def caffemodel(folder):
    data = test_caffemodel.encoded(SimpleNamespace(oihw=OIHW))
    old = test_caffemodel.encoded(
        SimpleNamespace(oihw=OIHW), test_caffemodel.layer_v0, test_caffemodel.blob_legacy
    )
    return [put(folder / "net.caffemodel", data), put(folder / "old.caffemodel", old)]


def read_caffemodel(folder):
    converted("net.caffemodel", "caffemodel")(folder)
    converted("old.caffemodel", "caffemodel")(folder)


def torch(write):
    def make(folder):
        arrays = {
            f"{layer}.{part}": array
            for layer, pair in OIHW.items()
            for part, array in zip(("weight", "bias"), pair, strict=True)
        }
        content = {key: test_torch_pickle.tensor(key, array) for key, array in arrays.items()}
        write(folder / "net.pth", content, arrays)
        return [folder / "net.pth"]

    return make


def matconvnet(compressed):
    def make(folder):
        cells = np.empty((1, 2), object)
        for index, (layer, parts) in enumerate(PARAMS.items()):
            pair = np.empty((1, 2), object)
            kernel = parts["kernel"] if layer == "conv1" else parts["kernel"].reshape(2, 3, 5, 7)
            pair[0, 0], pair[0, 1] = kernel, parts["bias"].reshape(1, -1)
            cells[0, index] = {"name": layer, "type": "conv", "weights": pair}
        scipy.io.savemat(folder / "net.mat", {"layers": cells}, do_compression=compressed)
        return [folder / "net.mat"]

    return make


def keras(folder):
    with h5py.File(folder / "net.h5", "w") as file:
        for layer, parts in PARAMS.items():
            for part, array in parts.items():
                options = {"compression": "gzip", "chunks": True} if part == "kernel" else {}
                file.create_dataset(f"{layer}/{layer}/{part}:0", data=array, **options)
    return [folder / "net.h5"]


def npz(folder):
    arrays = {
        f"{layer}_{part}": array
        for layer, pair in OIHW.items()
        for part, array in zip("Wb", pair, strict=True)
    }
    np.savez_compressed(folder / "net.npz", **arrays)
    np.savez(folder / "plain.npz", **arrays)
    return [folder / "net.npz", folder / "plain.npz"]


def flax(folder):
    layers = {
        layer: {part: np.float32(array) for part, array in parts.items()} for layer, parts in PARAMS.items()
    }
    return [put(folder / name, pickle.dumps({"net": layers}, form)) for name, form in PICKLES.items()]


def read_flax(folder):
    for name in PICKLES:
        flax_pickle.read(folder / name, 1 << 24)


def read_npz(folder):
    converted("net.npz", "npz")(folder)
    converted("plain.npz", "npz")(folder)


def members(make, name):
    """The members of an archive as files, which no checksum protects; packed before they are read."""

    def unpacked(folder):
        path = make(folder)[0]
        with zipfile.ZipFile(path) as archive:
            return [put(folder / "members" / key, archive.read(key)) for key in archive.namelist()]

    def read(folder):
        with zipfile.ZipFile(folder / name, "w") as archive:
            for path in sorted((folder / "members").rglob("*")):
                archive.write(path, str(path.relative_to(folder / "members")))
        converted(name, "npz" if name.endswith(".npz") else "torch")(folder)

    return Reader(unpacked, read)


def tiny():
    return {
        layer: {part: np.asarray(array) for part, array in parts.items()}
        for layer, parts in backbones.get("tiny").random_params(0).items()
    }


def stored(folder):
    store.write(folder / "tiny.safetensors", tiny(), {"name": "tiny", "licence": "none"})
    return [folder / "tiny.safetensors"]


def head(folder):
    width = box_feature.width_of("tiny")
    shapes = {"fc6": (width, 5), "fc7": (5, 6), "objectness": (6, 2)}
    layers = {layer: {"kernel": draw(*shape), "bias": draw(shape[1])} for layer, shape in shapes.items()}
    checkpoints.write(folder / "mine.safetensors", "tiny", tiny(), layers, {"data": "made up"})
    return [folder / "mine.safetensors"]


TREE = {"weights": draw(3, 4), "count": np.int32(3)}


def training(folder):
    checkpoint.save(folder / "checkpoint.safetensors", TREE, {"step": 3, "history": [[0, 0.1, 5]]})
    return [folder / "checkpoint.safetensors"]


def read_training(folder):
    checkpoint.about(folder / "checkpoint.safetensors")
    checkpoint.load(folder / "checkpoint.safetensors", TREE)


# --- a server's answers -----------------------------------------------------------------------------------


def answers(folder):
    arrays = {}
    for layer, parts in tiny().items():
        kernel = parts["kernel"]
        arrays[f"{layer}_W"] = kernel.transpose(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T
        arrays[f"{layer}_b"] = parts["bias"]
    file = io.BytesIO()
    np.savez(file, **arrays)
    data = file.getvalue()
    chunks = b"".join(b"%x\r\n" % len(part) + part + b"\r\n" for part in (data[:999], data[999:]))
    type_ = b"HTTP/1.1 200 OK\r\nContent-Type: application/zip\r\n"
    return [
        put(folder / "plain", type_ + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(data) + data),
        put(folder / "chunked", type_ + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"),
        put(folder / "moved", b"HTTP/1.1 302 Found\r\nLocation: /plain\r\nContent-Length: 3\r\n\r\nbye"),
    ]


class _Server(threading.Thread):
    """Sends a file's bytes to whoever asks for its name."""

    def __init__(self, folder):
        super().__init__(daemon=True)
        self.folder, self.socket = folder, socket.create_server(("127.0.0.1", 0))
        self.start()

    def run(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection:
                try:
                    connection.settimeout(2)
                    name = connection.recv(65536).split(b" ")[1].strip(b"/").decode()
                    connection.sendall((self.folder / name).read_bytes())
                except (OSError, LookupError, ValueError):
                    pass


def read_answers(folder):
    """Fetches `tiny` by each answer in turn; from within, for nothing else is to be asked."""
    server = _Server(folder)
    port = server.socket.getsockname()[1]
    addresses = tuple(f"http://127.0.0.1:{port}/{name}" for name in ("chunked", "moved", "plain"))
    order = {"order": "RGB", "mean": [0.0] * 3, "std": [1.0] * 3, "size": [64, 64]}
    kept = store.manifest, store.folders, download.TIMEOUT, download.ANSWER, download.PATIENCE
    download.TIMEOUT, download.ANSWER, download.PATIENCE = (0.5, 0.5), 1.0, 0.5
    store.folders = lambda: [folder / "weights"]
    try:
        for address in addresses:
            source = Source("tiny.npz", "npz", "RGB", "unverified", addresses=(address,))
            entry = store.Entry("tiny", "none", order, (source,), {"fc6": (2, 2, 16)})
            store.manifest = lambda entry=entry: {"tiny": entry}
            fetch.fetch("tiny")
    finally:
        store.manifest, store.folders, download.TIMEOUT, download.ANSWER, download.PATIENCE = kept
        server.socket.close()


# --- datasets ---------------------------------------------------------------------------------------------


def frames(folder, pattern, count=FRAMES):
    for index in range(count):
        put(folder / pattern.format(index + 1), encoded(".png", index))


def otb(folder):
    frames(folder / "Walk" / "img", "{:04d}.png")
    frames(folder / "Two" / "img", "{:04d}.png")
    attributes = put(folder / "att" / "Walk.txt", "0,1,0,0,1,0,0,0,0,0,1\n")
    return [
        put(folder / "Walk" / "groundtruth_rect.txt", text(BOXES)),
        put(folder / "Two" / "groundtruth_rect.1.txt", text(BOXES).replace(",", "\t")),
        put(folder / "Two" / "groundtruth_rect.2.txt", text(BOXES)),
        attributes,
    ]


def vot(folder):
    corners = [[x, y, x + w, y, x + w, y + h, x, y + h] for x, y, w, h in BOXES]
    files = [put(folder / "list.txt", "ball\nmask\n")]
    for name, truth in (("ball", text(corners)), ("mask", "m2,3,5,4,3,2,5,3\n" * FRAMES)):
        frames(folder / name / "color", "{:08d}.png")
        files += [
            put(folder / name / "groundtruth.txt", truth),
            put(folder / name / "occlusion.tag", "0\n1\n" * (FRAMES // 2)),
            put(folder / name / "sequence", "channels.color=color/%08d.png\nfps=30\nname=ball\n"),
        ]
    return files


def got(folder):
    place = folder / "val" / "GOT-10k_Val_000001"
    frames(place, "{:08d}.png")
    meta = "[METAINFO]\nurl: none\nobject_class: ball\nanno_fps: 10Hz\nresolution: (32, 24)\n"
    return [
        put(folder / "val" / "list.txt", "GOT-10k_Val_000001\n"),
        put(place / "groundtruth.txt", text(BOXES)),
        put(place / "meta_info.ini", meta),
        put(place / "absence.label", "0\n" * FRAMES),
        put(place / "cover.label", "8\n" * FRAMES),
        put(place / "cut_by_image.label", "0\n" * FRAMES),
    ]


def own(folder):
    frames(folder / "walk", "{:04d}.png")
    frames(folder / "run", "{:04d}.png")
    table = "frame,x,y,w,h,score\n" + "".join(
        f"{i},{text([box]).strip()},0.5\n" for i, box in enumerate(BOXES)
    )
    return [put(folder / "walk" / "groundtruth.txt", text(BOXES)), put(folder / "run.csv", table)]


def several_targets(folder):
    rows = [f"{i + 1},{n},{text([box]).strip()},1,1,1" for i, box in enumerate(BOXES) for n in (1, 2)]
    return [put(folder / "gt.txt", "\n".join(rows) + "\n")]


def read_several_targets(folder):
    if mot.is_mot(folder / "gt.txt"):
        mot.boxes_of_frame(folder / "gt.txt", 1)


def dataset(kind):
    def read(folder):
        found = open_dataset(kind, folder)
        for name in found.names:
            found.annotation(name)
            found.sequence(name)

    return read


def detection(folder):
    put(folder / "a.png", encoded(".png"))
    put(folder / "b.jpg", encoded(".jpg"))
    return [put(folder / "a.txt", text(BOXES)), put(folder / "b.csv", text(BOXES[:1]))]


def read_detection(kind):
    def read(folder):
        data = open_detection(f"{kind}:{folder}")
        for index in range(data.length):
            data.read(index)

    return read


def boxed(kind, pattern):
    """A tree of one scene; damaged are the files of the pattern."""

    def make(folder):
        return sorted(getattr(boxed_trees, kind)(folder, [3]).glob(pattern))

    return make


def pack(folder):
    from jtrack.data import tfds

    sequence = Sequence(
        "Walk", BOXES, frames=from_arrays([image(index) for index in range(FRAMES)], name="Walk")
    )
    data = Dataset("otb", folder, None, ("Walk",), lambda _: sequence, lambda _: sequence)
    place = tfds.pack(data, folder / "packed")
    return sorted(path for path in place.iterdir() if path.is_file())


def read_pack(folder):
    data = open_dataset("tfds", folder / "packed")
    for name in data.names:
        list(data.sequence(name).frames)


# --- results ----------------------------------------------------------------------------------------------

ENTRY = {
    "type": "rect",
    "res": BOXES.tolist(),
    "len": FRAMES,
    "fps": 20.0,
    "seqName": "Walk",
    "evalType": "OPE",
}


def otb_results(folder):
    return [
        put(folder / "KCF" / "Walk.txt", text(BOXES)),
        put(folder / "KCF" / "Run.txt", text(BOXES)),
        put(folder / "KCF" / "times" / "Walk_time.txt", "0.1\n" * FRAMES),
    ]


def got_results(folder):
    return [
        put(folder / "KCF" / "Walk" / "Walk_001.txt", text(BOXES)),
        put(folder / "KCF" / "Walk" / "Walk_002.txt", text(BOXES)),
        put(folder / "KCF" / "Walk" / "Walk_time.txt", "0.1,0.2\n" * FRAMES),
    ]


def vot_results(folder):
    corners = [[x, y, x + w, y, x + w, y + h, x, y + h] for x, y, w, h in BOXES[:4]]
    place = folder / "KCF" / "baseline" / "Walk"
    return [
        put(place / "Walk_001.txt", "1\n" + text(corners[:2]) + "2\n0\n"),
        put(place / "Walk_001_time.value", "0.1\n" * 5),
    ]


def vot_binary(folder):
    start = struct.pack("<hIBI", 1, 3, 0, 1)
    boxes = 2 * struct.pack("<B4f", 1, 1, 2, 3, 4)
    polygons = 2 * struct.pack("<BH8f", 2, 4, 0, 0, 4, 0, 4, 2, 0, 2)
    place = folder / "KCF" / "baseline" / "Walk"
    return [put(place / "Walk_001.bin", start + boxes), put(place / "Walk_002.bin", start + polygons)]


def json_results(folder):
    return [
        put(folder / "CT_OPE.json.gz", gzip.compress(json.dumps({"Walk": ENTRY}).encode(), mtime=0)),
        put(folder / "KCF_OPE.json", json.dumps({"Walk": ENTRY, "Run": {"res": [[9, 9, 9, 9]]}})),
    ]


def mat_results(folder):
    cells = np.empty((1, 1), object)
    cells[0, 0] = ENTRY
    scipy.io.savemat(folder / "Walk_KCF.mat", {"results": cells})
    scipy.io.savemat(folder / "Walk_CT.mat", {"results": cells}, do_compression=True)
    return [folder / "Walk_KCF.mat", folder / "Walk_CT.mat"]


def mat73_results(folder):
    path = folder / "Walk_KCF.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        entry = file.create_group("entry")
        entry["res"], entry["len"], entry["fps"] = BOXES.T, [[float(FRAMES)]], [[20.0]]
        kind = entry.create_dataset("type", data=np.array([[ord(c)] for c in "rect"], np.uint16))
        kind.attrs["MATLAB_class"] = np.bytes_(b"char")
        cells = file.create_dataset("results", (1, 1), h5py.ref_dtype)
        cells[0, 0] = entry.ref
        cells.attrs["MATLAB_class"] = np.bytes_(b"cell")
    put(path, b"MATLAB 7.3 MAT-file".ljust(512) + path.read_bytes()[512:])
    return [path]


def a_run(folder):
    """The folder of a run."""
    label = {"tracker": "hcft", "digest": "0" * 12, "name": "hcft"}
    place = results.open_store(folder / "results", label, {"name": "hcft"})
    ope = protocol.load("ope")
    status = np.full(FRAMES, results.TRACKED, np.uint8)
    status[0] = results.INITIALISED
    for name in ("Walk", "Run"):
        place.write(
            ope,
            Trial(name, 0, 0, FRAMES, BOXES[0], 0),
            results.Trajectory(BOXES, status, 0, np.full(FRAMES, 0.1)),
        )
    return place.folder


def kept_maps(folder):
    levels = np.tile(image()[None, ..., 0], (FRAMES, 1, 1))[:, :40, :40]
    kept = response_maps.ResponseMaps(levels, np.float32(BOXES))
    response_maps.write(folder / "Walk.maps.npz", kept)
    return [folder / "Walk.maps.npz"]


def run(folder):
    return sorted(path for path in a_run(folder).rglob("*") if path.is_file())


def kept_run(folder):
    return [ledger.keep(a_run(folder), folder / "ledger", commit="0" * 40, command="jtrack eval")]


def read_kept_run(folder):
    (path,) = (folder / "ledger").iterdir()
    open_results(path)


def plain_run(folder):
    """The same, unpacked: no checksum protects it."""
    (path,) = kept_run(folder)
    return [put(folder / "run.json", gzip.decompress(path.read_bytes()))]


def read_plain_run(folder):
    put(folder / "ledger" / f"a{ledger.SUFFIX}", gzip.compress((folder / "run.json").read_bytes(), 1))
    open_results(folder / "ledger" / f"a{ledger.SUFFIX}")


# --- pictures and protocols -------------------------------------------------------------------------------


def protocols(folder):
    from importlib import resources

    sources = resources.files("jtrack.benchmark")
    found = [path for path in Path(str(sources)).rglob("*.toml")]
    return [
        put(folder / path.name, path.read_bytes()) for path in sorted(found) if path.stem in protocol.names()
    ]


def read_protocols(folder):
    for path in folder.iterdir():
        protocol.parse(path.stem, path.read_bytes().decode("utf-8", "replace"))


def images(suffixes):
    def make(folder):
        return [put(folder / f"a{suffix}", encoded(suffix)) for suffix in suffixes]

    return make


def read_images(folder):
    for path in sorted(folder.iterdir()):
        read_image(path)


def masks(folder):
    mask = ((image()[..., 0] > 90) * 255).astype(np.uint8)
    return [
        put(folder / f"a{s}", cv2.imencode(s, mask)[1].tobytes()) for s in (".png", ".bmp", ".pgm", ".tif")
    ]


def read_masks(folder):
    for path in sorted(folder.iterdir()):
        mask_measures.read(path)


def video(name, codec):
    def make(folder):
        writer = cv2.VideoWriter(str(folder / name), cv2.VideoWriter_fourcc(*codec), 25.0, SIZE[::-1])
        for index in range(FRAMES):
            writer.write(image(index))
        writer.release()
        assert (folder / name).stat().st_size
        return [folder / name]

    return make


def read_video(folder):
    (path,) = folder.iterdir()
    for _ in islice(open_video(path), 4 * FRAMES):
        pass


def curves(folder):
    """Two trackers' stored curves on two sequences."""
    cells = np.array([["Near"], ["Far"]], object)
    for kind, length in (("overlap", 21), ("error", 51)):
        buffer = io.BytesIO()
        values = {"aveSuccessRatePlot": np.full((2, 2, length), 0.5), "nameTrkAll": cells}
        scipy.io.savemat(buffer, values)
        put(folder / "curves" / f"x_{kind}_OPE.mat", buffer.getvalue())
    put(folder / "curves" / "sequence_order.json", b'["Deer", "Fish"]')
    return sorted((folder / "curves").iterdir())


READERS = {
    "safetensors": Reader(stored, lambda folder: store.read(folder / "tiny.safetensors", "tiny")),
    "head": Reader(head, lambda folder: checkpoints.load(folder / "mine.safetensors")),
    "npz": Reader(npz, read_npz),
    "flax": Reader(flax, read_flax),
    "pth": Reader(torch(test_torch_pickle.legacy_file), converted("net.pth", "torch")),
    "pth-zip": Reader(torch(test_torch_pickle.zip_file), converted("net.pth", "torch")),
    "npz-members": members(npz, "net.npz"),
    "pth-members": members(torch(test_torch_pickle.zip_file), "net.pth"),
    "mat": Reader(matconvnet(False), converted("net.mat", "matconvnet")),
    "mat-packed": Reader(matconvnet(True), converted("net.mat", "matconvnet")),
    "h5": Reader(keras, converted("net.h5", "keras")),
    "caffemodel": Reader(caffemodel, read_caffemodel),
    "checkpoint": Reader(training, read_training),
    "server": Reader(answers, read_answers),
    "otb": Reader(otb, dataset("otb")),
    "vot": Reader(vot, dataset("vot")),
    "got": Reader(got, dataset("got")),
    "folder": Reader(own, dataset("folder")),
    "mot": Reader(several_targets, read_several_targets),
    "detection": Reader(detection, read_detection("folder")),
    "voc": Reader(boxed("voc", "[AI]*/**/*.*"), read_detection("voc")),
    "ilsvrc": Reader(boxed("ilsvrc", "A*/**/*.xml"), read_detection("ilsvrc")),
    "coco": Reader(boxed("coco", "a*/*.json"), read_detection("coco")),
    "pack": Reader(pack, read_pack),
    "otb-results": Reader(otb_results, lambda folder: open_results(folder / "KCF")),
    "got-results": Reader(got_results, lambda folder: open_results(folder / "KCF")),
    "vot-results": Reader(vot_results, lambda folder: open_results(folder / "KCF")),
    "vot-binary": Reader(vot_binary, lambda folder: open_results(folder / "KCF")),
    "json-results": Reader(json_results, open_results),
    "mat-results": Reader(mat_results, open_results),
    "mat73-results": Reader(mat73_results, open_results),
    "run": Reader(run, lambda folder: open_results(folder / "results")),
    "response-maps": Reader(kept_maps, lambda folder: response_maps.read(folder / "Walk.maps.npz", FRAMES)),
    "stored-curves": Reader(curves, lambda folder: stored_curves.read(folder / "curves")),
    "ledger": Reader(kept_run, read_kept_run),
    "ledger-json": Reader(plain_run, read_plain_run),
    "protocol": Reader(protocols, read_protocols),
    "mask": Reader(masks, read_masks),
    "png-jpeg": Reader(images([".png", ".jpg"]), read_images),
    "bmp-webp-tiff": Reader(images([".bmp", ".webp", ".tiff", ".pgm"]), read_images),
    "avi": Reader(video("a.avi", "MJPG"), read_video),
    "mp4": Reader(video("a.mp4", "mp4v"), read_video),
}
