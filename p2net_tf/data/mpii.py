"""MPII Human Pose (Andriluka et al., CVPR 2014): the official `.mat` release and the JSON form of HRNet.

Coordinates are MATLAB pixels (the centre of the first pixel is 1), so 0.5 is taken off. `scale` is the
person's height over 200 px and `center` (`objpos`) lies near its middle. HRNet moves the centre down by
15 * scale and multiplies the scale by 1.25, so that legs are not cut. Here the reader applies the
move, and a sample's box is the square of scale * 200 px around the moved centre: with the default
`box_padding` of 1.25 the crop window is exactly HRNet's, so no other padding is to be added.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from p2net_tf.data.annotation_files import find_annotations, finite_numbers, load_json, load_mat
from p2net_tf.data.samples import DataError, Problem, Samples
from p2net_tf.keypoints.visibility import NOT_LABELED, OCCLUDED, VISIBLE
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.utils.paths import as_path

MATLAB_OFFSET = 0.5
"""MATLAB's pixel 1 has its centre at 0.5 in continuous coordinates."""
PERSON_HEIGHT = 200.0
"""Pixels of a person of scale 1."""
CENTER_SHIFT = 15.0
"""HRNet's move of the centre downward, in pixels of a person of scale 1."""
PERSONS_PER_IMAGE = 1000
"""`.mat` ids are image number * 1000 + person number, both counted from 1 as in MATLAB."""
NUM_JOINTS = 16
_MAT_NAME = "mpii_human_pose_v1_u12_1.mat"
_JSON_VISIBILITY = {0: NOT_LABELED, 1: VISIBLE}
_MAT_SPLITS = {"train": 1, "test": 0}


def read_mpii(
    root: str | Path, split: str = "train", annotations: str | Path | None = None, single_person: bool = False
) -> Samples:
    """Reads MPII; images lie in `root/images/`, or in `root` where there is no such folder.

    Args:
        root: folder of the data set.
        split: JSON: name of the file (`train`, `valid`, `trainval`); `.mat`: `train` or `test`.
        annotations: a `.json` or `.mat`, relative to `root` or to the working folder. None takes
            `annot/<split>.json`, `annotations/<split>.json`, `<split>.json` or the release's `.mat`.
        single_person: `.mat` only: keep the persons that the release lists as sufficiently separated.

    Returns:
        Samples with the card `mpii16`. Persons of the test split have no labeled keypoint. Ids are the
        place in the JSON list, from 1; in the `.mat` see `PERSONS_PER_IMAGE`. The area is the box's.

    Raises:
        DataError: the file is missing or of another form, or the split is not in it.
    """
    table = _read_table(as_path(root, "root"), split, annotations, single_person)
    return table.samples()


def read_head_boxes(
    root: str | Path, split: str = "train", annotations: str | Path | None = None, single_person: bool = False
) -> np.ndarray:
    """Head boxes of the samples that `read_mpii` gives for the same arguments.

    Returns:
        `[N, 4]` float32 xywh in image pixels; NaN where the file has none. HRNet's JSON has them in
        `gt_<split>.mat` beside it. PCKh's head size is 0.6 times the diagonal.
    """
    heads = _read_table(as_path(root, "root"), split, annotations, single_person).heads
    return np.asarray(heads, np.float32).reshape(-1, 4)


def _read_table(root: Path, split: str, annotations: str | Path | None, single_person: bool) -> _Table:
    usual = [f"annot/{split}.json", f"annotations/{split}.json", f"{split}.json", _MAT_NAME]
    path = find_annotations(root, annotations, usual)
    table = _Table(str(path), root / "images" if (root / "images").is_dir() else root)
    if path.suffix == ".mat":
        table.require_joints = split == "train"
        persons = _mat_persons(path, split, single_person)
    else:
        persons = _json_persons(path)
    for person in persons:
        table.add(person)
    return table


@dataclass
class _Person:
    """One annotated person as its file says it, in MATLAB pixels."""

    id: int
    image: Any
    image_id: int | None
    center: Any
    scale: Any
    joints: Any
    """Values of `[16, 2]`; None where the person has none."""
    visibility: Any
    """16 times 0 / 1 / 2."""
    head: Any = None
    """x1, y1, x2, y2."""


@dataclass
class _Table:
    """Collects the columns and problems of one annotation file."""

    source: str
    folder: Path
    require_joints: bool = False
    """Persons without joints are none (the `.mat`'s training split); else they are kept without labels."""
    rows: list[tuple] = field(default_factory=list)
    heads: list[np.ndarray] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    image_numbers: dict[str, int] = field(default_factory=dict)

    def add(self, person: _Person):
        if person.joints is None and self.require_joints:
            return
        fault = self._fault(person)
        if fault is not None:
            self.problems.append(
                Problem("error", fault[0], self.source, fault[1], fault[2], person.id, person.image_id)
            )
            return
        keypoints = _keypoints(person)
        box = person_box(finite_numbers(person.center, 2), float(person.scale))
        image_id = person.image_id
        if image_id is None:
            image_id = self.image_numbers.setdefault(person.image, len(self.image_numbers) + 1)
        path = str(self.folder / person.image)
        self.rows.append((path, box, keypoints, box[2] * box[3], person.id, image_id))
        self.heads.append(_head_box(person.head))

    def _fault(self, person: _Person) -> tuple[str, str, str] | None:
        """(kind, detail, remedy) of what keeps a person from being a sample."""
        center, scale = finite_numbers(person.center, 2), finite_numbers([person.scale], 1)
        if not isinstance(person.image, str) or not person.image:
            return "image_without_file", "the entry names no image", "give the image's file name"
        # HRNet's converter writes a centre of (-1, -1) where the release has none.
        if center is None or scale is None or scale[0] <= 0 or center[0] == -1:
            detail = f"center {person.center} and scale {person.scale} span no box"
            return "box_empty", detail, "give the person's center and a positive scale"
        if person.joints is None:
            return None
        if len(person.joints) != NUM_JOINTS or len(person.visibility) != NUM_JOINTS:
            return "keypoint_count", f"{len(person.joints)} joints", f"MPII has {NUM_JOINTS} joints"
        if finite_numbers([value for joint in person.joints for value in joint], 2 * NUM_JOINTS) is None:
            return "keypoint_not_finite", "joints hold NaN, infinity or text", "correct the values"
        if not all(flag in (NOT_LABELED, OCCLUDED, VISIBLE) for flag in person.visibility):
            return "visibility", "joints_vis holds something other than 0 or 1", "write 0 or 1"
        return None

    def samples(self) -> Samples:
        return Samples(
            Skeleton.load("mpii16"),
            *(list(zip(*self.rows, strict=True)) or [()] * 6),
            scores=np.ones(len(self.rows)),
            source=self.source,
            problems=tuple(self.problems),
        )


def person_box(center, scale: float) -> np.ndarray:
    """The square xywh box of MPII's `center` and `scale` (MATLAB pixels), moved down as HRNet does."""
    side = scale * PERSON_HEIGHT
    x, y = center[0] - MATLAB_OFFSET, center[1] - MATLAB_OFFSET + CENTER_SHIFT * scale
    return np.asarray([x - side / 2, y - side / 2, side, side])


def _keypoints(person: _Person) -> np.ndarray:
    keypoints = np.zeros((NUM_JOINTS, 3))
    if person.joints is not None:
        keypoints[:, :2] = np.asarray(person.joints, np.float64) - MATLAB_OFFSET
        keypoints[:, 2] = person.visibility
    return keypoints * (keypoints[:, 2:] > NOT_LABELED)


def _head_box(corners: Any) -> np.ndarray:
    numbers = finite_numbers(corners, 4)
    if numbers is None:
        return np.full(4, np.nan)
    x1, y1, x2, y2 = numbers - MATLAB_OFFSET
    return np.asarray([x1, y1, x2 - x1, y2 - y1])


def _json_persons(path: Path) -> Iterator[_Person]:
    """Persons of HRNet's JSON list; `joints_vis` tells labeled from not, occlusion is not kept in it."""
    entries = load_json(path)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise DataError(f"{path}: not a list of objects with image, center, scale, joints and joints_vis")
    heads = _heads_beside(path, len(entries))
    for number, entry in enumerate(entries, 1):
        joints, labeled = _list(entry.get("joints")), _list(entry.get("joints_vis")) or []
        if joints is not None:
            joints = [joint if isinstance(joint, list) else [joint] for joint in joints]
        yield _Person(
            id=number,
            image=entry.get("image"),
            image_id=None,
            center=entry.get("center"),
            scale=entry.get("scale"),
            joints=joints,
            visibility=[_JSON_VISIBILITY.get(flag, -1) if _is_number(flag) else -1 for flag in labeled],
            head=heads[number - 1],
        )


def _heads_beside(path: Path, count: int) -> list:
    """Corners of the heads from the `.mat` that HRNet's evaluation reads beside its JSON; None without it."""
    file = path.with_name(f"gt_{path.stem}.mat")
    if not file.is_file():
        return [None] * count
    corners = np.asarray(load_mat(file).get("headboxes_src", np.zeros(0)))
    if corners.shape != (2, 2, count):
        raise DataError(f"{file}: 'headboxes_src' is {corners.shape}, not (2, 2, {count}) as in {path.name}")
    return corners.reshape(4, count).T.tolist()


def _list(value: Any) -> list | None:
    return value if value is None or isinstance(value, list) else [value]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _mat_persons(path: Path, split: str, single_person: bool) -> Iterator[_Person]:
    """Persons of the official release, a struct `RELEASE` with one `annolist` entry per image."""
    if split not in _MAT_SPLITS:
        raise DataError(f"{path}: the .mat release has the splits train and test, not '{split}'; take a JSON")
    try:
        release = load_mat(path, struct_as_record=False, squeeze_me=True).get("RELEASE")
        images, training = _entries(release.annolist), np.atleast_1d(release.img_train)
        singles = _entries(getattr(release, "single_person", None))
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: no struct RELEASE of the MPII release in it ({error})") from None
    if len(training) != len(images):
        raise DataError(f"{path}: {len(images)} images in annolist but {len(training)} flags in img_train")
    for number, (image, in_training) in enumerate(zip(images, training, strict=True), 1):
        if in_training == _MAT_SPLITS[split]:
            listed = np.atleast_1d(singles[number - 1]) if single_person and len(singles) >= number else None
            yield from _mat_image_persons(image, number, listed)


def _mat_image_persons(image: Any, image_number: int, listed: np.ndarray | None) -> Iterator[_Person]:
    name = getattr(getattr(image, "image", None), "name", None)
    for number, rect in enumerate(_entries(getattr(image, "annorect", None)), 1):
        # Images without a pose have annorects that hold a head box alone, or nothing.
        has_scale = np.size(getattr(rect, "scale", [])) == 1 and hasattr(rect, "objpos")
        if not has_scale or (listed is not None and number not in listed):
            continue
        joints, visibility = _mat_joints(rect)
        yield _Person(
            id=image_number * PERSONS_PER_IMAGE + number,
            image=str(name) if isinstance(name, str) else None,
            image_id=image_number,
            center=[_number(rect.objpos, "x"), _number(rect.objpos, "y")],
            scale=rect.scale,
            joints=joints,
            visibility=visibility,
            head=[_number(rect, corner) for corner in ("x1", "y1", "x2", "y2")],
        )


def _mat_joints(rect: Any) -> tuple[list | None, list]:
    """Joints and visibility of an annorect; joints it does not list are not labeled."""
    points = _entries(getattr(getattr(rect, "annopoints", None), "point", None))
    if not points:
        return None, []
    joints, visibility = [[0.0, 0.0] for _ in range(NUM_JOINTS)], [NOT_LABELED] * NUM_JOINTS
    for point in points:
        joint = int(_number(point, "id"))
        if 0 <= joint < NUM_JOINTS:
            joints[joint] = [_number(point, "x"), _number(point, "y")]
            visibility[joint] = _mat_visibility(getattr(point, "is_visible", None))
    return joints, visibility


def _mat_visibility(flag: Any) -> int:
    """`is_visible` is 0, 1, the character of these, or empty (neck and head top have no flag: visible)."""
    return OCCLUDED if np.size(flag) == 1 and str(np.squeeze(flag)).strip() in ("0", "False") else VISIBLE


def _number(struct: Any, name: str) -> float:
    """Field `name` as a number; NaN where it is missing or empty, -1 as an `id` that no joint has."""
    value = getattr(struct, name, np.nan)
    if np.size(value) != 1:
        value = np.nan
    return -1.0 if name == "id" and not np.isfinite(float(value)) else float(value)


def _entries(value: Any) -> list:
    """A squeezed MATLAB array as a list: empty, one struct that is no array, or many."""
    if value is None:
        return []
    if isinstance(value, np.ndarray):
        return list(value.reshape(-1)) if value.ndim else [value.item()]
    return [value]
