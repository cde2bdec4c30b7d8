"""Made-up trees in the layouts of VOC, ILSVRC-DET and COCO, of scenes whose boxes are known."""

import json

import cv2
import numpy as np

from jtrack.data import scenes

OBJECT = "<object><name>thing</name><difficult>{}</difficult>{}<bndbox>{}</bndbox></object>"
PART = "<part><name>head</name><bndbox>{}</bndbox></part>"


def sides(*values):
    """The four sides of a box in XML."""
    return "".join(
        f"<{side}>{value:g}</{side}>"
        for side, value in zip(("xmin", "ymin", "xmax", "ymax"), values, strict=True)
    )


def xml(*things):
    """An annotation of things (difficult, xmin, ymin, xmax, ymax)."""
    said = "".join(OBJECT.format(difficult, "", sides(*box)) for difficult, *box in things)
    return f"<annotation><size><width>240</width><height>180</height></size>{said}</annotation>"


def whole(number):
    """A scene's image and its boxes to the whole pixel: x, y, w, h."""
    image, boxes, _ = scenes.scene(number)
    low = np.floor(boxes[:, :2])
    high = np.ceil(boxes[:, :2] + boxes[:, 2:])
    return image, np.concatenate([low, high - low], axis=1)


def of_pixels(boxes, first):
    """Boxes as their first and last pixels."""
    low = boxes[:, :2] + first
    return np.concatenate([low, low + boxes[:, 2:] - 1], axis=1)


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, str):
        path.write_text(content, "utf-8")
    else:
        path.write_bytes(cv2.imencode(".png", content[:, :, ::-1])[1].tobytes())
    return path


def voc(root, numbers):
    """VOC2007 of scenes, all of them in `train`."""
    for number in numbers:
        image, boxes = whole(number)
        put(root / "JPEGImages" / f"{number:06d}.png", image)
        put(root / "Annotations" / f"{number:06d}.xml", xml(*((0, *box) for box in of_pixels(boxes, 1))))
    put(root / "ImageSets" / "Main" / "train.txt", "".join(f"{number:06d}\n" for number in numbers))
    return root


def ilsvrc(root, numbers):
    """ILSVRC-DET of scenes, each in a folder of its class, and a negative image without a file of boxes."""
    for number in numbers:
        image, boxes = whole(number)
        name = f"DET/train/ILSVRC2013_train/n{number:08d}/n{number:08d}_1"
        put(root / "Data" / f"{name}.JPEG", image)
        put(root / "Annotations" / f"{name}.xml", xml(*((0, *box) for box in of_pixels(boxes, 0))))
    put(root / "Data" / "DET" / "train" / "ILSVRC2013_train_extra0" / "ILSVRC2013_train_1.JPEG", image)
    return root


def instances(numbers):
    """What a file of COCO says of scenes, annotations first and of the last image first."""
    annotations = [
        {
            "id": 10 * number + place,
            "image_id": number,
            "iscrowd": 0,
            "bbox": box.tolist(),
            "segmentation": [],
        }
        for number in reversed(numbers)
        for place, box in enumerate(scenes.scene(number).boxes)
    ]
    images = [{"id": number, "file_name": f"{number:012d}.png"} for number in numbers]
    return {"info": {"year": 2017}, "annotations": annotations, "images": images, "licenses": []}


def coco(root, numbers):
    """COCO of scenes."""
    for number in numbers:
        put(root / "train2017" / f"{number:012d}.png", scenes.scene(number).image)
    put(root / "annotations" / "instances_train2017.json", json.dumps(instances(numbers)))
    return root
