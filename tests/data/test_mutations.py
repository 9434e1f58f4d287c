"""No traceback for any file: what is wrong with it is said in one line of a `UserError`, or it is read."""

import json
import random
from importlib import resources

import numpy as np
import pytest
import yaml

from p2net_tf.data import check as check_module
from p2net_tf.data import picture_check
from p2net_tf.data.coco import read_coco
from p2net_tf.evaluation.stored import score_coco, score_pck
from p2net_tf.inference.boxes import read_boxes
from p2net_tf.skeletons.skeleton import Skeleton
from tests.mutations import ends_well, mutated, written

COCO17 = Skeleton.load("coco17")


def document() -> dict:
    rng = np.random.default_rng(0)
    images = [{"id": n, "file_name": f"{n}.jpg", "width": 200, "height": 150} for n in (1, 2, 3)]
    people = []
    for number in range(6):
        xy = rng.uniform(10, 140, (17, 2)).round(1)
        keypoints = np.append(xy, rng.integers(0, 3, (17, 1)), axis=1)
        low, high = xy.min(axis=0), xy.max(axis=0)
        people.append({"id": number + 1, "image_id": number % 3 + 1, "category_id": 1, "iscrowd": 0,
                       "num_keypoints": int((keypoints[:, 2] > 0).sum()), "area": 5000.0,
                       "keypoints": keypoints.ravel().tolist(), "bbox": [*low, *(high - low)],
                       "segmentation": [[1, 2, 3, 4, 5, 6]]})  # fmt: skip
    category = {"id": 1, "name": "person", "keypoints": list(COCO17.keypoints)}
    return {"images": images, "annotations": people, "categories": [category]}


def detections(truth: dict) -> list[dict]:
    return [{"image_id": p["image_id"], "category_id": 1, "bbox": p["bbox"], "score": 0.5}
            for p in truth["annotations"]]  # fmt: skip


def results(truth: dict) -> list[dict]:
    return [{**entry, "keypoints": person["keypoints"]}
            for entry, person in zip(detections(truth), truth["annotations"], strict=True)]  # fmt: skip


def with_lists_of_its_own(truth: dict) -> dict:
    """The detections in a document that counts images and categories anew."""
    images = [{"id": image["id"] + 5, "file_name": image["file_name"]} for image in truth["images"]]
    found = [
        {**entry, "image_id": entry["image_id"] + 5, "category_id": 7 if row else 1}
        for row, entry in enumerate(detections(truth))
    ]
    categories = [{"id": 7, "name": "person"}, {"id": 1, "name": "dog"}]
    return {"images": images, "categories": categories, "annotations": found}


def with_keypoints_turned_round(truth: dict) -> dict:
    """Ground truth whose keypoints are called in the opposite order."""
    (category,) = truth["categories"]
    return {**truth, "categories": [{**category, "keypoints": category["keypoints"][::-1]}]}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Pictures of which only the header is looked at."""
    sizes = np.asarray([200.0, 150.0], np.float32)
    monkeypatch.setattr(
        check_module,
        "image_headers",
        lambda paths, turn: (np.tile(sizes, (len(paths), 1)), np.full(len(paths), "JPEG")),
    )
    monkeypatch.setattr(check_module.exif_labels, "exif_label_problems", lambda samples: [])
    monkeypatch.setattr(picture_check, "unreadable_images", lambda paths, turn: {})
    (tmp_path / "annotations").mkdir()
    (tmp_path / "train").mkdir()
    return tmp_path


def check(samples) -> None:
    check_module.demand_usable(samples, check_module.check_samples(samples))


def try_mutations(folder, count: int, seed: int) -> dict[str, list[bool]]:
    """What became of `count` mutations of each kind of file."""
    dice, truth = random.Random(seed), document()
    annotations = folder / "annotations/person_keypoints_train.json"
    pictures, sizes = ["1.jpg", "2.jpg", "3.jpg"], np.tile([200, 150], (3, 1))
    card = yaml.safe_load((resources.files("p2net_tf.skeletons") / "cards/coco17.yaml").read_text())
    outcomes: dict[str, list[bool]] = {}
    turned = folder / "turned.json"
    turned.write_text(json.dumps(with_keypoints_turned_round(truth)))

    def note(kind: str, use) -> None:
        outcomes.setdefault(kind, []).append(ends_well(use))

    for _ in range(count):
        written(annotations, mutated(truth, dice), dice)
        note("annotations", lambda: check(read_coco(folder, "train")))
        path = written(folder / "truth.json", mutated(truth, dice), dice)
        poses = written(folder / "poses.json", results(truth), random.Random(1))
        note("ground truth", lambda path=path, poses=poses: score_coco(path, poses))
        path = written(folder / "poses.json", mutated(results(truth), dice), dice)
        whole = folder / "whole.json"
        whole.write_text(json.dumps(truth))
        note("predictions", lambda path=path, whole=whole: score_coco(whole, path))
        note("predictions of pck", lambda path=path, turned=turned: score_pck(turned, path))
        path = written(folder / "boxes.json", mutated(detections(truth), dice), dice)
        note("boxes", lambda path=path: read_boxes(str(path), pictures, sizes))
        annotations.write_text(json.dumps(truth))
        note("detections", lambda path=path: check(read_coco(folder, "train", detections=path)))
        path = written(folder / "boxes.json", mutated(with_lists_of_its_own(truth), dice), dice)
        note("boxes in a document", lambda path=path: read_boxes(str(path), pictures, sizes))
        note("detections in a document", lambda path=path: check(read_coco(folder, "train", detections=path)))
        path = written(folder / "card.yaml", mutated(card, dice), dice)
        note("card", lambda path=path: Skeleton.load(path))
    return outcomes


@pytest.mark.parametrize(
    ("count", "seed"), [(12, 0), pytest.param(400, 1, marks=pytest.mark.slow)], ids=["quick", "3600"]
)
def test_no_file_ends_in_a_traceback(folder, count, seed):
    outcomes = try_mutations(folder, count, seed)
    assert {kind: len(ends) for kind, ends in outcomes.items()} == dict.fromkeys(outcomes, count)
    assert len(outcomes) == 9
    if count > 100:
        # The mutations are neither all harmless nor all fatal.
        assert all(0.02 < np.mean(ends) < 0.98 for ends in outcomes.values()), outcomes
