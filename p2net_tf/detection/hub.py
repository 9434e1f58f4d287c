"""keras-hub's detectors as a source of boxes, in the extra `hub`."""

from __future__ import annotations

import hashlib
import importlib

import keras
import numpy as np
import tensorflow as tf

from p2net_tf.detection.boxes import Boxes
from p2net_tf.detection.detector import PersonDetector
from p2net_tf.utils.exceptions import UserError

_PERSON_OF_CLASSES = {1: 0, 80: 0, 90: 0, 91: 1}
"""Number of the class of persons by that of classes: of COCO without gaps, by its ids from 0, from 1."""


class KerasHubError(UserError):
    """A preset of keras-hub that cannot be used; the message names it and the remedy."""


class KerasHubDetector(PersonDetector):
    """A RetinaNet or D-FINE of keras-hub, by its preset.

    Every picture is scaled into the size that the preset's preprocessing has, without changing its shape, and
    padded at the right and bottom: so keras-hub resizes nothing, and boxes come back by one factor.

    Args:
        preset: name, or folder of a preset that was saved.
        person: number of the class of persons; None: by the number of classes, as COCO has it.
        score_threshold: boxes must score above it.

    Raises:
        KerasHubError: keras-hub is missing, cannot open the preset, or it has no size of pictures or classes
            that are not COCO's.
    """

    def __init__(self, preset: str, person: int | None = None, score_threshold: float = 0.05):
        self.preset, self.score_threshold = str(preset), score_threshold
        self.task = _opened(self.preset)
        self.person = self._person() if person is None else person
        size = getattr(getattr(self.task.preprocessor, "image_converter", None), "image_size", None)
        if not size:
            raise KerasHubError(f"{self.preset}: its preprocessing has no image_size; take another preset")
        self._height, self._width = size

    def detect_in(self, picture: np.ndarray) -> Boxes:
        height, width = picture.shape[:2]
        factor = min(self._height / height, self._width / width)
        size = [max(1, round(height * factor)), max(1, round(width * factor))]
        scaled = tf.image.resize(tf.cast(picture, tf.float32), size, antialias=True)
        canvas = tf.pad(scaled, [[0, self._height - size[0]], [0, self._width - size[1]], [0, 0]])
        found = self.task.predict(canvas[None], verbose=0)
        corners = keras.utils.bounding_boxes.convert_format(
            found["boxes"],
            source=self.task.bounding_box_format,
            target="xyxy",
            height=self._height,
            width=self._width,
        )
        corners, scores = np.asarray(corners)[0], np.asarray(found["confidence"])[0]
        persons = (np.asarray(found["labels"])[0] == self.person) & (scores > self.score_threshold)
        back = np.float32([width / size[1], height / size[0]] * 2)
        return Boxes.of_corners(corners[persons] * back, scores[persons], (height, width))

    @property
    def digest(self) -> str:
        found = hashlib.sha256(repr((self.preset, self.person, self.score_threshold)).encode())
        for weight in self.task.weights:
            found.update(np.ascontiguousarray(weight))
        return found.hexdigest()

    def _person(self) -> int:
        count = getattr(self.task, "num_classes", None)
        if count not in _PERSON_OF_CLASSES:
            raise KerasHubError(f"{self.preset}: has {count} classes, not COCO's; give the number of persons")
        return _PERSON_OF_CLASSES[count]


def _opened(preset: str):
    try:
        keras_hub = importlib.import_module("keras_hub")  # an extra
    except ImportError as error:
        raise KerasHubError(f"{preset}: needs keras-hub: pip install 'p2net_tf[hub]'") from error
    try:
        return keras_hub.models.ObjectDetector.from_preset(preset)
    except Exception as error:  # every source of presets has exceptions of its own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise KerasHubError(
            f"{preset}: keras-hub cannot open it ({reason}); give the name of a detector's preset, and "
            "connect this machine once, or a folder that save_to_preset wrote"
        ) from error
