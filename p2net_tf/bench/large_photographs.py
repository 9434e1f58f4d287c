"""Large photographs to measure the input pipeline on, made of smaller ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from p2net_tf.data.image_files import decode_file
from p2net_tf.data.samples import Samples
from p2net_tf.utils.console import track

_QUALITY = 90
"""Of the JPEGs, as cameras write them."""


def enlarged(samples: Samples, megapixels: float, folder: Path) -> Samples:
    """The people of `samples` in pictures that are enlarged to a size, as JPEGs in `folder`.

    They are smoother than photographs of that size, and so their files smaller; it is the same for everybody
    who reads them.
    """
    boxes, keypoints, paths = samples.boxes.copy(), samples.keypoints.copy(), {}
    factors = {}
    for number, path in enumerate(track(np.unique(samples.image_paths).tolist(), "enlarging pictures")):
        picture = decode_file(path, samples.exif_orientation)
        factors[path] = np.sqrt(megapixels * 1e6 / np.prod(picture.shape[:2]))
        large = cv2.resize(picture, None, fx=factors[path], fy=factors[path], interpolation=cv2.INTER_CUBIC)
        paths[path] = str(folder / f"{number}.jpg")
        cv2.imwrite(paths[path], large[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    by = np.array([factors[path] for path in samples.image_paths.tolist()], np.float32)
    boxes *= by[:, None]
    keypoints[..., :2] *= by[:, None, None]
    return replace(
        samples,
        image_paths=np.array([paths[path] for path in samples.image_paths.tolist()]),
        boxes=boxes,
        keypoints=keypoints,
        exif_orientation=False,
        source=f"{samples.source}, enlarged to {megapixels:g} MP",
    )
