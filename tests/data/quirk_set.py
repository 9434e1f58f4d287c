"""A small rendered COCO folder, as exporters, annotation tools and people might have written it."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import numpy as np

from p2net_tf.data.check import check_samples, demand_usable
from p2net_tf.data.datasets import read_dataset
from p2net_tf.data.samples import Problem, Samples
from p2net_tf.data.settings import DatasetConfig
from p2net_tf.data.synthetic.render import write_synthetic
from p2net_tf.evaluation import evaluate as module
from p2net_tf.evaluation.coco import CocoResult
from p2net_tf.evaluation.settings import EvaluationConfig
from p2net_tf.inference.card import InferenceCard
from p2net_tf.inference.test_recipe import Predictions
from p2net_tf.skeletons.skeleton import Skeleton
from tests.plain_pycocotools import plain_stats

COCO17 = Skeleton.load("coco17")
PICTURES, SEED = 14, 5
ANNOTATIONS = "annotations/person_keypoints_train.json"


@dataclass(frozen=True)
class Original:
    """The set as it was rendered, and poses near its people."""

    root: Path
    document: dict
    poses: np.ndarray
    """`[N, K, 2]`, in COCO's pixels."""

    @classmethod
    def render(cls, root: Path) -> Original:
        write_synthetic(root, PICTURES, SEED)
        document = json.loads((root / ANNOTATIONS).read_text())
        people = document["annotations"]
        keypoints = np.asarray([entry["keypoints"] for entry in people]).reshape(len(people), -1, 3)
        size = np.sqrt([entry["area"] for entry in people])[:, None, None]
        noise = np.random.default_rng(2).normal(0, 0.07, keypoints[..., :2].shape)
        return cls(root, document, keypoints[..., :2] + noise * size)

    def average_precision(
        self,
        change: Callable[[dict], None] = lambda entry: None,
        of: Callable[[list[dict]], list[dict]] = lambda people: people,
        found: Callable[[list[dict]], list[dict]] = lambda people: people,
    ) -> float:
        """By plain pycocotools: of the poses of `found`, against the people `of`, after `change` of each."""
        truth = copy.deepcopy(self.document)
        for row, entry in enumerate(truth["annotations"]):
            entry["pose"] = np.append(self.poses[row], np.ones((17, 1)), axis=1).ravel().tolist()
            entry["score"] = 1 - 0.01 * row
            change(entry)
        truth["annotations"] = of(truth["annotations"])
        results = [
            {
                "image_id": entry["image_id"],
                "category_id": 1,
                "score": entry["score"],
                "keypoints": entry["pose"],
            }
            for entry in found(truth["annotations"])
        ]  # fmt: skip
        return float(plain_stats(truth, results)[0])


@dataclass
class QuirkSet:
    """A copy of the original that a quirk may change: `document`, or `text` in its place; pictures."""

    root: Path
    original: Original
    document: dict
    text: str | bytes | None = None
    scale: tuple[float, float] = (1.0, 1.0)
    """Of the pictures, where a quirk resized them."""
    detections: list | dict | None = None
    annotations: str = ANNOTATIONS
    stems: dict[str, str] = field(default_factory=dict)

    @classmethod
    def copy_of(cls, original: Original, root: Path) -> QuirkSet:
        shutil.copytree(original.root, root)
        return cls(root, original, copy.deepcopy(original.document))

    @property
    def people(self) -> list[dict]:
        return self.document["annotations"]

    @property
    def images(self) -> list[dict]:
        return self.document["images"]

    @property
    def category(self) -> dict:
        return self.document["categories"][0]

    @property
    def pictures(self) -> Path:
        return self.root / "train"

    def keypoints(self) -> np.ndarray:
        """`[N, K, 3]`."""
        return np.asarray([entry["keypoints"] for entry in self.people], np.float64).reshape(
            len(self.people), -1, 3
        )

    def set_keypoints(self, keypoints) -> None:
        for entry, values in zip(self.people, keypoints, strict=True):
            entry["keypoints"] = np.asarray(values).ravel().tolist()

    def map_boxes(self, change: Callable) -> None:
        for entry in self.people:
            entry["bbox"] = [float(value) for value in change(*entry["bbox"])]

    def size_of(self, entry: dict) -> tuple[int, int]:
        image = next(image for image in self.images if image["id"] == entry["image_id"])
        return image["width"], image["height"]

    def source(self, keys: dict) -> DatasetConfig:
        return DatasetConfig(format="coco", root=str(self.root), split="train", **keys)

    def write(self) -> None:
        text = json.dumps(self.document) if self.text is None else self.text
        text = text.encode() if isinstance(text, str) else text
        (self.root / self.annotations).write_bytes(text)
        if self.detections is not None:
            (self.root / "annotations/boxes.json").write_text(json.dumps(self.detections))

    def predict(self, samples) -> Predictions:
        """The pose near whoever stands in each box, by the bytes of its picture and the nearest true box."""
        contents = {
            hashlib.sha1(path.read_bytes()).hexdigest(): path.stem
            for path in (self.original.root / "train").iterdir()
        }
        owners = {int(image["file_name"][:-4]): image["id"] for image in self.original.document["images"]}
        everyone = self.original.document["annotations"]
        scale = np.asarray(self.scale)
        rows = []
        for path, box in zip(samples.image_paths.tolist(), samples.boxes / np.tile(scale, 2), strict=True):
            digest = hashlib.sha1(Path(path).read_bytes()).hexdigest()
            image_id = owners[int(self.stems.get(digest) or contents[digest])]
            there = [row for row, entry in enumerate(everyone) if entry["image_id"] == image_id]
            rows.append(min(there, key=lambda row: np.abs(np.asarray(everyone[row]["bbox"]) - box).sum()))
        keypoints = (self.original.poses[rows] + 0.5) * scale
        scores = 1 - 0.01 * np.asarray(rows)
        return Predictions(keypoints.astype(np.float32), np.ones(keypoints.shape[:2], np.float32), scores)


def run_check(source: DatasetConfig) -> tuple[Samples, list[Problem]]:
    """`(usable people, what was found)`: what `p2net data check` does."""
    samples = read_dataset(source, COCO17)
    problems = check_samples(samples)
    return demand_usable(samples, problems), problems


def score(made: QuirkSet, source: DatasetConfig) -> CocoResult:
    """Of the poses near the people, in the place of a network's."""
    card = InferenceCard(skeleton=COCO17, input_size=(64, 48))
    predict = mock.patch.object(module, "predict", lambda network, samples, card: made.predict(samples))
    with predict:
        return module.evaluate(None, card, source, EvaluationConfig(nms=None)).result
