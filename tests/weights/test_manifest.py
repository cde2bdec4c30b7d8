"""The manifest: complete, in agreement with the networks, and in the wheel."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from jtrack import backbones
from jtrack.weights import store
from jtrack.weights.convert import FORMATS, limit_of

ROOT = Path(__file__).resolve().parents[2]
DIGITS = {"sha384": 96, "sha256": 64, "sha1": 40, "md5": 32}


def test_every_network_with_weights_is_in_it():
    needing = {name for name in backbones.names() if backbones.get(name).template() and name != "tiny"}
    assert set(store.manifest()) == needing


@pytest.mark.parametrize("name", store.manifest())
def test_an_entry_agrees_with_its_network(name):
    entry, own = store.entry(name), backbones.get(name).preprocessing
    said = entry.preprocessing
    assert (said["order"], said["mean"], said["size"]) == (own.order, list(own.mean), list(own.size))
    assert said["std"] == pytest.approx(own.std, abs=1e-9)
    assert entry.licence
    template = backbones.get(name).template()
    for layer, (height, width, depth) in entry.flatten.items():
        assert template[layer]["kernel"].shape[0] == height * width * depth


@pytest.mark.parametrize("name", store.manifest())
def test_a_source_is_described_in_full(name):
    for source in store.entry(name).sources:
        assert source.format in FORMATS
        assert Path(source.file).suffix in FORMATS[source.format].suffixes
        assert (Path(source.file).name == source.file) == (not source.distribution)
        assert not source.distribution or re.fullmatch(r"[\w-]+==[\d.]+", source.distribution)
        assert source.layers == () or source.held(backbones.get(name).template())
        assert source.channels in ("RGB", "BGR")
        assert all(re.match(r"https?://[\w.-]+/", address) for address in source.addresses)
        assert source.size is None or source.size > 0
        if source.checksum != "unverified":
            algorithm, digits = source.checksum.split(":")
            assert re.fullmatch("[0-9a-f]+", digits)
            assert len(digits) in (DIGITS[algorithm], 8)
        for pattern in source.rename:
            re.compile(pattern)


def test_file_names_belong_to_one_network():
    files = [source.file for entry in store.manifest().values() for source in entry.sources]
    assert len(files) == len(set(files))


def torchvision_vgg(depths):
    """torchvision counts convolutions, ReLUs and poolings in one list, and dropouts between dense layers."""
    index = 0
    for block, depth in enumerate(depths, start=1):
        for i in range(1, depth + 1):
            yield f"features.{index}", f"conv{block}_{i}"
            index += 2
        index += 1
    yield from zip(("classifier.0", "classifier.3", "classifier.6"), ("fc6", "fc7", "fc8"), strict=True)


@pytest.mark.parametrize(
    ("name", "depths"), [("vgg16_torchvision", (2, 2, 3, 3, 3)), ("vgg19_torchvision", (2, 2, 4, 4, 4))]
)
def test_the_names_of_torchvision(name, depths):
    rename = store.entry(name).sources[0].rename
    assert {pattern.replace("\\", ""): layer for pattern, layer in rename.items()} == dict(
        torchvision_vgg(depths)
    )
    assert set(rename.values()) == set(backbones.get(name).template())


def test_an_installed_wheel_reads_it_outside_the_checkout(tmp_path):
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    wheels, site, elsewhere = tmp_path / "wheels", tmp_path / "site", tmp_path / "elsewhere"
    build = [
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--wheel-dir",
        str(wheels),
        str(ROOT),
    ]
    subprocess.run([*pip, *build], check=True, cwd=tmp_path)
    (wheel,) = wheels.glob("jtrack_jax-*.whl")
    subprocess.run(
        [*pip, "install", "--no-deps", "--no-index", "--target", str(site), str(wheel)], check=True
    )
    elsewhere.mkdir()
    # -P and the target first on the path: the checkout's editable installation must not answer instead.
    program = (
        f"import sys; sys.path.insert(0, {str(site)!r})\n"
        "import jtrack.weights.store as store\n"
        "print(store.__file__)\n"
        "print(*sorted(store.manifest()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], check=True, cwd=elsewhere, capture_output=True, text=True
    )
    file, names = done.stdout.splitlines()
    assert Path(file).is_relative_to(site)
    assert (site / "jtrack" / "weights" / "manifest.toml").is_file()
    assert names.split() == sorted(store.manifest())


def test_every_published_file_is_within_its_limit():
    sizes = [(name, source.size) for name, entry in store.manifest().items() for source in entry.sources]
    assert any(size for _, size in sizes)
    for name, size in sizes:
        assert (size or 0) <= limit_of(backbones.get(name).template())
