"""What the page is told about a picture, as plain values that JSON can hold."""

from __future__ import annotations

import base64
import json
from typing import Any

import cv2
import numpy as np

from p2net_tf.detection.detector import PersonDetector
from p2net_tf.estimator import PoseEstimator
from p2net_tf.evaluation.settings import EvaluationConfig
from p2net_tf.evaluation.suppression import suppressed
from p2net_tf.inference.poses import Poses
from p2net_tf.keypoints.heatmaps import STRIDE
from p2net_tf.serving.webapp.photo import Photo
from p2net_tf.skeletons import drawing

_PREVIEW_SIDE = 1600
"""Pixels of the longer side of what is sent back; boxes and keypoints stay in those of the photo."""
_PREVIEW_QUALITY = 88


class PhotoAnswers:
    """Answers about photos, by a network and a detector. Of one thread at a time.

    Args:
        pose: finds the keypoints.
        settings: which boxes are looked at, and which poses stay, as `p2net predict` has it.
        detector: finds the people.
        min_score: its boxes must score above it; None: as it says itself.
        title: what the page calls the two.
    """

    def __init__(
        self,
        pose: PoseEstimator,
        settings: EvaluationConfig,
        detector: PersonDetector,
        min_score: float | None = None,
        title: str = "",
    ):
        self._pose, self._settings = pose, settings
        self._detector, self._min_score = detector, min_score
        self._title = title

    def model(self) -> dict[str, Any]:
        """What the page needs to know before there is a picture: `title`, `keypoints` (K names) and `limbs`
        (start, end, CSS color)."""
        skeleton = self._pose.skeleton
        return {
            "title": self._title,
            "keypoints": list(skeleton.keypoints),
            "limbs": [[limb.start, limb.end, "#" + bytes(limb.color).hex()] for limb in skeleton.limbs],
        }

    def people(self, photo: Photo) -> dict[str, Any]:
        """Everybody in a picture.

        Returns:
            `picture` (a JPEG as a data URL) with the photo's `width` and `height`; `people`, each with `box`
            (xywh), `score` and `keypoints` (K times x, y, score), in pixels of the photo; `predictions`, the
            text of the `predictions.json` that `p2net predict` writes of this file.
        """
        poses = self._find(photo)
        height, width = photo.pixels.shape[:2]
        return {
            "picture": _data_url(_preview(photo.pixels), ".jpg"),
            "width": width,
            "height": height,
            "people": [_person(poses, row) for row in range(len(poses))],
            "predictions": json.dumps(poses.to_coco(1, file_name=photo.name)),
        }

    def person(self, photo: Photo, box: np.ndarray) -> dict[str, Any]:
        """What the network sees of the person in a box `[4]`, xywh in pixels of the photo.

        Returns:
            `window`, xywh of the part of the photo that heatmaps cover; `heatmaps`, one a keypoint, PNGs as
            data URLs, transparent where there is nothing; `highest`, their highest values, which have the
            brightest color; `gates`, name -> C values in 0..1 of each Attention Partial Module, if any.

        Raises:
            DataError: it is no box.
        """
        maps = self._pose.heatmaps(photo.pixels, box[None])
        gates = self._pose.attention_gates(photo.pixels, box[None])
        heatmaps = np.moveaxis(maps.values[0], -1, 0)
        highest = heatmaps.max(axis=(1, 2))
        return {
            "window": _plain(maps.windows[0]),
            "heatmaps": [_data_url(_layer(*pair), ".png") for pair in zip(heatmaps, highest, strict=True)],
            "highest": _plain(highest),
            "gates": {name: _plain(values[0]) for name, values in gates.items()},
        }

    def warm_up(self) -> None:
        """Traces all graphs, which takes seconds, so that the first picture need not wait for it."""
        grey = Photo("grey", np.full((64, 64, 3), 128, np.uint8))
        box = np.float32([0, 0, 64, 64])
        self._pose.in_boxes(grey.pixels, box[None], np.ones(1, np.float32))
        self.people(grey)
        self.person(grey, box)

    def _find(self, photo: Photo) -> Poses:
        found = self._detector.likely(self._detector.detect_in(photo.pixels), self._min_score)
        likely = found.scores >= self._settings.box_threshold
        poses = self._pose.in_boxes(photo.pixels, found.windows[likely], found.scores[likely])
        return suppressed(poses, self._pose.card, self._settings)


def _person(poses: Poses, row: int) -> dict[str, Any]:
    scored = np.concatenate([poses.keypoints[row], poses.keypoint_scores[row, :, None]], axis=-1)
    return {"box": _plain(poses.boxes[row]), "score": float(poses.scores[row]), "keypoints": _plain(scored)}


def _layer(heatmap: np.ndarray, highest: float) -> np.ndarray:
    """A heatmap `[h, w]` to lay over the crop: `[4 * h, 4 * w, 4]`, or what `STRIDE` is."""
    # Of networks that are not sure all values are low, and yet it is to be seen where they are.
    relative = heatmap / max(float(highest), np.finfo(np.float32).tiny)
    # At the size of the crop: browsers would enlarge colors, and not values.
    return drawing.heatmap_layer(relative, tuple(STRIDE * side for side in heatmap.shape))


def _preview(pixels: np.ndarray) -> np.ndarray:
    scale = _PREVIEW_SIDE / max(pixels.shape[:2])
    if scale >= 1:
        return pixels
    height, width = (max(1, round(scale * side)) for side in pixels.shape[:2])
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)


def _data_url(image: np.ndarray, suffix: str) -> str:
    contents = drawing.encode_image(image, suffix, _PREVIEW_QUALITY)
    kind = {".jpg": "jpeg", ".png": "png"}[suffix]
    return f"data:image/{kind};base64,{base64.b64encode(contents).decode('ascii')}"


def _plain(values: np.ndarray) -> list:
    """Lists of numbers; JSON has none that are not finite."""
    return np.nan_to_num(np.asarray(values, np.float64)).tolist()
