"""From the coordinates of an annotation file to pixels of the picture files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from p2net_tf.data.annotations.images import Image
from p2net_tf.data.annotations.reading import Coordinates
from p2net_tf.keypoints.visibility import NOT_LABELED

PIXEL_CENTER = 0.5
"""Offset between a COCO keypoint (a pixel's index) and continuous coordinates (that pixel's centre)."""
_SAME = np.ones(2)
_FULL = {"normalized": 1.0, "percent": 100.0, "thousandths": 1000.0}
"""What the width and the height of a picture count as."""


class Scales:
    """What brings the coordinates of each image to pixels, and how far they reach in it."""

    def __init__(self, images: Sequence[Image], coordinates: Coordinates | None, exif_orientation: bool):
        self._coordinates: Coordinates = coordinates or "pixels"
        self._sizes: dict[int, np.ndarray] = {}
        if self._coordinates != "pixels":
            from p2net_tf.data.image_headers import image_headers

            found = [image for image in images if image.path is not None]
            sizes, _ = image_headers(np.asarray([image.path for image in found], str), exif_orientation)
            known = zip(found, sizes, strict=True)
            self._sizes = {image.number: np.asarray(size, np.float64) for image, size in known if size[0] > 0}

    @property
    def pixels(self) -> bool:
        return self._coordinates == "pixels"

    def to_pixels(self, keypoints: np.ndarray, factors: np.ndarray) -> np.ndarray:
        """`[K, 3]` keypoints in COCO's pixels; those that are not labeled stay zero."""
        if self.pixels:
            return keypoints
        # COCO's pixels are indices, whose centres lie half a pixel further, in pictures of any size.
        centre = PIXEL_CENTER if self._coordinates == "declared" else 0.0
        xy = (keypoints[:, :2] + centre) * factors - centre
        return np.append(xy * (keypoints[:, 2:] > NOT_LABELED), keypoints[:, 2:], axis=1)

    def limits(self, image: Image) -> tuple[float, float]:
        """(width, height) of the picture in the file's coordinates; zeros where they are not known."""
        full = _FULL.get(self._coordinates)
        return image.size if full is None else (full, full)

    def factors(self, image: Image) -> np.ndarray | None:
        """`[2]` for x and y; None where a size that it takes is not known."""
        if self._coordinates == "pixels":
            return _SAME
        size = self._sizes.get(image.number)
        limits = np.asarray(self.limits(image))
        if size is None:
            size = np.asarray(image.size) if image.size[0] > 0 else limits
        return size / limits if np.all(limits > 0) else None
