"""Sets of images with boxes: what is read is what was written, whatever holds it."""

import json
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest

from jtrack.data import open_dataset, scenes
from jtrack.data.detection import joined, open_detection
from jtrack.errors import JtrackError
from jtrack.train import patches

# --- TensorFlow Datasets ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder with both configs of the set, prepared as array records."""
    pytest.importorskip("tensorflow_datasets", reason="needs the extra tfds")
    from boxed_set import Scenes

    root = tmp_path_factory.mktemp("prepared")
    for config in ("boxed", "plain"):
        Scenes(data_dir=str(root), config=config, file_format="array_record").download_and_prepare(
            download_dir=str(root / "downloads")
        )
    return root


def test_a_prepared_set_gives_its_images_and_boxes(prepared):
    from boxed_set import SCENES

    data = open_detection("tfds:scenes/boxed", root=prepared)
    assert (data.name, data.length) == ("tfds:scenes/boxed:1.2.0 [train]", SCENES)
    found = {picture.image.tobytes(): picture for picture in map(data.read, range(SCENES))}
    for number in range(SCENES):
        image, boxes, _ = scenes.scene(number)
        np.testing.assert_allclose(found[image.tobytes()].boxes, boxes, atol=1e-3)  # without the crowd
        height, width = image.shape[:2]
        np.testing.assert_allclose(found[image.tobytes()].crowds, [[0, 0, width / 8, height / 8]], atol=1e-3)
    assert open_detection("tfds:scenes/boxed:1.2.0", root=prepared, split="test").length == 3
    assert open_detection("tfds:scenes/boxed", root=prepared, split="train+test").length == SCENES + 3
    assert open_detection("tfds:scenes/boxed", root=prepared, split="test").digest != data.digest


def test_a_prepared_set_is_read_by_many_threads(prepared):
    """Each patch is what one thread makes of it."""
    made = []
    for threads in (1, 8):
        data = open_detection("tfds:scenes/boxed", root=prepared)
        shown, _ = patches.split(data, (32, 32), held=2, seed=0)
        made.append([batch for _, batch in patches.stream(shown, 64, start=0, stop=4, threads=threads)])
    for one, other in zip(*made, strict=True):
        np.testing.assert_array_equal(one.images, other.images)


READ = """
import json, sys
heard = []
sys.addaudithook(lambda event, _: heard.append(event) if event.startswith("socket.") else None)
from jtrack.data.detection import open_detection
image, boxes, _ = open_detection("tfds:scenes/boxed", root=sys.argv[1]).read(5)
loaded = ["tensorflow" in sys.modules, "boxed_set" in sys.modules]
print(json.dumps([list(image.shape), boxes.shape[1], *loaded, heard]))
"""


def test_it_is_read_without_tensorflow_and_its_own_code(prepared):
    line = [sys.executable, "-c", READ, str(prepared)]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[*scenes.SIZE, 3], 4, False, False, []]


def test_a_set_that_cannot_be_used_is_refused(prepared, tmp_path):
    def refused(spec, match, **kwargs):
        with pytest.raises(JtrackError, match=match) as caught:
            open_detection(spec, **{"root": prepared} | kwargs)
        assert "\n" not in str(caught.value)

    refused("tfds:voc/2007", r"tfds:voc/2007 is not prepared in .*: .*/voc/2007 does not exist; preparing "
            r"needs TensorFlow: .*`tfds build voc/2007 --file_format=array_record`")  # fmt: skip
    refused("tfds:scenes", r"not prepared in .*/scenes has boxed, plain;")
    refused("tfds:scenes/boxed:9.0.0", r"not prepared in .*/scenes/boxed has 1\.2\.0;")
    refused(
        "tfds:scenes/plain", r"has no boxes: the features image and objects/bbox are needed, it has image"
    )
    refused(
        "tfds:scenes/boxed",
        r"unknown split of tfds:scenes/boxed 'trian': did you mean 'train'",
        split="trian",
    )
    refused("tfds:../secret", r"is not the name of a set")
    other = tmp_path / "scenes" / "boxed"
    shutil.copytree(prepared / "scenes" / "boxed", other)
    info = other / "1.2.0" / "dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    refused(
        "tfds:scenes/boxed", r"is kept as tfrecord, which only TensorFlow reads: .*tfds build", root=tmp_path
    )
    info.write_text("{")
    refused(
        "tfds:scenes/boxed",
        r"the prepared set .* cannot be read .*: prepare tfds:scenes/boxed again",
        root=tmp_path,
    )


def test_without_the_extra_it_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets.core", None)
    with pytest.raises(JtrackError, match=r"^reading tfds:voc/2007 needs .* -e '\.\[tfds\]'"):
        open_detection("tfds:voc/2007")


def test_the_newest_version_and_the_only_config_are_taken(prepared, tmp_path):
    for version in ("1.10.0", "1.9.0"):
        shutil.copytree(prepared / "scenes" / "boxed" / "1.2.0", tmp_path / "scenes" / "boxed" / version)
    assert open_detection("tfds:scenes", root=tmp_path).name == "tfds:scenes/boxed:1.10.0 [train]"
    assert open_detection("tfds:scenes:1.9.0", root=tmp_path).name == "tfds:scenes/boxed:1.9.0 [train]"


def test_a_damaged_record_is_named(prepared, tmp_path):
    shutil.copytree(prepared / "scenes", tmp_path / "scenes")
    (shard,) = (tmp_path / "scenes" / "boxed" / "1.2.0").glob("*train*")
    data = bytearray(shard.read_bytes())
    data[len(data) // 4 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 4)
    shard.write_bytes(data)
    with pytest.raises(JtrackError, match=r"cannot be read|is truncated|not a readable image"):
        opened = open_detection("tfds:scenes/boxed", root=tmp_path)
        for index in range(opened.length):
            opened.read(index)


# --- folders ----------------------------------------------------------------------------------------------


@pytest.fixture
def photos(tmp_path):
    """Images with boxes, one without objects, one without a file of boxes."""
    rng = np.random.default_rng(0)
    (tmp_path / "more").mkdir()
    for name in ("2.png", "10.png", "more/1.jpg", "none.png", "unknown.png"):
        cv2.imwrite(str(tmp_path / name), rng.integers(0, 256, (60, 80, 3), np.uint8))
    (tmp_path / "2.txt").write_text("10,5,30,40\n\n0.5 1.25 20 20\n")
    (tmp_path / "10.csv").write_text("3, 4, 25, 26\n")
    (tmp_path / "more" / "1.txt").write_text("0,0,80,60\n")
    (tmp_path / "none.txt").write_text("")
    return tmp_path


def test_a_folder_has_a_file_of_boxes_beside_each_image(photos):
    data = open_detection(f"folder:{photos}")
    found = [data.read(index) for index in range(data.length)]
    assert [picture.boxes.tolist() for picture in found] == [
        [[10, 5, 30, 40], [0.5, 1.25, 20, 20]],
        [[3, 4, 25, 26]],
        [[0, 0, 80, 60]],
        [],
    ]
    assert all(picture.image.shape == (60, 80, 3) for picture in found)
    np.testing.assert_array_equal(found[0].image[:, :, ::-1], cv2.imread(str(photos / "2.png")))
    before = data.digest
    (photos / "2.txt").write_text("1,5,30,40,\n")
    assert open_detection(f"folder:{photos}").digest != before


@pytest.mark.parametrize("line", ["1,2,3", "1,2,0,4", "a,b,c,d", "1,2,nan,4", "1,2,3,4,5"])
def test_a_line_that_is_no_box_is_named(photos, line):
    (photos / "2.txt").write_text(f"10,5,30,40\n{line}\n")
    with pytest.raises(JtrackError, match=r"line 2 of .*2\.txt is no"):
        open_detection(f"folder:{photos}").read(0)


def test_a_folder_without_boxes_is_refused(photos):
    for file in (*photos.rglob("*.txt"), *photos.rglob("*.csv")):
        file.unlink()
    with pytest.raises(
        JtrackError, match=r"holds 5 images but no boxes: expected NAME\.txt beside NAME\.jpg"
    ):
        open_detection(f"folder:{photos}")
    with pytest.raises(JtrackError, match="there is no folder"):
        open_detection(f"folder:{photos}/absent")
    with pytest.raises(JtrackError, match="data 'photos' is not understood: give tfds:voc/2007"):
        open_detection("photos")


# --- sequences, scenes, several ---------------------------------------------------------------------------


def test_frames_of_sequences_have_their_target(tmp_path):
    rng = np.random.default_rng(0)
    rows = {}
    for name, count in (("Walk", 3), ("Bolt", 2)):
        (tmp_path / name / "img").mkdir(parents=True)
        for number in range(1, count + 1):
            cv2.imwrite(
                str(tmp_path / name / "img" / f"{number:04d}.png"),
                rng.integers(0, 256, (40, 50, 3), np.uint8),
            )
        rows[name] = rng.uniform(2, 20, (count, 4))
        np.savetxt(tmp_path / name / "groundtruth_rect.txt", rows[name], delimiter=",", fmt="%.17g")
    data = open_detection(f"otb:{tmp_path}")
    assert [data.kin(index) for index in range(5)] == [0, 0, 1, 1, 1]
    names = open_dataset("otb", tmp_path).names
    assert data.length == 5
    want = np.concatenate([rows[name] - [1, 1, 0, 0] for name in names])
    found = [data.read(index) for index in range(5)]
    np.testing.assert_allclose(np.concatenate([picture.boxes for picture in found]), want)
    images = [image for name in names for image in open_dataset("otb", tmp_path).sequence(name).frames]
    for picture, image in zip(found, images, strict=True):
        np.testing.assert_array_equal(picture.image, image)


def test_several_sets_are_one_after_the_other(photos):
    sets = [open_detection("scenes:3"), open_detection(f"folder:{photos}"), open_detection("scenes:2")]
    both = joined(sets)
    assert both.length == 9 and both.name == f"scenes:3 + folder:{photos} + scenes:2"
    want = [one.read(index) for one in sets for index in range(one.length)]
    for index, picture in enumerate(want):
        np.testing.assert_array_equal(both.read(index).image, picture.image)
        np.testing.assert_array_equal(both.read(index).boxes, picture.boxes)
    assert joined(sets[::-1]).digest != both.digest and joined(sets[:1]) is sets[0]


def test_a_scene_is_its_number():
    for number in range(20):
        image, boxes, _ = scenes.scene(number)
        again = scenes.scene(number)
        np.testing.assert_array_equal(image, again.image)
        assert image.shape == (*scenes.SIZE, 3) and image.dtype == np.uint8
        assert 1 <= len(boxes) <= 4 and (boxes[:, 2:] > 0).all() and (boxes[:, :2] >= 0).all()
        assert (boxes[:, :2] + boxes[:, 2:] <= scenes.SIZE[::-1]).all()
    assert not np.array_equal(scenes.scene(0).image, scenes.scene(1).image)
    with pytest.raises(JtrackError, match="scenes:many is not a number of scenes"):
        open_detection("scenes:many")


def test_the_boxes_of_a_scene_are_those_of_what_is_painted(monkeypatch):
    """What an object changes of a scene reaches to every side of its box."""
    painted = []
    stand = scenes._stand

    def watching(image, outline, rng):
        before = image.copy()
        stand(image, outline, rng)
        painted.append(np.abs(image - before).sum(axis=2))

    monkeypatch.setattr(scenes, "_stand", watching)
    for number in range(8):
        painted.clear()
        for box, change in zip(scenes.scene(number).boxes, painted, strict=True):
            rows, columns = np.nonzero(change > 0)
            assert rows.min() <= box[1] + 1 and rows.max() >= box[1] + box[3] - 2
            assert columns.min() <= box[0] + 1 and columns.max() >= box[0] + box[2] - 2
