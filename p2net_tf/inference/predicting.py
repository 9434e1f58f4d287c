"""Poses in a user's own pictures: overlays and COCO results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from p2net_tf.data.annotation_files import load_json
from p2net_tf.data.coco import write_results
from p2net_tf.data.image_files import decode_image, image_headers, unreadable_images
from p2net_tf.data.samples import DataError, Samples
from p2net_tf.experiments.runs import Run
from p2net_tf.inference.test_recipe import Predictions, predict
from p2net_tf.skeletons import drawing
from p2net_tf.skeletons.skeleton import Skeleton, load_skeleton
from p2net_tf.utils.console import track


@dataclass(frozen=True)
class PosesInImages:
    """Poses found, and the images that could not be read with the reason."""

    samples: Samples
    predictions: Predictions
    unreadable: dict[str, str]


def predict_images(run: Run, images: Sequence[Path], boxes: str | None = None) -> PosesInImages:
    """Finds one pose per box.

    Pictures are seen as EXIF turns them, because that is how people took them.

    Args:
        boxes: None takes every image as one box; `x,y,w,h` is that box in every image; else a COCO JSON of
            `{image_id or file_name, bbox, score}` entries.

    Raises:
        DataError: no readable image, or boxes that cannot be read or match no image.
    """
    names = [str(image) for image in images]
    unreadable = unreadable_images(names)
    readable = [name for name in names if name not in unreadable]
    if not readable:
        first = next(iter(unreadable.items()), ("no images given", ""))
        raise DataError(f"no image can be read; first: {first[0]}: {first[1]}")
    sizes, _ = image_headers(readable, exif_orientation=True)
    owners, windows, scores = read_boxes(boxes, readable, sizes)
    count, skeleton = len(owners), load_skeleton(run.config.data.skeleton)
    samples = Samples(
        skeleton=skeleton,
        image_paths=np.asarray(readable)[owners],
        boxes=windows,
        keypoints=np.zeros((count, skeleton.num_keypoints, 3)),
        areas=windows[:, 2] * windows[:, 3],
        ids=np.arange(1, count + 1),
        image_ids=owners + 1,
        scores=scores,
        exif_orientation=True,
    )
    found = predict(run.network, samples, run.config.evaluation, run.config.data.box_padding)
    return PosesInImages(samples, found, unreadable)


def write_poses(poses: PosesInImages, folder: Path) -> list[Path]:
    """Writes an overlay per image and `predictions.json`; returns the overlays."""
    folder.mkdir(parents=True, exist_ok=True)
    samples, found = poses.samples, poses.predictions
    write_results(
        folder / "predictions.json", samples.image_ids, found.scored_keypoints, found.scores, samples.boxes
    )
    written = []
    for image_id in track(np.unique(samples.image_ids), "drawing"):
        rows = np.flatnonzero(samples.image_ids == image_id)
        source = Path(samples.image_paths[rows[0]])
        # The number keeps pictures of the same name in different folders apart.
        target = folder / f"{source.stem}_{image_id}.jpg"
        image = decode_image(tf.io.read_file(str(source)), exif_orientation=True).numpy()
        overlay = draw_poses(image, samples.boxes[rows], found.take(rows), samples.skeleton)
        drawing.write_image(target, overlay)
        written.append(target)
    return written


def draw_poses(image: np.ndarray, boxes: np.ndarray, found: Predictions, skeleton: Skeleton) -> np.ndarray:
    """The image with the `[N, 4]` xywh boxes and their poses, the best ones on top."""
    for row in np.argsort(found.scores):
        image = drawing.draw_box(image, boxes[row], label=f"{found.scores[row]:.2f}")
        scores = np.clip(found.keypoint_scores[row], 0, 1)
        image = drawing.draw_skeleton(image, found.keypoints[row], skeleton, scores=scores)
    return image


def read_boxes(boxes: str | None, images: list[str], sizes: np.ndarray):
    """Boxes for `images`: None, `x,y,w,h` or a file, as `predict_images` takes them.

    Args:
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
        raise DataError(f"--boxes '{boxes}' is neither a file nor x,y,w,h") from None
    if box.shape != (4,) or not np.all(np.isfinite(box)) or np.any(box[2:] <= 0):
        raise DataError(f"--boxes '{boxes}': give x,y,w,h with a width and height above 0, in pixels")
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
