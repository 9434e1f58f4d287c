"""Rendered people who walk: videos whose poses and numbers are known.

For tracking, smoothing and benchmarks of videos: `render_walk` yields one frame after the other. Every frame
follows from (seed, scene) alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from p2net_tf.data.synthetic.figures import Figure, Looks, Shape, build_figure, sample_looks
from p2net_tf.data.synthetic.poses import LEFT, RIGHT, Arm, Leg, Pose
from p2net_tf.data.synthetic.render import OCCLUDER, SKELETON, annotate, owner_buffer, part_buffer
from p2net_tf.data.synthetic.scenery import background, fill, light

Scene = Literal["walking", "crossing", "hiding", "leaving", "returning", "overtaking", "crowd"]
"""What the people of a rendered video do."""
SCENES: tuple[Scene, ...] = (
    *("walking", "crossing", "hiding", "leaving"),
    *("returning", "overtaking", "crowd"),
)
"""A seed renders the same for ever, so new ones go to the end."""
HIDDEN = 0.3
"""Of whom no more than this part can be seen, nobody is asked to find (`walk_truth`)."""
_CROWD = 5
_STRIDE = 24.0
"""Degrees that a thigh swings to the front."""
_KNEE = 45.0
"""Degrees that a knee bends while its leg swings forward."""
_STEP_LENGTH = 0.38
"""Of a step, in body heights: feet must not slide."""


@dataclass(frozen=True)
class WalkOptions:
    """What a video shows.

    Attributes:
        height, width: of the pictures.
        rate: frames per second.
        seconds: how long.
        pace: body heights per second.
    """

    height: int = 240
    width: int = 320
    rate: float = 25.0
    seconds: float = 6.0
    pace: float = 0.6

    @property
    def frames(self) -> int:
        return round(self.rate * self.seconds)


@dataclass(frozen=True)
class _Walker:
    """One who walks straight on, and perhaps back.

    Attributes:
        height: of the body, in pixels.
        start: x of the hips at the first frame.
        heading: 1 to the right, -1 to the left.
        speed: pixels per second.
        feet: y of the ground.
        phase: of the steps, in turns.
        turns: seconds, when they walk back; None: never.
    """

    looks: Looks
    height: float
    start: float
    heading: int
    speed: float
    feet: float
    phase: float
    turns: float | None = None

    def x(self, time: float) -> float:
        if self.turns is not None and time > self.turns:
            time = 2 * self.turns - time
        return self.start + self.heading * self.speed * time

    def figure(self, time: float):
        steps = self.phase + self.speed * time / (2 * _STEP_LENGTH * self.height)
        turned = self.turns is not None and time > self.turns
        figure = build_figure(_gait(steps, -self.heading if turned else self.heading), self.looks)
        _, high = figure.bounds()
        return figure.placed(self.height, np.array([self.x(time), self.feet - high[1] * self.height]))


@dataclass(frozen=True, eq=False)
class WalkFrame:
    """One picture, and who is in it.

    Attributes:
        picture: `[H, W, 3]` uint8 RGB.
        time: seconds.
        people: COCO annotations as of `render_scene`, each with its `track_id`, from 1 on; who is out of the
            picture has none.
        visible: `[n]` part of each silhouette that is in the picture and not hidden.
    """

    picture: np.ndarray
    time: float
    people: list[dict]
    visible: np.ndarray


def render_walk(
    seed: int, scene: Scene = "walking", options: WalkOptions | None = None
) -> Iterator[WalkFrame]:
    """A video of people who walk.

    Args:
        scene: `walking`: two, the same way, one behind the other; `crossing`: two who pass each other half
            way; `hiding`: one who is behind a wall for a while; `leaving`: one who walks out of the picture,
            and one who stays; `returning`: the same, who comes back; `overtaking`: one is hidden behind
            another, who walks the same way and faster; `crowd`: five, some each way, slowly and fast.

    Raises:
        ValueError: another scene.
    """
    if scene not in SCENES:
        raise ValueError(f"scene '{scene}'; take one of {', '.join(SCENES)}")
    options = options or WalkOptions()
    random = np.random.default_rng([seed, SCENES.index(scene)])
    still = background(random, options.height, options.width)
    walkers, wall = _cast(random, scene, options)
    lamp = int(random.integers(2**32))
    for number in range(options.frames):
        yield _render(walkers, wall, still, number / options.rate, np.random.default_rng(lamp), options)


def walk_truth(frames: Iterable[WalkFrame], first: int = 1) -> dict:
    """COCO ground truth of a video, with the `track_id` of everybody.

    Who is hidden but for `HIDDEN` or less has `iscrowd`: they need not be found, and may be.

    Args:
        first: the `image_id` of the first frame; as `p2net predict` counts them.
    """
    images, annotations = [], []
    for number, frame in enumerate(frames, start=first):
        images.append({"id": number, "time": frame.time})
        for person, part in zip(frame.people, frame.visible.tolist(), strict=True):
            place = {"id": len(annotations) + 1, "image_id": number, "time": frame.time}
            annotations.append(person | place | {"iscrowd": int(part <= HIDDEN), "visible": part})
    categories = [{"id": 1, "name": "person", "keypoints": list(SKELETON.keypoints)}]
    return {"images": images, "categories": categories, "annotations": annotations}


def _cast(random, scene: Scene, options: WalkOptions) -> tuple[list[_Walker], Shape | None]:
    """Who walks, from back to front, and what stands before them."""
    height = options.height * random.uniform(0.55, 0.65)
    middle, way = options.width / 2, options.pace * height * options.seconds

    def walker(
        start: float, heading: int, speed: float = 1.0, nearer: float = 1.0, turns: float | None = None
    ) -> _Walker:
        return _Walker(
            sample_looks(random),
            height * nearer,
            start,
            heading,
            speed * options.pace * height,
            options.height * (0.86 + 0.1 * (nearer - 1) / 0.15),
            random.uniform(0, 1),
            turns,
        )

    if scene == "walking":
        behind = middle - way / 2
        return [walker(behind, 1), walker(behind - 0.5 * height, 1, nearer=1.12)], None
    if scene == "crossing":
        return [walker(middle - way / 2, 1), walker(middle + way / 2, -1, nearer=1.12)], None
    if scene == "leaving":
        stays = walker(middle, 1, speed=0.15)
        return [stays, walker(middle + 0.3 * height, 1, nearer=1.12)], None
    if scene == "returning":
        stays = walker(middle - 0.5 * height, 1, speed=0.1)
        # Out of the picture for a sixth of the time, half a figure's width included.
        reach = middle - 0.3 * height + options.seconds / 12 * options.pace * height
        turns = reach / (options.pace * height)
        return [stays, walker(middle + 0.6 * height, 1, nearer=1.12, turns=turns)], None
    if scene == "overtaking":
        return [walker(middle - 0.2 * way, 1, speed=0.4), walker(middle - 0.5 * way, 1, nearer=1.12)], None
    if scene == "crowd":
        return [_one_of_crowd(random, walker, place, middle, way) for place in range(_CROWD)], None
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * [0.28 * height, 2 * options.height]
    wall = Shape(corners + [middle, options.height / 2], tuple(random.uniform(60, 200, 3)))
    return [walker(middle - way / 2, 1)], wall


def _one_of_crowd(random, walker, place: int, middle: float, way: float) -> _Walker:
    """From far to near; every other one walks to the left, and all are about the middle half way."""
    heading, speed = 1 - 2 * (place % 2), random.uniform(0.5, 1.0)
    start = middle + random.uniform(-0.25, 0.25) * way - heading * speed * way / 2
    return walker(start, heading, speed, nearer=0.85 + 0.3 * place / (_CROWD - 1))


def _render(walkers, wall, still, time: float, lamp, options: WalkOptions) -> WalkFrame:
    figures = [walker.figure(time) for walker in walkers]
    wholes = [_whole_body(figure, options) for figure in figures]
    parts = [np.ascontiguousarray(whole[:, options.height : -options.height]) for whole in wholes]
    owner, canvas = owner_buffer(parts), still.copy()
    for figure in figures:
        for shape in figure.shapes:
            fill(canvas, shape.points, shape.color)
    if wall is not None:
        fill(owner, wall.points, OCCLUDER, smooth=False)
        fill(canvas, wall.points, wall.color)
    people, visible = [], []
    for person, (figure, own, whole) in enumerate(zip(figures, parts, wholes, strict=True), start=1):
        if np.any(own):
            people.append({"track_id": person, **annotate(figure, own, owner, person)})
            visible.append(np.count_nonzero(owner == person) / np.count_nonzero(whole))
    return WalkFrame(light(lamp, canvas), time, people, np.array(visible))


def _whole_body(figure: Figure, options: WalkOptions) -> np.ndarray:
    """Part buffer of a picture that is wider by its height on both sides."""
    aside = np.array([options.height, 0.0])
    shapes = tuple(Shape(shape.points + aside, shape.color, shape.part) for shape in figure.shapes)
    return part_buffer(shapes, options.height, options.width + 2 * options.height)


def _gait(steps: float, heading: int) -> Pose:
    """The pose of one who has made so many double steps, seen from the side."""
    swing = {LEFT: math.sin(2 * math.pi * steps), RIGHT: -math.sin(2 * math.pi * steps)}
    forward = {LEFT: math.cos(2 * math.pi * steps), RIGHT: -math.cos(2 * math.pi * steps)}
    legs = {
        side: Leg(
            upper=heading * _STRIDE * swing[side],
            lower=heading * (_STRIDE * swing[side] - _KNEE * max(0.0, forward[side])),
            upper_length=0.97,
            lower_length=0.93,
            toe=heading * 0.04,
        )
        for side in (LEFT, RIGHT)
    }
    arms = {
        side: Arm(
            upper=-heading * 0.9 * _STRIDE * swing[side],
            lower=-heading * (0.9 * _STRIDE * swing[side] - 18),
            upper_length=0.95,
            lower_length=0.95,
            behind=side == (LEFT if heading < 0 else RIGHT),
        )
        for side in (LEFT, RIGHT)
    }
    return Pose(
        kind="walking",
        from_behind=False,
        lean=heading * 3.0,
        shoulder_tilt=0.0,
        torso_length=1.0,
        yaw=heading * 40.0,
        head_yaw=heading * 30.0,
        head_tilt=0.0,
        arms=arms,
        legs=legs,
        legs_in_front=False,
        right_leg_in_front=heading > 0,
    )
