"""Person boxes that come with pictures: from the command line, or from a file of detections."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from p2net_tf.data.annotation_files import load_json
from p2net_tf.data.samples import DataError


def read_boxes(boxes: str | None, images: list[str], sizes: np.ndarray):
    """Boxes for `images`.

    Args:
        boxes: None takes every image as one box; `x,y,w,h` is that box in every image; else a COCO JSON of
            `{image_id or file_name, bbox, score}` entries.
        sizes: `[n, 2]` (width, height) of the images.

    Returns:
        `(image index [N], xywh [N, 4], score [N])`.

    Raises:
        DataError: they cannot be read, or match no image.
    """
    everyone = np.arange(len(images))
    if boxes is None:
        return everyone, np.concatenate([np.zeros_like(sizes), sizes], axis=1), np.ones(len(images))
    if Path(boxes).is_file():
        return _boxes_of_file(Path(boxes), images)
    try:
        box = np.array([float(value) for value in boxes.split(",")])
    except ValueError:
        raise DataError(f"boxes '{boxes}': neither a file nor x,y,w,h") from None
    if box.shape != (4,) or not np.all(np.isfinite(box)) or np.any(box[2:] <= 0):
        raise DataError(f"boxes '{boxes}': give x,y,w,h with a width and height above 0, in pixels")
    return everyone, np.tile(box, (len(images), 1)), np.ones(len(images))


def _boxes_of_file(path: Path, images: list[str]):
    entries = load_json(path)
    entries = entries.get("annotations", []) if isinstance(entries, dict) else entries
    by_name = {Path(name).name: index for index, name in enumerate(images)}
    by_number = {_number(name): index for index, name in enumerate(images)}
    owners, windows, scores = [], [], []
    for entry in entries:
        index = by_name.get(entry.get("file_name"), by_number.get(entry.get("image_id")))
        if index is not None and entry.get("category_id", 1) == 1:
            owners.append(index)
            windows.append(entry["bbox"])
            scores.append(entry.get("score", 1.0))
    if not owners:
        raise DataError(
            f"{path}: no box of {len(entries)} belongs to the given images; entries need 'bbox' and "
            "'file_name', or an 'image_id' that is the number in the file's name"
        )
    windows = np.asarray(windows, np.float32)
    if windows.shape[1:] != (4,) or not np.all(np.isfinite(windows)) or np.any(windows[:, 2:] <= 0):
        raise DataError(f"{path}: every 'bbox' must be [x, y, w, h] with a width and height above 0")
    return np.asarray(owners), windows, np.asarray(scores, np.float32)


def _number(name: str) -> int | None:
    """COCO names its images after their ids: 000000000785.jpg is image 785."""
    stem = Path(name).stem
    return int(stem) if stem.isdigit() else None
