"""A detection set in the way of TensorFlow Datasets, whose preparing needs no TensorFlow."""

import io
from typing import ClassVar

import cv2
import numpy as np
import tensorflow_datasets as tfds

from jtrack.data import scenes

SCENES = 12


class Scenes(tfds.core.GeneratorBasedBuilder):
    """Made-up scenes; config `plain` has no boxes."""

    VERSION = tfds.core.Version("1.2.0")
    BUILDER_CONFIGS: ClassVar = [
        tfds.core.BuilderConfig(name="boxed"),
        tfds.core.BuilderConfig(name="plain"),
    ]

    def _info(self):
        features = {"image": tfds.features.Image(shape=(None, None, 3)), "number": np.int64}
        if self.builder_config.name == "boxed":
            features["objects"] = tfds.features.Sequence(
                {
                    "bbox": tfds.features.BBoxFeature(),
                    "is_crowd": np.bool_,
                    "label": tfds.features.ClassLabel(num_classes=2),
                }
            )
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(0, SCENES), "test": self._generate_examples(SCENES, 3)}

    def _generate_examples(self, first, count):
        for number in range(first, first + count):
            image, boxes, _ = scenes.scene(number)
            data = cv2.imencode(".png", image[:, :, ::-1])[1].tobytes()
            record = {"image": io.BytesIO(data), "number": number}
            if self.builder_config.name == "boxed":
                height, width = image.shape[:2]
                unit = boxes / [width, height, width, height]
                objects = [
                    {"bbox": tfds.features.BBox(y, x, y + h, x + w), "is_crowd": False, "label": 1}
                    for x, y, w, h in unit
                ]
                # A crowd, which is not an object.
                crowd = {"bbox": tfds.features.BBox(0.0, 0.0, 0.125, 0.125), "is_crowd": True, "label": 0}
                record["objects"] = [crowd, *objects]
            yield number, record
