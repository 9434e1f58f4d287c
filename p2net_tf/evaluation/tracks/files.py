"""People over time out of files, in the form in which `p2net predict` writes those of a video.

The truth is COCO ground truth whose annotations have a `track_id`, or such a list as is predicted, e.g. a
corrected one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from p2net_tf.data.annotation_files import load_json
from p2net_tf.data.annotations.boxes import read_box
from p2net_tf.data.annotations.values import as_list, is_set, same_id
from p2net_tf.data.samples import DataError
from p2net_tf.evaluation.coco_files import (
    RESULT_FIELDS,
    pose_keypoints,
    read_ground_truth,
    read_results,
    result_list,
)
from p2net_tf.keypoints.visibility import NOT_LABELED, VISIBLE

_BOXES = ("box", "bbox")
_NUMBERED = "give the whole number of the frame"


@dataclass(frozen=True, eq=False)
class Tracks:
    """n entries, each one person in one frame, in the order of the file.

    Attributes:
        frames: `[n]` int64 numbers of the frames.
        ids: `[n]` int64: which of the `track_id`s of the file, from 0 on; none twice in a frame.
        boxes: `[n, 4]` xywh, pixels.
        keypoints: `[n, K, 3]` COCO's pixels, then visibility or score.
        ignored: `[n]` bool: who need not be found, and may be.
        coco: the same as COCO ground truth, or as a COCO result list.
        every_frame: numbers of all frames of the video, ascending, those without people included.
    """

    frames: np.ndarray
    ids: np.ndarray
    boxes: np.ndarray
    keypoints: np.ndarray
    ignored: np.ndarray
    coco: Any
    every_frame: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.frames)


def read_true_tracks(source: dict | list | str | Path, num_keypoints: int) -> Tracks:
    """The truth.

    `iscrowd` marks who is ignored: those who are hidden, say. In a list every keypoint with a score above 0
    is labeled.

    Args:
        source: ground truth, a list as `p2net predict` writes it, or the path of such a JSON.

    Raises:
        DataError: a field is missing or of another form, or nobody counts; names file, entry and field.
    """
    where = str(source) if isinstance(source, str | Path) else "truth"
    content = load_json(source) if isinstance(source, str | Path) else source
    if not isinstance(content, dict | list):
        raise DataError(f"{where}: neither ground truth nor a list of people; give one of them")
    if isinstance(content, list):
        content = _as_ground_truth(where, content, num_keypoints)
    coco = read_ground_truth(content, num_keypoints, where)
    entries = content["annotations"]
    slim = coco["annotations"]
    ignored = np.array([is_set(entry["iscrowd"]) for entry in slim], bool)
    names = [f"{where}: annotations[{row}]" for row in range(len(entries))]
    images = [_frame(f"{where}: images[{row}]", image["id"]) for row, image in enumerate(coco["images"])]
    tracks = _tracks(names, entries, slim, ignored, coco, num_keypoints, images)
    unknown = np.flatnonzero(~np.isin(tracks.frames, tracks.every_frame))
    if len(unknown):
        row = unknown[0]
        raise DataError(
            f"{names[row]}: its 'image_id' {tracks.frames[row]} is not among the 'images'; list it"
        )
    if ignored.all():
        raise DataError(f"{where}: nobody counts, so nothing can be scored; give people without 'iscrowd'")
    return tracks


def read_found_tracks(source: list | str | Path, num_keypoints: int) -> Tracks:
    """Predictions.

    Args:
        source: a list as `p2net predict` writes it for a video, or the path of such a JSON.

    Raises:
        DataError: a field is missing or of another form; names file, entry and field.
    """
    where, entries = result_list(source, RESULT_FIELDS)
    slim = read_results(entries, num_keypoints, where)
    names = [f"{where}: [{row}]" for row in range(len(slim))]
    return _tracks(names, entries, slim, np.zeros(len(slim), bool), slim, num_keypoints, ())


def _tracks(names, entries, slim, ignored, coco, num_keypoints: int, images) -> Tracks:
    frames = [_frame(name, entry["image_id"]) for name, entry in zip(names, slim, strict=True)]
    ids = [_track_id(name, entry) for name, entry in zip(names, entries, strict=True)]
    boxes = [_box(name, entry) for name, entry in zip(names, entries, strict=True)]
    seen: dict[tuple, str] = {}
    for name, frame, number in zip(names, frames, ids, strict=True):
        other = seen.setdefault((frame, number), name)
        if other != name:
            raise DataError(
                f"{name}: 'track_id' {number!r} stands twice in frame {frame} (also in "
                f"{other.rpartition(': ')[2]}); give every person of a frame another"
            )
    keypoints = np.array([entry["keypoints"] for entry in slim], np.float64)
    return Tracks(
        np.array(frames, np.int64),
        _places(ids),
        np.array(boxes, np.float64).reshape(-1, 4),
        keypoints.reshape(-1, num_keypoints, 3),
        ignored,
        coco,
        tuple(sorted({*images, *frames} if not images else set(images))),
    )


def _places(ids: list) -> np.ndarray:
    """Ids may be texts, and numbers that no float holds; motmetrics keeps them as floats."""
    place = {number: place for place, number in enumerate(dict.fromkeys(ids))}
    return np.array([place[number] for number in ids], np.int64)


def _frame(where: str, value) -> int:
    if not isinstance(value, int):
        raise DataError(f"{where}: 'image_id' is {value!r:.40}; {_NUMBERED}")
    return value


def _track_id(where: str, entry: dict) -> int | str:
    found = same_id(entry.get("track_id"))
    if found is None:
        raise DataError(
            f"{where}: 'track_id' is {entry.get('track_id')!r:.40}; give a number that the person keeps, as "
            "predictions of a video have it"
        )
    return found


def _box(where: str, entry: dict) -> np.ndarray:
    value = next((entry[name] for name in _BOXES if entry.get(name) is not None), None)
    found = read_box(value)
    if found is None or min(found[2:]) <= 0:
        raise DataError(f"{where}: 'box' is {value!r:.60}; give x, y, width and height above 0, in pixels")
    return found


def _as_ground_truth(where: str, entries: list, num_keypoints: int) -> dict:
    """A list of predictions as COCO ground truth."""
    annotations = []
    for row, entry in enumerate(entries):
        name = f"{where}: [{row}]"
        if not isinstance(entry, dict):
            raise DataError(f"{name} is {entry!r:.40}; give an object")
        values = pose_keypoints(name, as_list(entry.get("keypoints")), num_keypoints)
        places = np.nan_to_num(np.reshape(values, (num_keypoints, 3)))
        labeled = np.isfinite(np.reshape(values, (num_keypoints, 3))).all(axis=-1) & (places[:, 2] > 0)
        places[:, 2] = np.where(labeled, VISIBLE, NOT_LABELED)
        annotations.append(entry | {"keypoints": places.ravel().tolist(), "bbox": _box(name, entry).tolist()})
    numbers = sorted(
        {_frame(f"{where}: [{row}]", same_id(entry.get("image_id"))) for row, entry in enumerate(entries)}
    )
    return {"images": [{"id": number} for number in numbers], "annotations": annotations}
