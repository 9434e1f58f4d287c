"""Detectors of other houses that were exported as a SavedModel."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

import numpy as np
import tensorflow as tf

from p2net_tf.detection.boxes import Boxes
from p2net_tf.detection.detector import PersonDetector
from p2net_tf.utils.exceptions import UserError

Coordinates = Literal["auto", "relative", "pixels"]

_OUTPUTS = ("detection_boxes", "detection_scores", "detection_classes", "num_detections")
_SIGNATURE = "serving_default"
_LARGEST_RELATIVE = 2.0
"""Coordinates in 0..1 lie a little beyond at times; in pixels one of all boxes is larger than this."""
_SCALE_ROW = 2
"""Of `image_info`: size, size on the canvas, factors (y, x), offset."""


class SavedModelError(UserError):
    """A SavedModel that is no detector; the message names the folder and the remedy."""


class SavedModelDetector(PersonDetector):
    """A SavedModel with the signature of the TensorFlow detection zoo or of tf-models-official's exports.

    Its signature `serving_default` takes `[1, H, W, 3]` RGB pictures, uint8 or float32 in grey levels, and
    gives `detection_boxes [1, n, 4]` (top, left, bottom, right), `detection_scores`, `detection_classes` and
    `num_detections`. A model of tf-models-official gives `image_info`, too: its boxes are then those of the
    scaled picture.

    Args:
        folder: of the SavedModel.
        person: number of the class of persons; 1 in COCO.
        score_threshold: boxes must score above it.
        coordinates: of the boxes: `relative`, 0..1 of the picture, `pixels`, or `auto`, by their values.

    Raises:
        SavedModelError: it cannot be opened, or its signature is another one.
    """

    def __init__(
        self,
        folder: str | Path,
        person: int = 1,
        score_threshold: float = 0.05,
        coordinates: Coordinates = "auto",
    ):
        self.folder, self.person = str(folder), person
        self.score_threshold, self.coordinates = score_threshold, coordinates
        self._model = _opened(self.folder)
        self._signature = self._model.signatures[_SIGNATURE]
        self._input_name, self._dtype = _input_of(self._signature, self.folder)

    def detect_in(self, picture: np.ndarray) -> Boxes:
        levels = np.rint(picture) if self._dtype.is_integer else picture
        found = self._signature(**{self._input_name: tf.cast(levels, self._dtype)[None]})
        count = int(np.asarray(found["num_detections"]).reshape(-1)[0])
        boxes, scores, classes = (np.asarray(found[name])[0][:count] for name in _OUTPUTS[:3])
        height, width = picture.shape[:2]
        boxes = boxes * self._factors(boxes, found, (height, width))
        persons = (np.rint(classes) == self.person) & (scores > self.score_threshold)
        corners = boxes[persons][:, [1, 0, 3, 2]]
        return Boxes.of_corners(corners, scores[persons], (height, width))

    @property
    def digest(self) -> str:
        """Of the files: a variable of a SavedModel may be anything."""
        found = hashlib.sha256(repr((self.person, self.score_threshold, self.coordinates)).encode())
        for file in sorted(path for path in Path(self.folder).rglob("*") if path.is_file()):
            found.update(file.relative_to(self.folder).as_posix().encode())
            found.update(file.read_bytes())
        return found.hexdigest()

    def _factors(self, boxes, found, size) -> np.ndarray:
        """`[4]` from the boxes as they are to pixels of the picture."""
        relative = self.coordinates == "relative" or (
            self.coordinates == "auto" and np.max(boxes, initial=0.0) <= _LARGEST_RELATIVE
        )
        if relative:
            return np.float32([*size, *size])
        if "image_info" in found:
            scale = np.asarray(found["image_info"])[0][_SCALE_ROW]
            return np.float32([*(1 / scale), *(1 / scale)])
        return np.ones(4, np.float32)


def _opened(folder: str):
    if not (Path(folder) / "saved_model.pb").is_file():
        raise SavedModelError(f"{folder}: no SavedModel (no saved_model.pb in it); give the folder of one")
    try:
        model = tf.saved_model.load(folder)
    except (OSError, ValueError, tf.errors.OpError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SavedModelError(f"{folder}: TensorFlow cannot open it ({reason}); export it again") from error
    signature = model.signatures.get(_SIGNATURE)
    given = sorted(signature.structured_outputs) if signature is not None else []
    missing = [name for name in _OUTPUTS if name not in given]
    if missing:
        raise SavedModelError(
            f"{folder}: its signature {_SIGNATURE} gives {', '.join(given) or 'nothing'}, without "
            f"{', '.join(missing)}; export it as the TensorFlow detection zoo does"
        )
    return model


def _input_of(signature, folder: str):
    """`(name, dtype)` of the pictures."""
    _, inputs = signature.structured_input_signature
    if len(inputs) != 1:
        raise SavedModelError(f"{folder}: takes {', '.join(sorted(inputs))}; one input of pictures is needed")
    ((name, spec),) = inputs.items()
    if spec.dtype == tf.string:
        raise SavedModelError(f"{folder}: takes encoded pictures; export it for image tensors")
    return name, spec.dtype
