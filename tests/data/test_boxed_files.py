"""VOC, ILSVRC-DET and COCO as people have them: the boxes read are those that were written."""

import json
import tracemalloc
import warnings

import numpy as np
import pytest

from jtrack.data import scenes, voc_xml
from jtrack.data.detection import open_detection
from jtrack.errors import JtrackError
from tests.data import boxed_trees

NUMBERS = [3, 11, 20]


def refused(spec, match, **kwargs):
    with pytest.raises(JtrackError, match=match) as caught:
        open_detection(spec, **kwargs).read(0)
    assert "\n" not in str(caught.value)


# --- VOC and ILSVRC-DET -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["voc", "ilsvrc"])
def test_a_tree_gives_its_images_and_boxes(tmp_path, kind):
    data = open_detection(f"{kind}:{getattr(boxed_trees, kind)(tmp_path, NUMBERS)}")
    assert (data.name, data.length) == (f"{kind}:{tmp_path} [train]", len(NUMBERS))
    for index, number in enumerate(NUMBERS):
        image, boxes = boxed_trees.whole(number)
        found = data.read(index)
        np.testing.assert_array_equal(found.image, image)
        np.testing.assert_array_equal(found.boxes, boxes)
        assert found.crowds.shape == (0, 4)


def read(tmp_path, text, first=1):
    return voc_xml.read_boxes(boxed_trees.put(tmp_path / "a.xml", text), first=first)


def test_pixels_are_counted_from_1_or_0_and_the_last_is_included(tmp_path):
    text = boxed_trees.xml((0, 1, 2, 10, 2))
    assert read(tmp_path, text, first=1)[0].tolist() == [[0, 1, 10, 1]]
    assert read(tmp_path, text, first=0)[0].tolist() == [[1, 2, 10, 1]]


def test_difficult_objects_are_crowds_and_parts_are_none(tmp_path):
    part = boxed_trees.PART.format(boxed_trees.sides(1, 1, 2, 2))
    person = boxed_trees.OBJECT.format(0, part, boxed_trees.sides(5, 5, 9.5, 9))
    text = boxed_trees.xml((1, 1, 1, 4, 4)).replace("</annotation>", f"{person}</annotation>")
    objects, difficult = read(tmp_path, text)
    assert objects.tolist() == [[4, 4, 5.5, 5]] and difficult.tolist() == [[0, 0, 4, 4]]
    assert [len(each) for each in read(tmp_path, boxed_trees.xml())] == [0, 0]


def test_a_box_without_area_is_left_out_and_said(tmp_path):
    text = boxed_trees.xml((0, 5, 5, 4, 9), (0, 1, 1, 2, 2))
    with pytest.warns(UserWarning, match=r"object 1 of .*a\.xml has no area: xmin, .* 5, 5, 4, 9"):
        assert read(tmp_path, text)[0].tolist() == [[0, 0, 2, 2]]


BOMB = (
    '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY {b} "{10 * f"&{a};"}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    + "]><annotation>&i;</annotation>"
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "it has a DOCTYPE"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>', "it has a DOCTYPE"),
        ("<annotation>&lol;</annotation>", "undefined entity"),
        ("<annotation><object>", "no element found"),
        ("<html/>", "its first element is not <annotation>"),
        (boxed_trees.xml((0, 1, 1, np.nan, 2)), "object 1 has xmax nan"),
        (boxed_trees.xml((0, 1, -np.inf, 2, 2)), "object 1 has ymin -inf"),
        (boxed_trees.xml((0, 1, 1, 2, 2)).replace("<ymax>2</ymax>", ""), "object 1 has no bndbox/ymax"),
        (" " * voc_xml.LARGEST + "<annotation/>", "at most 1048576 are read"),
    ],
    ids=["bomb", "external", "entity", "cut", "other", "nan", "inf", "side", "large"],
)
def test_xml_that_is_no_annotation_is_refused(tmp_path, text, said):
    with pytest.raises(JtrackError, match=rf"a\.xml .*{said}"):
        read(tmp_path, text)


def test_splits_of_voc(tmp_path):
    root = boxed_trees.voc(tmp_path / "VOC2007", NUMBERS)
    boxed_trees.put(root / "ImageSets" / "Main" / "val.txt", "000011  1\n000777\n")
    boxed_trees.put(root / "ImageSets" / "Main" / "cat_val.txt", "000011  1\n")
    assert open_detection(f"voc:{root}", split="val").length == 1
    assert open_detection(f"VOC:{root}", split="train+val").length == 4
    assert open_detection(f"voc:{root}", split="val").digest != open_detection(f"voc:{root}").digest
    refused(f"voc:{root}", "unknown split of .* 'test': known: train, val$", split="test")
    refused(f"voc:{tmp_path}", "has no folder Annotations: it has VOC2007, of which one is to be named")
    (root / "ImageSets" / "Main" / "val.txt").write_text("../../../secret\n")
    refused(f"voc:{root}", "not the plain name of a folder", split="val")
    for path in (root / "ImageSets" / "Main").iterdir():
        path.unlink()
    assert open_detection(f"voc:{root}").length == len(NUMBERS)
    refused(f"voc:{root}", "unknown split", split="val")
    for path in (root / "Annotations").iterdir():
        path.unlink()
    refused(f"voc:{root}", "has no image with boxes: .*/JPEGImages holds 3 images")


def test_splits_of_ilsvrc(tmp_path):
    boxed_trees.ilsvrc(tmp_path, NUMBERS)
    boxed_trees.put(tmp_path / "Data" / "DET" / "val" / "a.JPEG", scenes.scene(0).image)
    boxed_trees.put(tmp_path / "Annotations" / "DET" / "val" / "a.xml", boxed_trees.xml((0, 0, 0, 239, 179)))
    assert open_detection(f"ilsvrc:{tmp_path}", split="val").read(0).boxes.tolist() == [[0, 0, 240, 180]]
    refused(f"ilsvrc:{tmp_path}", "unknown split .*'test': known: train, val", split="test")
    refused(f"ilsvrc:{tmp_path}/Data", "has no folder Annotations/DET")


# --- COCO -------------------------------------------------------------------------------------------------


def test_a_coco_tree_gives_its_images_and_boxes(tmp_path):
    boxed_trees.coco(tmp_path, NUMBERS)
    path = tmp_path / "annotations" / "instances_train2017.json"
    for spec in (f"coco:{tmp_path}", f"coco:{path}"):
        data = open_detection(spec)
        assert (data.name, data.length) == (f"coco:{path}", len(NUMBERS))
        for index, number in enumerate(NUMBERS):
            found = data.read(index)
            np.testing.assert_array_equal(found.image, scenes.scene(number).image)
            np.testing.assert_array_equal(found.boxes, scenes.scene(number).boxes)


def made(tmp_path, change):
    """The file of a tree whose content was changed."""
    path = boxed_trees.coco(tmp_path, NUMBERS) / "annotations" / "instances_train2017.json"
    content = boxed_trees.instances(NUMBERS)
    change(content)
    path.write_text(json.dumps(content))
    return f"coco:{tmp_path}"


def test_crowds_empty_boxes_and_images_without_any(tmp_path):
    def change(content):
        content["annotations"] = [
            {"image_id": 11, "bbox": [1.5, 2.25, 3, 4], "iscrowd": 1},
            {"image_id": 11, "bbox": [0, 0, 5, 0]},
            {"image_id": 11, "bbox": [5, 6, 7, 8]},
        ]

    with pytest.warns(UserWarning, match=r"left out: 1 annotations of .* whose bbox has no area"):
        data = open_detection(made(tmp_path, change))
    assert [len(data.read(index).boxes) for index in range(3)] == [0, 1, 0]
    assert data.read(1).boxes.tolist() == [[5, 6, 7, 8]]
    assert data.read(1).crowds.tolist() == [[1.5, 2.25, 3, 4]]


def set_name(name):
    return lambda content: content["images"][0].update(file_name=name)


def set_box(box):
    return lambda content: content["annotations"][0].update(bbox=box)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (set_name("../secret.png"), "not the plain name"),
        (set_name("/etc/passwd"), "not the plain name"),
        (set_name("a\\..\\b.png"), "not the plain name"),
        (set_name("a" * 300), "the file_name of an image is"),
        (set_name(7), "the file_name of an image is"),
        (set_name("absent.png"), "absent.png is in none of"),
        (set_box([0, 0, float("nan"), 1]), "has the bbox"),
        (set_box([0, 0, float("inf"), 1]), "has the bbox"),
        (set_box([0, 0, 1]), "has the bbox"),
        (set_box("wide"), "cannot be read"),
        (lambda content: content["annotations"][0].update(image_id=12345), "of an image that is not in it"),
        (lambda content: content["images"].append(content["images"][0]), "image 3 is twice in it"),
        (lambda content: content.pop("images"), "it has no images"),
        (lambda content: content.pop("annotations"), "no annotations with an area"),
        (lambda content: content.update(images=5), "cannot be read"),
    ],
)
def test_coco_that_is_none_is_refused(tmp_path, change, said):
    refused(made(tmp_path, change), said)


@pytest.mark.parametrize("end", ["", "]", "{", '{"annotations": [', '{"images": []}, 5', '{"a": [1 2]}'])
def test_what_is_no_json_is_refused(tmp_path, end):
    refused(f"coco:{boxed_trees.put(tmp_path / 'a.json', end)}", r"a\.json")


def test_splits_of_coco(tmp_path):
    boxed_trees.coco(tmp_path, NUMBERS)
    place = tmp_path / "annotations"
    (tmp_path / "images").mkdir()
    (tmp_path / "train2017").rename(tmp_path / "images" / "train2014")
    (place / "instances_train2017.json").rename(place / "instances_train2014.json")
    assert open_detection(f"coco:{tmp_path}").length == 3
    refused(f"coco:{tmp_path}", "unknown split .*'val'.* known: train2014", split="val")
    (place / "instances_train2017.json").write_text("{}")
    refused(f"coco:{tmp_path}", "has several of train: name one of train2014, train2017")
    assert open_detection(f"coco:{tmp_path}", split="train2014").length == 3
    refused(f"coco:{place}/instances_train2014.json", "is one file, which has no split 'val'", split="val")
    refused(f"coco:{place}", "has no annotations/instances_")
    refused(f"coco:{tmp_path}/none.json", "cannot read")


def test_a_large_file_is_read_in_little_memory(tmp_path):
    """4 MB of outlines beside two hundred boxes."""
    content = boxed_trees.instances(NUMBERS)
    outline = [[0.125 + i for i in range(2000)]]
    content["annotations"] = [
        {"segmentation": outline, "image_id": NUMBERS[i % 3], "bbox": [i, 0, 1, 1]} for i in range(240)
    ]
    path = tmp_path / "annotations" / "instances_train2017.json"
    boxed_trees.coco(tmp_path, NUMBERS)
    path.write_text(json.dumps(content, indent=1))
    del content
    assert path.stat().st_size > 4_000_000
    tracemalloc.start()
    data = open_detection(f"coco:{tmp_path}")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000
    assert data.read(1).boxes[:, 0].tolist() == list(range(1, 240, 3))


def test_an_element_without_end_is_not_held(tmp_path):
    path = boxed_trees.put(tmp_path / "a.json", '{"annotations": [{"segmentation": [' + "1, " * 4_000_000)
    with warnings.catch_warnings(action="error"):
        refused(f"coco:{path}", "more than 4194304 characters")
