"""Which keypoint of a file is which of the card: by their names, however tools write them.

`left_wrist`, `Left Wrist`, `leftWrist`, `wrist_l`, `L-Wri` are one keypoint.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SIDES = {"left": "left", "l": "left", "lft": "left", "right": "right", "r": "right", "rgt": "right"}
_SHORTEST = 3
"""Letters of an abbreviation."""
_ONE_JOINT = (
    ("neck", "upper_neck", "head_bottom"),
    ("head_top", "top_head", "head"),
    ("pelvis", "hip", "mid_hip", "hip_center", "root"),
    ("nose", "nose_tip"),
)
"""Joints that data sets call by different names: LSP and CrowdPose, MPII, PoseTrack; CrowdPose, Halpe; MPII,
Halpe, OpenPose, SMPL. Convolutional Pose Machines trains on MPII's upper neck and LSP's neck as one joint.
A thorax, which lies between the shoulders, is no neck. With `left` or `right` none of them is meant."""


def match_names(names: Sequence[Any], wanted: Sequence[str]) -> list[int | None]:
    """For each wanted keypoint its place in `names`; None where no name, or more than one, is it."""
    exact = _places([_plain(name) for name in names], [_plain(name) for name in wanted])
    if None not in exact:
        return exact
    known = [_parts(name) for name in wanted]
    if len(set(known)) < len(known):
        return exact
    return _places([_resolve(_parts(name), known) for name in names], known)


def match_joints(names: Sequence[str], wanted: Sequence[str]) -> list[int | None]:
    """`match_names`, and for those that it does not find, what other data sets call the same joint."""
    places = match_names(names, wanted)
    free = [None if place in places else name for place, name in enumerate(names)]
    joints = [_joint(name) for name in free]
    sought = [None if place is not None else _joint(name) for place, name in zip(places, wanted, strict=True)]
    return [
        joints.index(joint)
        if joint is not None and joints.count(joint) == 1 and sought.count(joint) == 1
        else place
        for place, joint in zip(places, sought, strict=True)
    ]


def _joint(name: str | None) -> int | None:
    """Which of `_ONE_JOINT` it is."""
    if name is None:
        return None
    parts = _parts(name)
    return next((row for row, same in enumerate(_ONE_JOINT) if parts in map(_parts, same)), None)


def say_nothing(names: Sequence[Any]) -> bool:
    """Whether names only count: "0", "1", ...; "kp1", "kp2", ...; or there are none."""
    return len({re.sub(r"\d+", "", _plain(name)) for name in names}) <= 1


def _places(found: list, wanted: list) -> list[int | None]:
    return [found.index(name) if found.count(name) == 1 else None for name in wanted]


def _plain(name: Any) -> str:
    return re.sub(r"[\s\-.]+", "_", str(name).strip().lower())


def _parts(name: Any) -> tuple[str, str]:
    """(side or "", the rest in the order of the alphabet)."""
    words = [word.lower() for word in _WORDS.findall(str(name))]
    side = next((_SIDES[word] for word in words if word in _SIDES), "")
    return side, " ".join(sorted(word for word in words if word not in _SIDES))


def _resolve(found: tuple[str, str], known: list[tuple[str, str]]) -> tuple[str, str]:
    """The known keypoint that `found` is, or abbreviates (`sho`, `lshoulder`); `found` where it is none."""
    if found in known:
        return found
    side, base = found
    readings = [(side, base)]
    if not side:
        readings += [(_SIDES[cut], base[len(cut) :]) for cut in _SIDES if base.startswith(cut)]
    for side, base in readings:
        if (side, base) in known:
            return side, base
        short = [other for other in known if other[0] == side and _abbreviates(base, other[1])]
        if len(short) == 1:
            return short[0]
    return found


def _abbreviates(short: str, long: str) -> bool:
    return len(short) >= _SHORTEST and long.startswith(short)
