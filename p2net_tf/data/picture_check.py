"""Which pictures of a data set are missing, broken, or of an odd format."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from p2net_tf.data.image_kinds import EXTENSIONS
from p2net_tf.data.samples import Problem
from p2net_tf.data.unreadable_images import unreadable_images

KINDS = ("image_missing", "image_broken")
"""Of errors that leave nothing to look at."""
_IN_GRAPH = ("JPEG", "MPO", "PNG", "GIF", "BMP", "WEBP")
"""Formats that TensorFlow decodes, but for rare kinds of BMP and WebP."""


def picture_problems(
    paths: np.ndarray,
    image_ids: np.ndarray,
    formats: np.ndarray,
    source: str,
    exif_orientation: bool = False,
    decode: bool = True,
) -> list[Problem]:
    """Errors `image_missing` and `image_broken`, warnings `image_extension` and `image_format`.

    Args:
        paths: `[N]`; of each distinct one the first row counts.
        image_ids: `[N]`.
        formats: `[N]`, as `image_headers` gives them.
        source: of the data set, for what is said of all.
        decode: decode every image fully, as training will.
    """
    paths, rows = np.unique(paths, return_index=True)
    if decode:
        reasons = unreadable_images(paths, exif_orientation)
    else:
        no_header = paths[formats[rows] == ""].tolist()
        reasons = {path: "no image header" if Path(path).is_file() else "missing" for path in no_header}
    problems = []
    for path, row in zip(paths.tolist(), rows, strict=True):
        image_id, reason, format_ = int(image_ids[row]), reasons.get(path), formats[row]
        if reason is not None:
            kind = "image_missing" if reason == "missing" else "image_broken"
            remedy = "bring the picture there, or remove its annotations"
            problems.append(Problem("error", kind, path, reason, remedy, image_id=image_id))
        elif Path(path).suffix.lower() not in EXTENSIONS.get(format_, (Path(path).suffix.lower(),)):
            detail = f"is a {format_} by its contents; it is used"
            remedy = "give it the extension of its format"
            problems.append(Problem("warning", "image_extension", path, detail, remedy, image_id=image_id))
    return [*problems, *_slow_formats(source, formats[rows])]


def _slow_formats(source: str, formats: np.ndarray) -> list[Problem]:
    """One warning for all pictures that only Pillow reads."""
    slow = Counter(formats[~np.isin(formats, ["", *_IN_GRAPH])].tolist())
    if not slow:
        return []
    counts = ", ".join(f"{count} {format_}" for format_, count in slow.most_common())
    detail = f"{counts} of {len(formats)} pictures are read by Pillow, one at a time; they are used"
    remedy = "make PNGs of them with `p2net data convert-images` if loading is slow"
    return [Problem("warning", "image_format", source, detail, remedy)]
