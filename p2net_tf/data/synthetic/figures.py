"""Articulated people for the synthetic set: a sampled pose, dressed, as a list of convex shapes.

Lengths are in body heights (a standing person is about 1 high), the origin is the middle of the hips,
x grows to the right and y downward as in images. Angles are degrees on the screen: 0 points down,
positive turns towards the image's right. Left and right are the person's: facing the viewer, the
person's left is on the image's right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from p2net_tf.data.synthetic.poses import LEFT, RIGHT, Pose
from p2net_tf.skeletons.skeleton import Skeleton

SKELETON = Skeleton.load("coco17")

_SIDED = ("upper_arm", "forearm", "hand", "thigh", "shin", "foot", "ear")
PARTS = ("background", "torso", "pelvis", "neck", "face", "hair") + tuple(
    f"{side}_{part}" for side in ("left", "right") for part in _SIDED
)
"""What a pixel of a part buffer can show; the value is the index here, 0 = not this person."""
PART = {name: index for index, name in enumerate(PARTS)}

_SHOWN_BY = {
    "nose": ("face",),
    "eye": ("face",),
    "ear": ("{side}_ear",),
    "shoulder": ("{side}_upper_arm", "torso"),
    "elbow": ("{side}_upper_arm", "{side}_forearm"),
    "wrist": ("{side}_forearm", "{side}_hand"),
    "hip": ("pelvis", "torso", "left_thigh", "right_thigh"),
    "knee": ("{side}_thigh", "{side}_shin"),
    "ankle": ("{side}_shin", "{side}_foot"),
}


def _shown_by(keypoint: str) -> frozenset[int]:
    side, _, joint = keypoint.rpartition("_")
    return frozenset(PART[part.format(side=side)] for part in _SHOWN_BY[joint])


KEYPOINT_PARTS = tuple(_shown_by(name) for name in SKELETON.keypoints)
"""Per keypoint the parts on which it can be seen; any other part of the body on top hides it."""

_OUTLINE = 0.66
_HALF_TURN = np.linspace(0.0, math.pi, 8)
_ROUND = np.linspace(0.0, 2 * math.pi, 18, endpoint=False)
_UNIT_CIRCLE = np.stack([np.cos(_ROUND), np.sin(_ROUND)], axis=-1)

Color = tuple[float, float, float]


@dataclass(frozen=True)
class Shape:
    """A convex polygon: `points [n, 2]`, an RGB color 0..255, and the part it belongs to (0: paint only)."""

    points: np.ndarray
    color: Color
    part: int = 0


@dataclass(frozen=True)
class Looks:
    """Build and clothes of one person. Colors are RGB 0..255."""

    skin: Color
    hair: Color
    shirt: Color
    trousers: Color
    shoes: Color
    short_sleeves: bool
    shorts: bool
    long_hair: bool
    shoulders: float
    """Half the distance of the shoulders."""
    hips: float
    girth: float
    """Factor on the widths of all limbs."""
    head: float
    """Factor on the size of the head."""


@dataclass(frozen=True)
class Figure:
    """A person: `keypoints [17, 2]` in the order of COCO, and its shapes from back to front."""

    keypoints: np.ndarray
    shapes: tuple[Shape, ...]

    def placed(self, scale: float, offset: np.ndarray) -> Figure:
        """The figure `scale` pixels high with the middle of its hips at `offset [2]`."""
        shapes = (Shape(shape.points * scale + offset, shape.color, shape.part) for shape in self.shapes)
        return Figure(self.keypoints * scale + offset, tuple(shapes))

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper corner (x, y) of all shapes."""
        points = np.concatenate([shape.points for shape in self.shapes])
        return points.min(axis=0), points.max(axis=0)


def sample_looks(rng: np.random.Generator) -> Looks:
    """Random build and clothes; both sides of a person wear the same."""
    tone = rng.uniform(0.0, 1.0)
    skin = np.array([236.0, 188.0, 158.0]) * (1 - tone) + np.array([105.0, 68.0, 48.0]) * tone
    hair_colors = ((30, 24, 20), (70, 45, 28), (120, 82, 45), (205, 170, 105), (150, 150, 150), (140, 62, 30))
    return Looks(
        skin=tuple(skin),
        hair=hair_colors[rng.integers(len(hair_colors))],
        shirt=tuple(rng.uniform(35, 245, 3)),
        trousers=tuple(rng.uniform(25, 190, 3)),
        shoes=tuple(rng.uniform(15, 235, 3)),
        short_sleeves=bool(rng.random() < 0.5),
        shorts=bool(rng.random() < 0.3),
        long_hair=bool(rng.random() < 0.4),
        shoulders=rng.uniform(0.098, 0.128),
        hips=rng.uniform(0.055, 0.075),
        girth=rng.uniform(0.85, 1.3),
        head=rng.uniform(0.95, 1.15),
    )


def build_figure(pose: Pose, looks: Looks) -> Figure:
    """Joints of the pose by forward kinematics, and the dressed shapes around them."""
    return _Tailor(pose, looks).figure()


def shade(color: Color, factor: float) -> Color:
    return tuple(min(255.0, channel * factor) for channel in color)


def capsule(start, end, start_radius: float, end_radius: float) -> np.ndarray:
    """Outline `[n, 2]` of a limb: two half circles around `start` and `end`, joined."""
    delta = end - start
    turn = math.atan2(delta[1], delta[0])
    near, far = _HALF_TURN + turn + math.pi / 2, _HALF_TURN + turn - math.pi / 2
    angles = np.concatenate([near, far])
    outline = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    half = len(_HALF_TURN)
    outline[:half] = outline[:half] * start_radius + start
    outline[half:] = outline[half:] * end_radius + end
    return outline


def ellipse(center, radius_x: float, radius_y: float, axes: np.ndarray | None = None) -> np.ndarray:
    """Outline `[n, 2]` of an ellipse; `axes [2, 2]` are the unit vectors (rows) of its x and y."""
    local = _UNIT_CIRCLE * (radius_x, radius_y)
    return (local if axes is None else local @ axes) + center


def direction(degrees: float) -> np.ndarray:
    """Unit vector of a screen angle: 0 is down, positive towards the image's right."""
    radians = math.radians(degrees)
    return np.array([math.sin(radians), math.cos(radians)])


class _Tailor:
    """Collects the shapes of one person from back to front."""

    def __init__(self, pose: Pose, looks: Looks):
        self.pose, self.looks = pose, looks
        self.shapes: list[Shape] = []
        self.joints: dict[str, np.ndarray] = {}
        self._place_torso()
        for side in (LEFT, RIGHT):
            self._place_limbs(side)
        self._place_head()

    def figure(self) -> Figure:
        pose, sides = self.pose, (LEFT, RIGHT)
        for side in (side for side in sides if pose.arms[side].behind):
            self._draw_arm(side)
        if not pose.legs_in_front:
            self._draw_legs()
        self._draw_torso()
        if pose.legs_in_front:
            self._draw_legs()
        self._draw_head()
        for side in (side for side in sides if not pose.arms[side].behind):
            self._draw_arm(side)
        keypoints = np.stack([self.joints[name] for name in SKELETON.keypoints])
        return Figure(keypoints, tuple(self.shapes))

    def _screen_sign(self, side: str) -> int:
        """+1 where this side of the person is on the image's right."""
        return (1 if side == LEFT else -1) * (-1 if self.pose.from_behind else 1)

    def _place_torso(self):
        pose, looks = self.pose, self.looks
        self.up = -direction(-pose.lean)
        self.neck = self.up * 0.30 * pose.torso_length
        across = direction(90 - pose.lean - pose.shoulder_tilt) * math.cos(math.radians(pose.yaw))
        hip_axis = direction(90 - 0.4 * pose.lean) * math.cos(math.radians(pose.yaw))
        for side in (LEFT, RIGHT):
            sign = self._screen_sign(side)
            self.joints[f"{side}_shoulder"] = self.neck - self.up * 0.022 + across * (sign * looks.shoulders)
            self.joints[f"{side}_hip"] = hip_axis * (sign * looks.hips)

    def _place_limbs(self, side: str):
        arm, leg, joints = self.pose.arms[side], self.pose.legs[side], self.joints
        elbow = joints[f"{side}_shoulder"] + direction(arm.upper) * 0.165 * arm.upper_length
        knee = joints[f"{side}_hip"] + direction(leg.upper) * 0.235 * leg.upper_length
        joints[f"{side}_elbow"], joints[f"{side}_knee"] = elbow, knee
        joints[f"{side}_wrist"] = elbow + direction(arm.lower) * 0.145 * arm.lower_length
        joints[f"{side}_ankle"] = knee + direction(leg.lower) * 0.225 * leg.lower_length

    def _place_head(self):
        pose, size = self.pose, self.looks.head
        tilt = pose.lean + pose.head_tilt
        # Rows are the head's own x (the image's right) and y (down) on the screen.
        self.head_axes = np.stack([direction(90 - tilt), direction(-tilt)])
        self.head_size = np.array([0.070, 0.088]) * size
        self.head = self.neck - self.head_axes[1] * (0.028 + self.head_size[1])
        self.joints["nose"] = self._on_head(0, 0.16, 1.1)
        for side in (LEFT, RIGHT):
            sign = self._screen_sign(side)
            self.joints[f"{side}_eye"] = self._on_head(27 * sign, -0.14)
            self.joints[f"{side}_ear"] = self._on_head(90 * sign, 0.02, 1.0)

    def _on_head(self, longitude: float, height: float, bulge: float = 0.95) -> np.ndarray:
        """A point of the head: `longitude` degrees from the nose, `height` -1 (top) .. 1 (chin)."""
        yaw = self.pose.head_yaw
        x = math.sin(math.radians(longitude + yaw)) * bulge
        return self.head + (np.array([x, height]) * self.head_size) @ self.head_axes

    def _add(self, points: np.ndarray, color: Color, part: str | None = None):
        self.shapes.append(Shape(points, color, PART[part] if part else 0))

    def _limb(self, start, end, start_radius, end_radius, color: Color, part: str):
        """A limb with a darker rim, so that it stands out from a garment of the same color."""
        girth = self.looks.girth
        start_radius, end_radius = start_radius * girth, end_radius * girth
        self._add(capsule(start, end, start_radius, end_radius), shade(color, _OUTLINE), part)
        self._add(capsule(start, end, start_radius * 0.72, end_radius * 0.72), color)

    def _draw_arm(self, side: str):
        looks, joints = self.looks, self.joints
        shoulder, elbow, wrist = (joints[f"{side}_{name}"] for name in ("shoulder", "elbow", "wrist"))
        lower_color = looks.skin if looks.short_sleeves else shade(looks.shirt, 1.15)
        reach = wrist - elbow
        hand = wrist + reach / max(np.hypot(*reach), 1e-6) * 0.026
        self._limb(shoulder, elbow, 0.037, 0.030, shade(looks.shirt, 0.9), f"{side}_upper_arm")
        self._limb(elbow, wrist, 0.029, 0.021, lower_color, f"{side}_forearm")
        self._limb(wrist, hand, 0.022, 0.026, shade(looks.skin, 1.05), f"{side}_hand")

    def _draw_legs(self):
        sides = (LEFT, RIGHT) if self.pose.right_leg_in_front else (RIGHT, LEFT)
        if not self.pose.legs_in_front:
            self._draw_pelvis()
        for side in sides:
            self._draw_leg(side)

    def _draw_pelvis(self):
        left, right = self.joints["left_hip"], self.joints["right_hip"]
        self._limb(left, right, 0.056, 0.056, self.looks.trousers, "pelvis")

    def _draw_leg(self, side: str):
        looks, joints = self.looks, self.joints
        hip, knee, ankle = (joints[f"{side}_{name}"] for name in ("hip", "knee", "ankle"))
        lower_color = looks.skin if looks.shorts else shade(looks.trousers, 1.15)
        heel = ankle + np.array([0.0, 0.018])
        toe = heel + np.array([self.pose.legs[side].toe, 0.018])
        self._limb(heel, toe, 0.027, 0.027, looks.shoes, f"{side}_foot")
        self._limb(knee, ankle, 0.039, 0.026, lower_color, f"{side}_shin")
        self._limb(hip, knee, 0.054, 0.042, shade(looks.trousers, 0.92), f"{side}_thigh")

    def _draw_torso(self):
        looks, joints = self.looks, self.joints
        if self.pose.legs_in_front:
            self._draw_pelvis()
        left, right = joints["left_shoulder"], joints["right_shoulder"]
        waist = self.up * 0.035
        self._limb(self.neck - self.up * 0.02, self.head, 0.032, 0.030, shade(looks.skin, 0.85), "neck")
        for grow, color, part in ((1.0, shade(looks.shirt, _OUTLINE), "torso"), (0.78, looks.shirt, None)):
            girth = looks.girth * grow
            for a, b in ((left, right), (joints["left_hip"] + waist, joints["right_hip"] + waist)):
                self._add(capsule(a, b, 0.036 * girth, 0.036 * girth), color, part)
            self._add(self._trunk(0.036 * girth), color, part)
        self._add(capsule(self.neck - self.up * 0.012, self.neck, 0.022, 0.026), shade(looks.skin, 0.85))

    def _trunk(self, margin: float) -> np.ndarray:
        """Quadrilateral between the shoulders and the waist, `margin` wider than the joints on each side."""
        joints, waist = self.joints, self.up * 0.035
        left, right = joints["left_shoulder"], joints["right_shoulder"]
        outward = (left - right) / max(np.hypot(*(left - right)), 1e-6) * margin
        hips = joints["right_hip"] + waist - outward, joints["left_hip"] + waist + outward
        return np.stack([left + outward, right - outward, *hips])

    def _draw_head(self):
        looks, axes = self.looks, self.head_axes
        width, height = self.head_size
        far = [side for side in (LEFT, RIGHT) if self._ear_is_hidden(side)]
        for side in far:
            self._draw_ear(side)
        crown = self.head - axes[1] * (0.16 * height)
        if looks.long_hair and not self.pose.from_behind:
            for side in (-0.85, 0.85):
                lock = np.array([[side, -0.2], [side, 0.95]]) * self.head_size
                self._add(capsule(*(self.head + lock @ axes), width * 0.34, width * 0.26), looks.hair, "hair")
        self._add(ellipse(crown, width * 1.1, height * 0.98, axes), looks.hair, "hair")
        if self.pose.from_behind:
            low = self.head + axes[1] * (0.5 * height * (1.0 if looks.long_hair else 0.6))
            self._add(capsule(self.head, low, width, width * 0.85), looks.hair, "hair")
            self._add(ellipse(self.head, width * 0.5, height * 0.7, axes), shade(looks.hair, 1.2))
        else:
            self._draw_face()
        for side in (LEFT, RIGHT):
            if side not in far:
                self._draw_ear(side)

    def _ear_is_hidden(self, side: str) -> bool:
        """The ear on the side to which the head turns lies behind the cheek."""
        return self.pose.head_yaw * self._screen_sign(side) > 18

    def _draw_ear(self, side: str):
        width, height = self.head_size
        outline = ellipse(self.joints[f"{side}_ear"], width * 0.22, height * 0.25, self.head_axes)
        self._add(outline, shade(self.looks.skin, 0.7), f"{side}_ear")

    def _draw_face(self):
        looks, axes = self.looks, self.head_axes
        width, height = self.head_size
        face = self.head + axes[1] * (0.08 * height)
        self._add(ellipse(face, width, height * 0.92, axes), shade(looks.skin, 0.8), "face")
        self._add(ellipse(face, width * 0.86, height * 0.82, axes), looks.skin)
        fringe = self._on_head(0, -0.72, 0.5)
        self._add(ellipse(fringe, width * 0.72, height * 0.2, axes), looks.hair, "hair")
        for side in (LEFT, RIGHT):
            eye = self.joints[f"{side}_eye"]
            self._add(ellipse(eye, width * 0.25, height * 0.15, axes), (245.0, 245.0, 245.0))
            self._add(ellipse(eye, width * 0.12, height * 0.12, axes), (25.0, 20.0, 20.0))
        nose = self.joints["nose"]
        bridge = nose - axes[1] * (0.2 * height)
        self._add(capsule(bridge, nose, width * 0.07, width * 0.16), shade(looks.skin, 0.62))
        self._add(ellipse(self._on_head(0, 0.55), width * 0.3, height * 0.07, axes), (150.0, 55.0, 55.0))
