"""A detector in a format that others run: with its scaling, padding and suppression inside.

| format | inputs | outputs |
|---|---|---|
| SavedModel, `serving_default` | `input_tensor` uint8 `[1, H, W, 3]` RGB | those of the detection zoo |
| SavedModel, `image_bytes` | `image_bytes` string `[]` | the same |
| TFLite | `pictures` uint8 `[1, S, S, 3]` RGB | `boxes [n, 4]` xywh in pixels, `scores [n]`, `classes [n]` |

Those of TensorFlow's detection zoo are `detection_boxes [1, n, 4]` (top, left, bottom, right in 0..1 of the
picture), `detection_scores` and `detection_classes` (counted from 1) `[1, n]`, and `num_detections [1]`, all
float32; so `SavedModelDetector` opens what is written here. A picture for TFLite is scaled until its longer
side has S pixels, and stands at the top left; below and to the right of it is the padding colour.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from p2net_tf.detection.canvas import canvas_of, whole_strides
from p2net_tf.detection.detector import NetworkDetector
from p2net_tf.detection.networks.detection_network import DECODE_SCOPE
from p2net_tf.export.model_card import card_of_detector, write_card
from p2net_tf.export.requests import demand_image, demand_shape
from p2net_tf.export.tflite import PRECISIONS, Quantization, convert, write_one_signature
from p2net_tf.utils.console import track
from p2net_tf.utils.files import demand_utf8, newest_version, next_version, write_bytes

_IN_FLOAT32 = (
    "CONCATENATION", "RESHAPE", "SPLIT", "STRIDED_SLICE", "TRANSPOSE", "GATHER", "SELECT_V2", "TOPK_V2",
    "NON_MAX_SUPPRESSION_V5",
)  # fmt: skip
"""Operations that only stand behind the convolutions: 256 steps over a picture are no position."""


def export_detector_saved_model(
    detector: NetworkDetector, out: str | Path, exif_orientation: bool = True, facts: dict | None = None
) -> Path:
    """Writes the next version of a SavedModel, `out/N`, and returns it.

    Args:
        exif_orientation: encoded pictures are turned the way their EXIF header says.
        facts: more to say in `model_card.json`.
    """
    demand_utf8(out)
    graph = _Graph(detector, exif_orientation)
    with next_version(out) as scratch:
        archive = keras.export.ExportArchive()
        for name, (function, spec) in graph.signatures.items():
            archive.add_endpoint(name, function, [spec])
        archive.write_out(str(scratch), verbose=False)
        write_card(card_of_detector(detector.card, format="saved_model", **(facts or {})), scratch)
    return newest_version(out)


def export_detector_tflite(
    detector: NetworkDetector,
    out: str | Path,
    pictures: Sequence[np.ndarray] = (),
    facts: dict | None = None,
) -> Path:
    """Writes one file per precision into the next version `out/N`, and returns it.

    Args:
        pictures: `[H, W, 3]` in grey levels, of any sizes, that int8 is calibrated on; without any there is
            no int8.
        facts: more to say in `model_card.json`.
    """
    side = lite_side(detector)
    canvases = [lite_canvas(detector, picture, side)[0] for picture in pictures]
    precisions = PRECISIONS if canvases else tuple(name for name in PRECISIONS if name != "int8")
    quantization = Quantization(
        "pictures", [canvas[None] for canvas in canvases], DECODE_SCOPE, operations=_IN_FLOAT32
    )
    with next_version(out) as scratch, tempfile.TemporaryDirectory() as source:
        spec = tf.TensorSpec((1, side, side, 3), tf.uint8, name="pictures")
        write_one_signature(_lite_function(detector), spec, source)
        for precision in track(precisions, "converting to TFLite"):
            contents = convert(source, precision, quantization)
            write_bytes(scratch / f"{detector.card.name}_{precision}.tflite", contents)
        told = {"format": "tflite", "side": side, "calibration_pictures": len(canvases)}
        # Grey levels 0..255, red first.
        told["padding_color"] = np.rint(255 * np.asarray(detector.network.padding_value)).astype(int).tolist()
        write_card(card_of_detector(detector.card, **told, **(facts or {})), scratch)
    return newest_version(out)


def lite_side(detector: NetworkDetector) -> int:
    """S: the longer side that the card asks for, in whole strides."""
    return whole_strides(detector.card.longer_side, detector.network.stride)


def lite_canvas(detector: NetworkDetector, picture: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """`(canvas [S, S, 3] uint8, scale [2] (y, x))` of a picture for the TFLite file."""
    card, network = detector.card, detector.network
    canvas, _, scale = canvas_of(picture, side, card.longer_side, side, network.padding_value, card.antialias)
    return np.rint(np.clip(canvas[0], 0, 1) * 255).astype(np.uint8), scale.numpy()


class _Graph:
    """The signatures of a SavedModel."""

    def __init__(self, detector: NetworkDetector, exif_orientation: bool):
        self._detector, self._exif = detector, exif_orientation
        self._find = tf.function(
            detector.all_detections, [tf.TensorSpec((None, None, 3), tf.float32)], autograph=False
        )

    @property
    def signatures(self) -> dict:
        """Name -> (method, its input)."""
        return {
            "serving_default": (
                self.input_tensor,
                tf.TensorSpec((1, None, None, 3), tf.uint8, name="input_tensor"),
            ),
            "image_bytes": (self.image_bytes, tf.TensorSpec((), tf.string, name="image_bytes")),
        }

    def input_tensor(self, input_tensor):
        return self._answer(demand_shape(input_tensor, "input_tensor", (1, None, None, 3))[0])

    def image_bytes(self, image_bytes):
        image_bytes = demand_shape(image_bytes, "image_bytes", ())
        return self._answer(demand_image(image_bytes, self._exif))

    def _answer(self, picture):
        corners, scores, classes, wanted = self._find(tf.cast(picture, tf.float32))
        height, width = tf.unstack(tf.cast(tf.shape(picture)[:2], tf.float32))
        limits = tf.stack([width, height, width, height])
        corners = tf.clip_by_value(corners, 0.0, limits) / limits
        wanted_1 = tf.cast(wanted, tf.float32)
        boxes = tf.gather(corners, [1, 0, 3, 2], axis=-1) * wanted_1[:, None]
        return {
            "detection_boxes": boxes[None],
            "detection_scores": (scores * wanted_1)[None],
            "detection_classes": (tf.cast(classes + 1, tf.float32) * wanted_1)[None],
            "num_detections": tf.reduce_sum(wanted_1)[None],
        }


def _lite_function(detector: NetworkDetector):
    def find(pictures):
        found = detector.network(tf.cast(pictures, tf.float32) / 255.0, training=False)
        boxes = found["boxes"][0]
        windows = tf.concat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=-1)
        return {"boxes": windows, "scores": found["scores"][0], "classes": found["classes"][0]}

    return find
