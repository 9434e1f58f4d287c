"""Random poses for the synthetic set, within the limits of human joints.

Angles are degrees on the screen: 0 points down, positive turns towards the image's right. Lengths are
factors on a limb seen from the side: below 1 it is foreshortened.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEFT, RIGHT = "left", "right"
"""Sides of the person. Facing the viewer, the person's left is on the image's right."""

_KINDS = ("standing", "walking", "arms_raised", "sitting", "leaning")
_KIND_SHARES = (0.34, 0.22, 0.16, 0.14, 0.14)


@dataclass(frozen=True)
class Arm:
    """Screen angles and foreshortening of an arm; `behind` hides it behind the torso."""

    upper: float
    lower: float
    upper_length: float
    lower_length: float
    behind: bool


@dataclass(frozen=True)
class Leg:
    """Screen angles and foreshortening of a leg; `toe` is the sideways reach of the shoe, in body heights."""

    upper: float
    lower: float
    upper_length: float
    lower_length: float
    toe: float


@dataclass(frozen=True)
class Pose:
    """One pose. `lean`, `head_tilt` turn the top to the image's right; `yaw` turns the nose there."""

    kind: str
    from_behind: bool
    lean: float
    shoulder_tilt: float
    torso_length: float
    yaw: float
    head_yaw: float
    head_tilt: float
    arms: dict[str, Arm]
    legs: dict[str, Leg]
    legs_in_front: bool
    right_leg_in_front: bool


def truncated_normal(rng: np.random.Generator, mean: float, std: float, low: float, high: float) -> float:
    """A normal draw, repeated until it lies in [low, high]."""
    while True:
        value = rng.normal(mean, std)
        if low <= value <= high:
            return float(value)


def sample_pose(rng: np.random.Generator, back_view_share: float = 0.05) -> Pose:
    """Standing, walking, arms raised, sitting or leaning; seen from behind with `back_view_share`."""
    kind = str(rng.choice(_KINDS, p=_KIND_SHARES))
    from_behind = bool(rng.random() < back_view_share)
    lean = truncated_normal(rng, 0, 20 if kind == "leaning" else 6, -30, 30)
    heading = 1 if rng.random() < 0.5 else -1
    yaw = truncated_normal(rng, 32 * heading, 10, -50, 50) if kind == "walking" else _small_yaw(rng)
    signs = _screen_signs(from_behind)
    return Pose(
        kind=kind,
        from_behind=from_behind,
        lean=lean,
        shoulder_tilt=truncated_normal(rng, 0, 4, -10, 10),
        torso_length=rng.uniform(0.88, 1.0) if kind == "sitting" else rng.uniform(0.95, 1.03),
        yaw=yaw,
        head_yaw=0.0 if from_behind else truncated_normal(rng, 0.6 * yaw, 13, -45, 45),
        head_tilt=truncated_normal(rng, -0.4 * lean, 7, -25, 25),
        arms={side: _sample_arm(rng, kind, signs[side], lean, yaw) for side in (LEFT, RIGHT)},
        legs=_sample_legs(rng, kind, signs, heading, lean),
        legs_in_front=kind == "sitting",
        right_leg_in_front=bool(rng.random() < 0.5),
    )


def _screen_signs(from_behind: bool) -> dict[str, int]:
    return {LEFT: -1, RIGHT: 1} if from_behind else {LEFT: 1, RIGHT: -1}


def _small_yaw(rng) -> float:
    return truncated_normal(rng, 0, 14, -40, 40)


_ARM_STYLES = {
    # style: (upper outward mean, std, low, high), (elbow bend outward mean, std, low, high)
    "hanging": ((12, 8, -4, 35), (-4, 14, -40, 15)),
    "on_hip": ((42, 8, 25, 60), (-88, 14, -115, -60)),
    "in_front": ((14, 8, 0, 35), (-95, 22, -135, -50)),
    "spread": ((75, 15, 45, 105), (8, 25, -50, 60)),
    "waving": ((70, 20, 30, 100), (85, 22, 40, 125)),
    "raised": ((140, 18, 105, 175), (12, 22, -15, 70)),
}
_ARM_SHARES = {
    "standing": (0.40, 0.15, 0.15, 0.12, 0.15, 0.03),
    "walking": (0.75, 0.0, 0.20, 0.0, 0.05, 0.0),
    "arms_raised": (0.08, 0.0, 0.0, 0.12, 0.20, 0.60),
    "sitting": (0.40, 0.12, 0.33, 0.05, 0.10, 0.0),
    "leaning": (0.40, 0.15, 0.10, 0.20, 0.10, 0.05),
}


def _sample_arm(rng, kind: str, sign: int, lean: float, yaw: float) -> Arm:
    style = str(rng.choice(list(_ARM_STYLES), p=_ARM_SHARES[kind]))
    shoulder, elbow = _ARM_STYLES[style]
    outward = truncated_normal(rng, *shoulder)
    bend = truncated_normal(rng, *elbow)
    # A turned body has its far arm behind the chest, unless the hand is held before it.
    far = yaw * sign > 22 and style in ("hanging", "on_hip")
    hanging = style == "hanging" and rng.random() < 0.1
    upper = sign * outward - 0.8 * lean
    return Arm(
        upper=upper,
        lower=upper + sign * bend,
        upper_length=rng.uniform(0.82, 1.0),
        lower_length=rng.uniform(0.78, 1.0),
        behind=bool(far or hanging),
    )


def _sample_legs(rng, kind: str, signs: dict[str, int], heading: int, lean: float) -> dict[str, Leg]:
    if kind == "walking":
        return _walking_legs(rng, heading)
    if kind == "sitting":
        return {side: _sitting_leg(rng, signs[side]) for side in (LEFT, RIGHT)}
    return {side: _standing_leg(rng, signs[side], lean) for side in (LEFT, RIGHT)}


def _walking_legs(rng, heading: int) -> dict[str, Leg]:
    stride = truncated_normal(rng, 20, 7, 8, 36)
    leading = LEFT if rng.random() < 0.5 else RIGHT
    legs = {}
    for side in (LEFT, RIGHT):
        ahead = side == leading
        swing = stride if ahead else -0.8 * stride
        knee = rng.uniform(0, 15) if ahead else rng.uniform(5, 40)
        legs[side] = Leg(
            upper=heading * swing,
            lower=heading * (swing - knee),
            upper_length=rng.uniform(0.93, 1.0),
            lower_length=rng.uniform(0.85, 1.0),
            toe=heading * rng.uniform(0.025, 0.05),
        )
    return legs


def _standing_leg(rng, sign: int, lean: float) -> Leg:
    # A leaning person stands wider, or would fall over.
    outward = truncated_normal(rng, 5 + 0.2 * abs(lean), 6, -7, 28)
    upper = sign * outward
    return Leg(
        upper=upper,
        lower=upper - sign * truncated_normal(rng, 3, 6, -8, 20),
        upper_length=rng.uniform(0.9, 1.0),
        lower_length=rng.uniform(0.92, 1.0),
        toe=sign * rng.uniform(0.0, 0.04),
    )


def _sitting_leg(rng, sign: int) -> Leg:
    upper = sign * rng.uniform(5, 50)
    return Leg(
        upper=upper,
        lower=-sign * truncated_normal(rng, 0, 10, -15, 25),
        upper_length=rng.uniform(0.35, 0.65),
        lower_length=rng.uniform(0.85, 1.0),
        toe=sign * rng.uniform(0.0, 0.04),
    )
