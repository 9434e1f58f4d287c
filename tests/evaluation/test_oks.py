"""OKS against equation 9 written out in loops, against pycocotools, and against hand cases."""

import json
import math

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from p2net_tf.evaluation.oks import oks_matrix, oks_nms, pairwise_oks, soft_oks_nms, suppress_poses
from p2net_tf.skeletons.skeleton import Skeleton

SIGMAS = np.asarray(Skeleton.load("coco17").sigmas)


def oks_in_loops(pose, person, area, sigmas) -> float:
    """Equation 9 of the paper, one keypoint at a time."""
    total = labeled = 0
    for (x, y), (gx, gy, v), sigma in zip(pose, person, sigmas, strict=True):
        if v > 0:
            labeled += 1
            total += math.exp(-((x - gx) ** 2 + (y - gy) ** 2) / (2 * area * (2 * sigma) ** 2))
    return total / labeled if labeled else 0.0


def random_case(seed: int = 0, poses: int = 7, persons: int = 5):
    rng = np.random.default_rng(seed)
    truth = np.concatenate(
        [rng.uniform(0, 100, (persons, 17, 2)), rng.integers(0, 3, (persons, 17, 1))], axis=-1
    )
    predictions = truth[rng.integers(0, persons, poses), :, :2] + rng.normal(0, 5, (poses, 17, 2))
    return predictions, truth, rng.uniform(500, 9000, persons)


def test_matrix_is_equation_9():
    predictions, truth, areas = random_case()
    expected = [
        [oks_in_loops(pose, person, area, SIGMAS) for person, area in zip(truth, areas, strict=True)]
        for pose in predictions
    ]
    np.testing.assert_allclose(oks_matrix(predictions, truth, areas, SIGMAS), expected, rtol=1e-12)


def test_one_keypoint_in_closed_form():
    """d^2 = 2 area k^2 makes the exponent -1, whatever sigma and area."""
    for sigma, area in [(0.025, 400.0), (0.107, 1e4)]:
        distance = math.sqrt(2 * area) * 2 * sigma
        oks = oks_matrix([[[distance, 0.0]]], [[[0.0, 0.0, 2.0]]], [area], [sigma])
        assert oks.item() == pytest.approx(math.exp(-1))


def test_unlabeled_keypoints_do_not_count_and_missing_ones_score_0():
    truth = np.zeros((1, 17, 3))
    truth[0, :10, 2] = 1
    poses = np.zeros((1, 17, 2))
    poses[0, 10:] = 1e5
    assert oks_matrix(poses, truth, [100.0], SIGMAS).item() == 1
    poses[0, :5] = np.nan
    assert oks_matrix(poses, truth, [100.0], SIGMAS).item() == pytest.approx(0.5)


def test_person_without_labels():
    """Without a box OKS is 0; with one, inside its doubled reach 1, outside by the distance to it."""
    truth = np.zeros((1, 1, 3))
    poses = [[[15.0, 5.0]], [[20.0, 5.0]], [[24.0, 5.0]], [[-13.0, 24.0]]]
    assert oks_matrix(poses, truth, [100.0], [0.1]).tolist() == [[0]] * 4
    oks = oks_matrix(poses, truth, [100.0], [0.1], boxes=[[0.0, 0.0, 10.0, 10.0]])
    exponents = np.array([0, 0, 4.0**2, 3.0**2 + 4.0**2]) / (2 * 100 * 0.2**2)
    np.testing.assert_allclose(oks[:, 0], np.exp(-exponents), rtol=1e-12)


def test_matrix_is_pycocotools_on_real_predictions(data_root):
    folder = data_root / "oks_example"
    truth = COCO(str(folder / "annotations.json"))
    found = truth.loadRes(json.loads((folder / "predictions.json").read_text()))
    evaluation = COCOeval(truth, found, "keypoints")
    evaluation._prepare()
    compared = 0
    for image_id in truth.getImgIds():
        persons, poses = evaluation._gts[image_id, 1], evaluation._dts[image_id, 1]
        poses = sorted(poses, key=lambda pose: -pose["score"])[:20]
        ours = oks_matrix(
            np.reshape([pose["keypoints"] for pose in poses], (-1, 17, 3)),
            np.reshape([person["keypoints"] for person in persons], (-1, 17, 3)),
            [person["area"] for person in persons],
            SIGMAS,
            boxes=[person["bbox"] for person in persons],
        )
        np.testing.assert_allclose(ours, evaluation.computeOks(image_id, 1), rtol=1e-9, atol=1e-300)
        compared += ours.size
    assert compared > 100


def test_empty_sides():
    predictions, truth, areas = random_case()
    assert oks_matrix(predictions[:0], truth, areas, SIGMAS).shape == (0, 5)
    assert oks_matrix(predictions, truth[:0], areas[:0], SIGMAS).shape == (7, 0)


def row_of_poses(offsets) -> np.ndarray:
    """`[D, 1, 2]` one-keypoint poses on a line; with area 50 and sigma 0.1, OKS = exp(-(dx / 2)^2)."""
    return np.stack([np.asarray(offsets, float), np.zeros(len(offsets))], axis=-1)[:, None]


AREA, SIGMA = 50.0, [0.1]


def test_pairwise_is_symmetric_with_the_mean_area():
    poses = row_of_poses([0, 2])
    oks = pairwise_oks(poses, [AREA, 3 * AREA], SIGMA)
    assert np.diag(oks).tolist() == [1, 1]
    assert oks[0, 1] == oks[1, 0] == pytest.approx(math.exp(-0.5))
    assert pairwise_oks(poses, [AREA, AREA], SIGMA)[0, 1] == pytest.approx(math.exp(-1))


def test_nms_by_hand():
    """1 suppresses 0 (OKS 0.78), not 2 (0.11); a suppressed pose suppresses nobody."""
    poses = row_of_poses([1, 0, 3])
    areas = [AREA] * 3
    assert oks_nms(poses, [0.5, 0.9, 0.7], areas, SIGMA, threshold=0.5).tolist() == [1, 2]
    assert oks_nms(poses, [0.8, 0.9, 0.7], areas, SIGMA, threshold=0.3).tolist() == [1, 2]
    assert oks_nms(poses, [0.5, 0.9, 0.7], areas, SIGMA, threshold=0.9).tolist() == [1, 2, 0]


def test_nms_keeps_an_overlap_of_exactly_the_threshold():
    poses = row_of_poses([0, 0])
    assert oks_nms(poses, [0.5, 0.9], [AREA] * 2, SIGMA, threshold=1.0).tolist() == [1, 0]
    assert oks_nms(poses, [0.5, 0.5], [AREA] * 2, SIGMA, threshold=0.99).tolist() == [0]


def test_soft_nms_by_hand():
    """The twin of the best pose falls by exp(-1 / 0.5) behind the far one; HRNet's Gaussian rescoring."""
    poses = row_of_poses([0, 0, 1000])
    rows, scores = soft_oks_nms(poses, [0.9, 0.8, 0.3], [AREA] * 3, SIGMA, threshold=0.5)
    assert rows.tolist() == [0, 2, 1]
    assert scores == pytest.approx([0.9, 0.3, 0.8 * math.exp(-2)])


def test_soft_nms_multiplies_up_and_stops_at_its_limit():
    poses = row_of_poses([0] * 25)
    given = np.linspace(1, 0.9, 25)
    rows, scores = soft_oks_nms(poses, given, [AREA] * 25, SIGMA, threshold=1.0)
    assert rows.tolist() == list(range(20))
    assert scores == pytest.approx(given[:20] * np.exp(-np.arange(20.0)))
    assert given[1] == pytest.approx(1 - 0.1 / 24)  # the caller's scores are untouched


def nms_in_loops(poses, scores, areas, threshold):
    """Greedy suppression as its definition reads."""
    keep = []
    for i in sorted(range(len(scores)), key=lambda i: -scores[i]):
        person = np.concatenate([poses[i], np.ones((17, 1))], axis=-1)
        overlaps = [oks_in_loops(poses[j], person, (areas[i] + areas[j]) / 2, SIGMAS) for j in keep]
        if all(overlap <= threshold for overlap in overlaps):
            keep.append(i)
    return keep


def test_nms_is_the_brute_force_one():
    rng = np.random.default_rng(3)
    poses = np.repeat(rng.uniform(0, 100, (4, 17, 2)), 6, axis=0) + rng.normal(0, 4, (24, 17, 2))
    scores, areas = rng.uniform(size=24), rng.uniform(1000, 4000, 24)
    sizes = set()
    for threshold in (0.3, 0.7, 0.9):
        expected = nms_in_loops(poses, scores, areas, threshold)
        assert oks_nms(poses, scores, areas, SIGMAS, threshold).tolist() == expected
        sizes.add(len(expected))
    assert len(sizes) > 1  # the thresholds do cut differently


def test_suppression_stays_within_an_image():
    """The same poses in two images: suppressed in their own, not across."""
    poses = row_of_poses([0, 0, 0, 0])
    columns = ([7, 3, 7, 3], poses, [0.4, 0.9, 0.8, 0.1], [AREA] * 4, SIGMA)
    rows, scores = suppress_poses("oks", *columns, threshold=0.5)
    assert (rows.tolist(), scores.tolist()) == ([1, 2], [0.9, 0.8])
    rows, scores = suppress_poses("soft_oks", *columns, threshold=0.5)
    assert rows.tolist() == [1, 3, 2, 0]
    assert scores == pytest.approx([0.9, 0.1 * math.exp(-2), 0.8, 0.4 * math.exp(-2)])
    rows, _ = suppress_poses(None, *columns)
    assert rows.tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="no suppression 'hard'"):
        suppress_poses("hard", *columns)


def test_suppression_of_nothing():
    rows, scores = suppress_poses("oks", [], np.zeros((0, 17, 2)), [], [], SIGMAS)
    assert rows.size == scores.size == 0
