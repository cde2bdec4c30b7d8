"""Response maps of a trial: what is kept of them, where they lie, and what of a file is refused."""

import io

import numpy as np
import pytest

from jtrack.benchmark import response_maps
from jtrack.benchmark.response_maps import Response, gathered, small
from jtrack.errors import JtrackError


def response(rows, columns, peak, window=(10.0, 20, 60, 40)):
    values = np.zeros((rows, columns), np.float32)
    values[peak] = 2
    return Response(values, np.float32(window))


def kept(frames=4):
    found = [small(response(5, 6, (2, frame))) for frame in range(frames)]
    return gathered([None, *found[1:]])


@pytest.mark.parametrize(("rows", "columns"), [(5, 6), (8, 7), (1, 1), (90, 150), (64, 200)])
def test_zero_displacement_lies_in_the_middle_of_the_window(rows, columns):
    found = small(response(rows, columns, (rows // 2, columns // 2)))
    x, y, w, h = found.place
    assert (w, h) == (60, 40) and max(found.levels.shape) <= 64
    cell = np.array([w / columns, h / rows])  # of the response before it was made small
    assert (np.array([x, y]) + cell * [columns // 2 + 0.5, rows // 2 + 0.5]).tolist() == pytest.approx(
        [40, 40]
    )
    if found.levels.size > 1:
        down, right = np.unravel_index(found.levels.argmax(), found.levels.shape)
        small_cell = np.array([w, h]) / found.levels.shape[::-1]
        shown = np.array([x, y]) + small_cell * [right + 0.5, down + 0.5]
        assert (np.abs(shown - 40) <= small_cell).all()


def test_levels_run_from_a_frames_lowest_to_its_highest():
    values = np.array([[-1.0, 0, 0.5], [1, 3, 2]])
    found = small(Response(values, np.float32([0, 0, 3, 2])))
    np.testing.assert_array_equal(found.levels, np.rint((values + 1) / 4 * 255))
    flat = small(Response(np.full((3, 3), np.nan), np.float32([0, 0, 3, 3])))
    assert not flat.levels.any()


def test_frames_without_a_map_and_maps_of_another_size():
    found = gathered([None, small(response(4, 4, (1, 2))), small(response(8, 6, (3, 3)))])
    assert found.levels.shape == (3, 8, 6)
    assert np.isnan(found.places[0]).all() and not found.levels[0].any()
    assert np.isfinite(found.places[1:]).all() and found.levels[2, 3, 3] == 255
    assert gathered([None, None]) is None


def test_maps_are_read_back_as_they_were(tmp_path):
    path = tmp_path / "walk.maps.npz"
    response_maps.write(path, kept())
    found = response_maps.read(path, 4)
    np.testing.assert_array_equal(found.levels, kept().levels)
    np.testing.assert_array_equal(found.places, kept().places)


def archive(**arrays):
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


LEVELS, PLACES = kept().levels, kept().places


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty|zip"),
        (b"nothing of the kind", "zip"),
        (archive(levels=LEVELS, places=PLACES)[:-30], "zip"),
        (archive(levels=LEVELS), "places.npy"),
        (archive(levels=LEVELS[:3], places=PLACES[:3]), "it is of 3 frames, its trial of 4"),
        (archive(levels=LEVELS.astype(np.int16), places=PLACES), "its levels are int16"),
        (archive(levels=np.zeros((4, 65, 6), np.uint8), places=PLACES), "its levels are uint8 of shape"),
        (archive(levels=np.zeros((4, 0, 6), np.uint8), places=PLACES), "its levels are uint8 of shape"),
        (archive(levels=LEVELS, places=PLACES[:, :3]), "its places are float32 of shape"),
        (archive(levels=LEVELS, places=PLACES + np.float32(np.inf)), "lies nowhere"),
        (archive(levels=LEVELS, places=PLACES * np.float32([1, 1, -1, 1])), "lies nowhere"),
        (archive(levels=np.array([{}], object), places=PLACES), "an array of type object"),
    ],
)
def test_a_damaged_file_is_refused_in_a_sentence(tmp_path, content, reason):
    path = tmp_path / "walk.maps.npz"
    path.write_bytes(content)
    with pytest.raises(JtrackError, match=rf"walk\.maps\.npz .*({reason})") as refused:
        response_maps.read(path, 4)
    assert "\n" not in str(refused.value)


def test_what_would_unpack_to_more_than_memory_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "walk.maps.npz"
    path.write_bytes(archive(levels=np.zeros((4, 64, 64), np.uint8), places=PLACES))
    monkeypatch.setattr(response_maps, "_LARGEST", 10_000)
    with pytest.raises(JtrackError, match="it unpacks to"):
        response_maps.read(path, 4)
