"""From picture files to overlays and a COCO result file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from p2net_tf.data.coco import write_results
from p2net_tf.data.image_files import image_headers, unreadable_images
from p2net_tf.data.samples import DataError
from p2net_tf.estimator import PoseEstimator
from p2net_tf.inference.boxes import read_boxes
from p2net_tf.inference.poses import Poses
from p2net_tf.skeletons import drawing
from p2net_tf.utils.console import track


@dataclass(frozen=True)
class Written:
    """How many poses and overlays there are, and the images that could not be read with the reason."""

    poses: int
    overlays: int
    unreadable: dict[str, str]


def predict_files(model: str, images: Sequence[Path], boxes: str | None, out: Path) -> Written:
    """Finds one pose per box and writes an overlay per image and `predictions.json` into `out`.

    Args:
        model: run folder, `.keras` file, or the name of a preset.
        boxes: as `read_boxes` takes them.

    Raises:
        DataError: no readable image, or boxes that cannot be read or match no image.
    """
    names = [str(image) for image in images]
    unreadable = unreadable_images(names, exif_orientation=True)
    readable = [name for name in names if name not in unreadable]
    if not readable:
        first = next(iter(unreadable.items()), ("no images given", ""))
        raise DataError(f"no image can be read; first: {first[0]}: {first[1]}")
    sizes, _ = image_headers(readable, exif_orientation=True)
    owners, windows, scores = read_boxes(boxes, readable, sizes)
    rows = [np.flatnonzero(owners == number) for number in range(len(readable))]
    pose = PoseEstimator.load(model)
    found = pose.predict(readable, [windows[mine] for mine in rows], [scores[mine] for mine in rows])
    return Written(len(owners), _write(found, out), unreadable)


def _write(found: Sequence[Poses], folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    image_ids = np.repeat(np.arange(1, len(found) + 1), [len(poses) for poses in found])
    keypoints = [np.concatenate([p.keypoints, p.keypoint_scores[..., None]], axis=-1) for p in found]
    scores, boxes = [poses.scores for poses in found], [poses.boxes for poses in found]
    columns = (np.concatenate(column) for column in (keypoints, scores, boxes))
    write_results(folder / "predictions.json", image_ids, *columns)
    seen = [(number, poses) for number, poses in enumerate(found, start=1) if len(poses)]
    for number, poses in track(seen, "drawing"):
        # The number keeps pictures of the same name in different folders apart.
        drawing.write_image(folder / f"{Path(poses.source).stem}_{number}.jpg", poses.draw())
    return len(seen)
