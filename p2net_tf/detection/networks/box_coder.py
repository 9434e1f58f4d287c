"""Boxes as differences to other boxes (Girshick et al., CVPR 2014, appendix C)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

_FORMATS = {"anchor_format": "xyxy", "box_format": "xyxy"}
MAX_LOG_GROWTH = math.log(1000 / 16)
"""A side never becomes more than this times that of the anchor: an untrained network must not overflow."""


@dataclass(frozen=True)
class BoxCoder:
    """`(dx, dy, dw, dh)`: shift of the centre in sides of the anchor, logarithms of the sides' quotients.

    Attributes:
        weights: what the four are multiplied by, so that they spread about 1.
    """

    weights: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)

    @property
    def _variance(self) -> np.ndarray:
        return 1 / np.asarray(self.weights, np.float32)

    def encode(self, boxes, anchors):
        """Deltas `[..., 4]` of xyxy `boxes` to xyxy `anchors`; of a box without a side they are finite."""
        return keras.utils.bounding_boxes.encode_box_to_deltas(
            anchors, boxes, encoding_format="center_xywh", variance=self._variance, **_FORMATS
        )

    def decode(self, deltas, anchors):
        """xyxy `[..., 4]` of `deltas`, which were encoded against `anchors`."""
        limits = np.asarray([np.inf, np.inf, *(w * MAX_LOG_GROWTH for w in self.weights[2:])], np.float32)
        return keras.utils.bounding_boxes.decode_deltas_to_boxes(
            anchors,
            ops.minimum(deltas, limits),
            encoded_format="center_xywh",
            variance=self._variance,
            **_FORMATS,
        )
