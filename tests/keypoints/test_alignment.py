"""`pixel_index` against the published procedure, as `published_procedure` tells it; `continuous` stays."""

import json

import cv2
import keras
import numpy as np
import published_procedure as published
import pytest
import tensorflow as tf
from networks import tiny_network

from p2net_tf.config.experiment import ExperimentConfig
from p2net_tf.data.pipeline import evaluation_dataset
from p2net_tf.data.published_boxes import as_published
from p2net_tf.data.samples import Samples
from p2net_tf.data.settings import DatasetConfig
from p2net_tf.evaluation.coco import evaluate_coco
from p2net_tf.evaluation.evaluate import evaluate
from p2net_tf.evaluation.people import open_people
from p2net_tf.evaluation.settings import EvaluationConfig
from p2net_tf.experiments.pose_training import build_pose_model
from p2net_tf.experiments.runs import save_predictions
from p2net_tf.experiments.training import train
from p2net_tf.export.graph import PoseGraph
from p2net_tf.inference.card import InferenceCard
from p2net_tf.inference.settings import TestRecipe
from p2net_tf.inference.test_recipe import estimate_keypoints
from p2net_tf.keypoints import alignment
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.utils.yaml_files import ConfigError

CROP = (96, 64)
HEATMAP = (24, 16)
COCO = Skeleton.load("coco17")
PAIRS = [(k, other) for k, other in enumerate(COCO.flip_permutation) if k < other]
RECIPE = {"decode": "sign_inside", "filter_sigma": 0, "nms": "oks", "keypoint_threshold": 0.2}
SETTINGS = EvaluationConfig(**RECIPE)
CARD = InferenceCard(
    skeleton=COCO,
    input_size=CROP,
    alignment="pixel_index",
    recipe=SETTINGS.model_dump(include=set(TestRecipe.model_fields)),
)
IMAGES = [1, 1, 2, 2, 3]
BOXES = [
    [20.3, 15.8, 35.1, 60.7],
    [-4.0, -3.5, 40.0, 50.0],  # over the left and upper edge of the 90 x 120 image
    [88, 40, 40, 60],  # over the right and lower one
    [10, 30, 90, 31],
    [0, 0, 120, 90],
]


class Blind:
    """Whatever the crops, the same heatmaps, so that both procedures see equal ones."""

    def __init__(self, maps: np.ndarray, mirrored: np.ndarray):
        """`[N, h, w, K]` of N crops."""
        self._maps = tf.constant(np.concatenate([maps, mirrored]))

    def __call__(self, crops, training=None):
        return {"heatmaps": self._maps}


class Seeing:
    """Heatmaps that are mixtures of the crop's colors."""

    _colors = np.random.default_rng(3).normal(size=(3, 17)).astype(np.float32)

    def __call__(self, crops, training=None):
        return {"heatmaps": tf.matmul(keras.ops.average_pool(crops, 4, 4), self._colors[None, None])}


@pytest.fixture(scope="module")
def coco(tmp_path_factory):
    """Five people in three images, detected twice each, the second time a little off."""
    root, rng = tmp_path_factory.mktemp("coco"), np.random.default_rng(0)
    (root / "annotations").mkdir()
    (root / "val").mkdir()
    images = [{"id": n, "file_name": f"{n}.png", "height": 90, "width": 120} for n in (1, 2, 3)]
    for image in images:
        smooth = cv2.resize(rng.integers(0, 256, (30, 40, 3), np.uint8), (120, 90))
        cv2.imwrite(str(root / "val" / image["file_name"]), smooth)
    people = [
        {"id": n, "image_id": owner, "category_id": 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0,
         "num_keypoints": 17, "keypoints": person(rng, box)}
        for n, (owner, box) in enumerate(zip(IMAGES, BOXES, strict=True), 1)
    ]  # fmt: skip
    categories = [{"id": 1, "name": "person", "keypoints": list(COCO.keypoints)}]
    content = {"images": images, "annotations": people, "categories": categories}
    (root / "annotations/person_keypoints_val.json").write_text(json.dumps(content))
    detections = [
        {"image_id": owner, "category_id": 1, "bbox": (np.array(box) + off).tolist(), "score": score}
        for owner, box, score in zip(IMAGES, BOXES, np.linspace(0.95, 0.6, 5), strict=True)
        for off in (0, np.array([1.3, -0.7, 2.0, -1.5]))
    ]
    (root / "detections.json").write_text(json.dumps(detections))
    return root


def person(rng, box) -> list:
    x, y, width, height = box
    places = [[x + width * rng.uniform(0.2, 0.8), y + height * rng.uniform(0.2, 0.8), 2] for _ in range(17)]
    return np.ravel(places).tolist()


def source(root, **fields) -> DatasetConfig:
    return DatasetConfig(format="coco", root=str(root), split="val", **fields)


def experiment(of: DatasetConfig, **evaluation) -> ExperimentConfig:
    model = {"input_size": CROP, "backbone": "small", "alignment": "pixel_index"}
    return ExperimentConfig(
        name="published", data={"train": [of], "test": [of]}, model=model, evaluation=RECIPE | evaluation
    )


def heatmaps_near(poses, boxes, rng) -> tuple[np.ndarray, np.ndarray]:
    """Heatmaps `[N, h, w, K]` of people at `poses [N, K, 2]` and of their mirror images, peaks off by a bit.

    One is negative, and one has its peak in the corner.
    """
    maps = np.zeros((len(boxes), *HEATMAP, 17))
    for row, (pose, box) in enumerate(zip(poses, boxes, strict=True)):
        to_heatmap = published.image_to(HEATMAP, *published.center_and_scale(box, CROP))
        for k, place in enumerate(pose):
            x, y = to_heatmap @ [*place, 1] + rng.normal(0, 0.5, 2)
            rows, columns = np.mgrid[: HEATMAP[0], : HEATMAP[1]]
            maps[row, ..., k] = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 4) * rng.uniform(0.1, 1)
    maps += rng.uniform(0, 0.01, maps.shape)
    maps[0, ..., 3] -= 2
    maps[1, 0, 0, 4] = maps[1, -1, -2, 5] = 3
    mirrored = maps[:, :, ::-1][..., list(COCO.flip_permutation)] * rng.uniform(0.9, 1.1, maps.shape)
    return maps.astype(np.float32), mirrored.astype(np.float32)


def by_the_published_code(maps, mirrored, boxes) -> np.ndarray:
    """`[N, K, 3]`"""
    channels_first = np.moveaxis(maps, -1, 1), np.moveaxis(mirrored, -1, 1)
    return np.stack(
        [
            published.keypoints(published.average_with_mirrored(one, other, PAIRS), box, CROP)
            for one, other, box in zip(*channels_first, boxes, strict=True)
        ]
    )


def truth(root) -> np.ndarray:
    """`[N, K, 2]`"""
    content = json.loads((root / "annotations/person_keypoints_val.json").read_text())
    return np.array([a["keypoints"] for a in content["annotations"]]).reshape(-1, 17, 3)[..., :2]


def test_annotated_people_get_the_keypoints_that_the_published_code_writes(coco, tmp_path):
    boxes = [published.clean_box(box, (90, 120)) for box in BOXES]
    maps, mirrored = heatmaps_near(truth(coco), boxes, np.random.default_rng(1))
    expected = by_the_published_code(maps, mirrored, boxes)
    found = evaluate(Blind(maps, mirrored), CARD, source(coco), SETTINGS)
    save_predictions(tmp_path, found)
    written = json.loads((tmp_path / "predictions.json").read_text())
    poses = np.array([pose["keypoints"] for pose in written]).reshape(-1, 17, 3)
    scores = np.array([published.pose_score(pose, 1.0) for pose in expected])
    order = np.lexsort((-scores, IMAGES))  # as they come out of the suppression, picture by picture
    np.testing.assert_allclose(poses, expected[order], rtol=0, atol=1e-3)
    np.testing.assert_allclose([pose["score"] for pose in written], scores[order], rtol=1e-6)


def test_detected_people_score_what_the_published_code_scores(coco):
    """Two boxes a person: one of each pair is suppressed, by areas of windows."""
    of = source(coco, detections="detections.json")
    detections = json.loads((coco / "detections.json").read_text())
    boxes, owners = [d["bbox"] for d in detections], [d["image_id"] for d in detections]
    maps, mirrored = heatmaps_near(np.repeat(truth(coco), 2, axis=0), boxes, np.random.default_rng(2))
    poses = by_the_published_code(maps, mirrored, boxes)
    scores = [published.pose_score(p, d["score"]) for p, d in zip(poses, detections, strict=True)]
    areas = [np.prod(200 * published.center_and_scale(box, CROP)[1]) for box in boxes]
    results = []
    for image in (1, 2, 3):
        rows = [row for row, owner in enumerate(owners) if owner == image]
        mine = ([column[row] for row in rows] for column in (poses, scores, areas))
        for place in published.suppress(*mine, COCO.sigmas):
            row = rows[place]
            results.append({"image_id": image, "category_id": 1, "score": float(scores[row]),
                            "keypoints": poses[row].ravel().tolist()})  # fmt: skip
    assert 5 <= len(results) < 10
    expected = evaluate_coco(coco / "annotations/person_keypoints_val.json", results)
    found = evaluate(Blind(maps, mirrored), CARD, of, SETTINGS).result
    assert found.predictions == len(results)
    assert 0.1 < expected["AP"] < 0.95
    assert found.metrics == pytest.approx(expected.metrics, abs=1e-9)


def test_crops_are_those_of_opencv(coco):
    samples = open_people(source(coco), CARD).samples
    pixel_index = alignment.ALIGNMENTS["pixel_index"]
    crops = next(iter(evaluation_dataset(samples, CROP, 5, alignment=pixel_index)))["crops"].numpy() * 255
    pictures = {n: cv2.cvtColor(cv2.imread(str(coco / f"val/{n}.png")), cv2.COLOR_BGR2RGB) for n in (1, 2, 3)}
    expected = np.stack(
        [
            published.crop(pictures[owner], published.clean_box(box, (90, 120)), CROP)
            for owner, box in zip(IMAGES, BOXES, strict=True)
        ]
    )
    tolerance = 0.51 if int(cv2.__version__.split(".")[0]) >= 5 else 1.2
    assert np.abs(crops - expected).max() < tolerance
    off = next(iter(evaluation_dataset(samples, CROP, 5)))["crops"].numpy() * 255
    assert np.abs(off - expected).max() > 5 * tolerance


@pytest.mark.slow
def test_a_served_network_finds_what_the_evaluated_one_finds(coco):
    """A detected box and its picture, through every signature that crops."""
    samples = open_people(source(coco, detections="detections.json"), CARD).samples
    network = Seeing()
    evaluated = evaluate(network, CARD, source(coco, detections="detections.json"), SETTINGS).predictions
    picture, graph = tf.constant((coco / "val/1.png").read_bytes()), PoseGraph(network, CARD, False)
    rows = np.flatnonzero(samples.image_ids == 1)
    boxes = tf.constant(samples.boxes[rows])
    found = graph.serving_default(picture, boxes)
    np.testing.assert_allclose(found["keypoint_scores"], evaluated.keypoint_scores[rows], atol=1e-5)
    np.testing.assert_allclose(found["keypoints"], evaluated.keypoints[rows], atol=1e-3)
    batched = graph.batched(tf.repeat(picture, len(rows)), boxes)
    np.testing.assert_allclose(batched["keypoints"], found["keypoints"], atol=1e-3)


def test_crop_pixels_begin_at_the_first_pixel_of_the_crop():
    """Heatmap pixel h is crop index 4 h, whose centre is 4 h + 0.5."""
    maps = np.full((1, 24, 16, 1), -1, np.float32)
    maps[0, 7, 3, 0] = 1
    straight = CARD.updated(recipe={"flip_test": False})
    keypoints, _ = estimate_keypoints(Blind(maps, maps[:0]), tf.zeros((1, *CROP, 3)), straight)
    np.testing.assert_allclose(keypoints[0, 0], [12.5, 28.5])


def test_only_coco_and_mpii_have_boxes_of_their_own():
    box = np.float32([[10, 20, 30, 40]])
    mpii = Skeleton.load("mpii16")
    samples = Samples(mpii, ["a.jpg"], box, np.zeros((1, 16, 3)), [1], [1], [1], [1])
    # The published centre is MATLAB's less 1; ours, with the centre of the first pixel at 0.5, less 0.5.
    moved = as_published(samples, DatasetConfig(format="mpii", root="/m")).boxes
    np.testing.assert_array_equal(moved, [[9.5, 19.5, 30, 40]])
    for other in ({"format": "lsp"}, {"format": "coco", "detections": "boxes.json"}):
        assert as_published(samples, DatasetConfig(root="/m", **other)) is samples


@pytest.mark.slow
def test_a_file_keeps_the_alignment(tmp_path):
    network = tiny_network(alignment="pixel_index")
    network.save(tmp_path / "network.keras")
    assert keras.saving.load_model(tmp_path / "network.keras").alignment == "pixel_index"
    assert tiny_network().alignment == "continuous"
    with pytest.raises(ValueError, match="'udp'; take one of continuous, pixel_index"):
        tiny_network(alignment="udp")


def test_nothing_is_trained_in_it(tmp_path):
    config = experiment(DatasetConfig(format="lsp", root="/nowhere"))
    with pytest.raises(ConfigError, match="set model.alignment=continuous"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigError, match="set model.alignment=continuous"):
        build_pose_model(config, COCO, 1)
