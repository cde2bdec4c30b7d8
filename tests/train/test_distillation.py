"""Distillation: the components, the figure, and that a network learns another's maps."""

import jax
import numpy as np
import pytest
from sklearn.decomposition import PCA

from jtrack import backbones
from jtrack.errors import JtrackError
from jtrack.train import checkpoint, clips, distillation
from jtrack.train.distillation import Settings, Teacher

NET = backbones.get("tiny")
SMALL = Settings(side=96, steps=6, batch=4, keep_every=3)
SEED = 3


@pytest.fixture(scope="module")
def sources():
    return clips.open_source(["scenes:40"])


def teacher_of(folder, seed=SEED):
    return Teacher(NET, NET.random_params(1), SMALL, seed, folder)


def taught(source, folder, count, *, seed=SEED, **told):
    teacher = teacher_of(folder, seed)
    return distillation.lessons(
        teacher, distillation.components(teacher, source), source, count, "learnt", **told
    )


def test_components_are_those_of_a_principal_component_analysis():
    rng = np.random.default_rng(0)
    maps = rng.standard_normal((3, 50, 8)) * np.arange(1, 9) + 2
    found = distillation.principal_components(maps, 5)
    features = maps.reshape(-1, 8)
    reference = PCA(5).fit(features)
    np.testing.assert_allclose(found["middle"], features.mean(axis=0), rtol=1e-5)
    projected = (features - found["middle"]) @ found["directions"]
    scale = np.sqrt(reference.explained_variance_.sum())
    np.testing.assert_allclose(np.abs(projected), np.abs(reference.transform(features)) / scale, atol=1e-5)
    assert projected.var(axis=0, ddof=1).sum() == pytest.approx(1, rel=1e-5)


def test_lessons_are_the_teacher_s_maps(sources, tmp_path):
    found = taught(sources[0], tmp_path, 5)
    images = distillation.views(sources[0], SMALL, SEED, np.arange(5))
    maps = np.asarray(NET.apply(NET.random_params(1), images, ("relu4_4",))["relu4_4"])
    maps = maps.reshape(5, -1, maps.shape[-1])
    basis = distillation.components(teacher_of(tmp_path), sources[0])["stride8"]
    for view, (cells, said) in enumerate(zip(found.cells["stride8"], found.maps["stride8"], strict=True)):
        assert len(set(cells)) == len(cells) == min(distillation.CELLS, maps.shape[1])
        expected = (maps[view, cells] - basis["middle"]) @ basis["directions"]
        np.testing.assert_allclose(said, expected, atol=4e-3)  # kept as float16


def test_nothing_predicted_leaves_all_of_the_variance(sources, tmp_path):
    """A head of zeros predicts the mean: 1, by the components' scale, of the views that these are of."""
    found = taught(sources[0], tmp_path, 8)
    heads = {
        purpose: {
            "kernel": np.zeros((NET.map_shape(tap, (96, 96))[-1], found.maps[purpose].shape[-1]), np.float32),
            "bias": np.zeros(found.maps[purpose].shape[-1], np.float32),
        }
        for purpose, tap in distillation.taps(NET).items()
    }
    images = distillation.views(sources[0], SMALL, SEED, np.arange(8))
    share = distillation.unexplained(
        NET, {"layers": NET.random_params(0), "heads": heads}, (images, found.cells, found.maps)
    )
    assert float(share) == pytest.approx(1, abs=0.1)  # cells of every view are chosen at random


def same(one, other):
    for left, right in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert np.asarray(left).tobytes() == np.asarray(right).tobytes()


def test_lessons_that_were_interrupted_go_on(sources, tmp_path, monkeypatch):
    monkeypatch.setattr(distillation, "SHARD", 3)
    whole = taught(sources[0], tmp_path / "whole", 7)
    seen = []
    assert taught(sources[0], tmp_path / "parts", 7, on_view=seen.append, stop=lambda: len(seen) == 2) is None
    files = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "parts").iterdir()}
    assert set(files) == {
        "components.safetensors",
        "learnt-000000-3.safetensors",
        "learnt-000003-3.safetensors",
    }
    same(taught(sources[0], tmp_path / "parts", 7).maps, whole.maps)
    assert all((tmp_path / "parts" / name).stat().st_mtime_ns == time for name, time in files.items())
    with pytest.raises(JtrackError, match="is of another teacher, data, seed or size"):
        taught(sources[0], tmp_path / "parts", 7, seed=SEED + 1)


def test_another_number_of_views_takes_no_lesson_for_another(sources, tmp_path, monkeypatch):
    """The last file of fewer views is not that of more."""
    monkeypatch.setattr(distillation, "SHARD", 4)
    taught(sources[0], tmp_path / "grown", 6)
    grown, whole = (taught(sources[0], tmp_path / name, 9) for name in ("grown", "whole"))
    fewer = taught(sources[0], tmp_path / "grown", 2)
    for purpose, maps in whole.maps.items():
        np.testing.assert_array_equal(grown.cells[purpose], whole.cells[purpose])
        # Of batches of another size, so in half precision.
        np.testing.assert_allclose(grown.maps[purpose], maps, atol=4e-3)
        np.testing.assert_allclose(fewer.maps[purpose], maps[:2], atol=4e-3)


def test_lessons_belong_to_their_components(sources, tmp_path):
    taught(sources[0], tmp_path, 3)
    components = tmp_path / "components.safetensors"
    basis = distillation.components(teacher_of(tmp_path), sources[0])
    basis["stride8"]["middle"] = basis["stride8"]["middle"] + np.float32(1)
    checkpoint.save(components, basis, checkpoint.about(components))
    with pytest.raises(JtrackError, match=r"learnt-000000-3\.safetensors is of another teacher"):
        taught(sources[0], tmp_path, 3)


def test_a_network_learns_another_s_maps(sources, tmp_path, optax_promotes):
    teacher = teacher_of(tmp_path / "lessons")
    basis = distillation.components(teacher, sources[0])
    learnt, held = (
        distillation.lessons(teacher, basis, source, count, name)
        for source, count, name in ((sources[0], 40, "learnt"), (sources[1], 8, "held-out"))
    )
    settings = Settings(side=96, steps=80, batch=8, rate=1e-2, keep_every=40)
    done = distillation.distil(
        NET,
        jax.device_get(NET.random_params(0)),
        learnt,
        held,
        settings,
        seed=SEED,
        folder=tmp_path / "distillation",
        identity={},
    )
    halfway = iter(range(100))
    arguments = (NET, jax.device_get(NET.random_params(0)), learnt, held, settings)
    parts = {"seed": SEED, "folder": tmp_path / "parts", "identity": {}}
    assert distillation.distil(*arguments, **parts, stop=lambda: next(halfway) == 30).step == 31
    same(distillation.distil(*arguments, **parts).state, done.state)  # to the bit
    rows = (tmp_path / "distillation" / "log.csv").read_text().splitlines()
    first = float(rows[1].split(",")[2])
    assert done.held_out["loss"] < 0.6 * first
    assert set(done.state.layers) == set(NET.random_params(0))
