"""Rendered walks, and stand-ins for networks that see what is there."""

from __future__ import annotations

import numpy as np

from p2net_tf.data.synthetic.render import SKELETON
from p2net_tf.data.synthetic.walks import WalkOptions, render_walk
from p2net_tf.detection.boxes import Boxes
from p2net_tf.detection.detector import PersonDetector
from p2net_tf.inference.poses import Poses


class Scene:
    """A rendered walk; which frame a picture is stands in its upper left pixel."""

    def __init__(self, seed: int, scene: str, options: WalkOptions | None = None):
        self.frames = list(render_walk(seed, scene, options))
        for number, frame in enumerate(self.frames):
            frame.picture[0, 0] = number

    def pictures(self, start: int = 0):
        return (frame.picture for frame in self.frames[start:])

    def boxes(self, picture) -> np.ndarray:
        return np.array([person["bbox"] for person in self.of(picture).people], np.float32).reshape(-1, 4)

    def of(self, picture):
        return self.frames[int(picture[0, 0, 0])]

    def numbers(self, picture, windows) -> list[int]:
        """Who is nearest to the middle of each window."""
        boxes = self.boxes(picture)
        middles = boxes[:, :2] + boxes[:, 2:] / 2
        windows = np.asarray(windows)
        apart = np.abs(windows[:, None, :2] + windows[:, None, 2:] / 2 - middles).sum(axis=-1)
        return [self.of(picture).people[row]["track_id"] for row in apart.argmin(axis=1)]


class Detector(PersonDetector):
    likely_score = 0.5

    def __init__(self, scene: Scene, scores: float = 0.9):
        self.scene, self.asked, self.scores = scene, [], scores

    def detect_in(self, picture):
        self.asked.append(int(picture[0, 0, 0]))
        boxes = self.scene.boxes(picture)
        return Boxes(boxes, np.full(len(boxes), self.scores))


class Estimator:
    """The true keypoints of whoever is nearest to a box."""

    skeleton = SKELETON

    def __init__(self, scene: Scene, noise: float = 0.0):
        self.scene, self.random, self.noise = scene, np.random.default_rng(0), noise

    def in_boxes(self, picture, windows, scores):
        people = {person["track_id"]: person for person in self.scene.of(picture).people}
        numbers = self.scene.numbers(picture, windows) if len(windows) else []
        stored = [np.reshape(people[number]["keypoints"], (17, 3)) for number in numbers]
        stored = np.float32(stored).reshape(-1, 17, 3)
        places = stored[..., :2] + self.noise * self.random.normal(size=(len(stored), 17, 2))
        sure = np.where(stored[..., 2] > 0, 0.9, 0.0).astype(np.float32)
        columns = (places.astype(np.float32), sure, scores * 0.9, np.asarray(windows), np.asarray(scores))
        return Poses(*columns, SKELETON, picture)
