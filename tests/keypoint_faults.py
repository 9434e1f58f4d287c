"""Keypoint errors found and corrected one keypoint at a time, and a scene with all of them."""

import copy
import math

import numpy as np

from p2net_tf.evaluation.coco import coco_results
from p2net_tf.skeletons.skeleton import Skeleton
from tests.plain_pycocotools import plain_evaluation


def crowded_scene() -> tuple[dict, list[dict]]:
    """Three images of five persons who stand close; a pose of each, with faults of every type."""
    random = np.random.default_rng(5)
    partners = np.array(Skeleton.load("coco17").flip_permutation)
    images, annotations, predictions = [{"id": n} for n in range(1, 4)], [], []
    for image in images:
        people = random.uniform(0, 200, (5, 17, 2)) + random.uniform(0, 120, (5, 1, 2))
        visibility = random.integers(0, 3, (5, 17))
        for number, person in enumerate(people):
            pose = person + random.normal(0, 3, (17, 2))
            fault = random.choice(5, 17, p=[0.5, 0.2, 0.1, 0.1, 0.1])
            other = people[(number + 1) % 5]
            pose[fault == 1] += random.normal(0, 12, ((fault == 1).sum(), 2))
            pose[fault == 2] = person[partners][fault == 2]
            pose[fault == 3] = other[fault == 3]
            pose[fault == 4] += random.normal(0, 300, ((fault == 4).sum(), 2))
            rows = np.column_stack([person, visibility[number]]) * (visibility[number] > 0)[:, None]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image["id"],
                    "category_id": 1,
                    "iscrowd": 0,
                    "keypoints": rows.ravel().tolist(),
                    "num_keypoints": int((visibility[number] > 0).sum()),
                    "area": float(random.uniform(8000, 30000)),
                    "bbox": [0.0, 0.0, 320.0, 320.0],
                }
            )
            predictions += coco_results([image["id"]], pose[None], [random.uniform(0.2, 1)])
    predictions += coco_results([1, 2], random.uniform(5000, 6000, (2, 17, 2)), [0.6, 0.7])
    truth = {"images": images, "categories": [{"id": 1, "name": "person"}], "annotations": annotations}
    return truth, predictions


def faults_in_loops(ground_truth, predictions, sigmas, partners) -> list[tuple]:
    """`(row of the pose, keypoint, type, corrected x and y)` of all labeled keypoints of matched pairs."""
    evaluation = plain_evaluation(ground_truth, predictions, iouThrs=np.array([0.1]))
    by_id = {person["id"]: person for person in ground_truth["annotations"]}
    whole = [image for image in evaluation.evalImgs if image and image["aRng"] == [0, 1e10]]
    faults = []
    for image in whole:
        people = [p for p in ground_truth["annotations"] if p["image_id"] == image["image_id"]]
        columns = zip(image["dtIds"], image["dtMatches"][0], image["dtIgnore"][0], strict=True)
        for pose_id, person_id, ignored in columns:
            if not person_id or ignored:
                continue
            pose, person = predictions[pose_id - 1], by_id[int(person_id)]
            for keypoint in range(len(sigmas)):
                if person["keypoints"][3 * keypoint + 2]:
                    fault = fault_in_loops(pose, person, people, keypoint, sigmas, partners)
                    faults.append((pose_id - 1, keypoint, *fault))
    return faults


def fault_in_loops(pose, person, people, keypoint, sigmas, partners) -> tuple:
    x, y = pose["keypoints"][3 * keypoint : 3 * keypoint + 2]

    def similarity(someone, place):
        px, py, visibility = someone["keypoints"][3 * place : 3 * place + 3]
        variance = someone["area"] * (2 * sigmas[place]) ** 2
        return math.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * variance)) if visibility else 0.0

    own, partner = similarity(person, keypoint), similarity(person, partners[keypoint])
    others = [
        similarity(someone, place)
        for someone in people
        if someone is not person
        for place in (keypoint, partners[keypoint])
    ]
    other = max(others, default=0.0)
    if own >= 0.85:
        return "good", (x, y)
    if own >= 0.5:
        name, goal = "jitter", 0.85
    elif partner >= 0.5 and partner >= other:
        name, goal = "inversion", partner
    elif other >= 0.5:
        name, goal = "swap", other
    else:
        name, goal = "miss", 0.5
    # A trifle inside, as a goal of exactly an OKS threshold may round below it.
    reach = 2 * sigmas[keypoint] * math.sqrt(-2 * math.log(goal) * person["area"]) * (1 - 1e-10)
    px, py = person["keypoints"][3 * keypoint : 3 * keypoint + 2]
    distance = math.dist((x, y), (px, py))
    return name, (px + reach * (x - px) / distance, py + reach * (y - py) / distance)


def moved_by_hand(predictions, faults, names) -> list[dict]:
    predictions = copy.deepcopy(predictions)
    for row, keypoint, name, place in faults:
        if name in names:
            predictions[row]["keypoints"][3 * keypoint : 3 * keypoint + 2] = place
    return predictions
