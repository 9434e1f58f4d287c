"""PCK and PCKh against published tables, the original procedure written out in loops, and closed forms."""

import json
import math

import numpy as np
import pytest
from scipy.io import loadmat

from p2net_tf.data.samples import DataError, Samples
from p2net_tf.evaluation.pck import (
    head_sizes,
    keypoint_groups,
    lsp_errors,
    mpii_errors,
    pck_from_samples,
    pckh_from_samples,
)
from p2net_tf.skeletons.skeleton import Skeleton

CPM_LSP = dict(Head=97.80, Shoulder=92.50, Elbow=87.05, Wrist=83.90, Hip=91.50, Knee=90.85, Ankle=89.90)
HOURGLASS = dict(Head=95.80, Shoulder=94.57, Elbow=88.12, Wrist=83.31, Hip=86.24, Knee=80.88, Ankle=77.44)
SHOULDER, HIP = 9, 2  # left shoulder and right hip of LSP


@pytest.fixture(scope="module")
def lsp(data_root):
    """Truth and CPM's predictions of LSP's test part, `[1000, 14, 2]` 1-based."""
    truth = loadmat(data_root / "lsp/joints.mat")["joints"][:2, :, 1000:].transpose(2, 1, 0)
    predictions = loadmat(data_root / "lsp_cpm_predictions/LSP_prediction_model_MPII_LSP_6s.mat")
    return truth, predictions["prediction_all"].transpose(2, 0, 1)


@pytest.fixture(scope="module")
def mpii(data_root):
    """Predictions, truth, missing and head boxes of MPII's validation part."""
    truth = loadmat(data_root / "mpii_val/gt_valid.mat")
    predictions = loadmat(data_root / "mpii_val/hg_s2_b1_predictions.mat")["preds"]
    boxes = truth["headboxes_src"].transpose(2, 0, 1)
    return predictions, truth["pos_gt_src"].transpose(2, 0, 1), truth["jnt_missing"].T, boxes


def person(torso: float = 10.0) -> np.ndarray:
    """`[1, 14, 2]` LSP truth whose left shoulder and right hip lie `torso` apart."""
    truth = np.full((1, 14, 2), 50.0)
    truth[0, SHOULDER] = (50.0, 50.0 - torso)
    return truth


def samples(keypoints: np.ndarray, card: str = "lsp14") -> Samples:
    count = len(keypoints)
    return Samples(
        skeleton=Skeleton.load(card),
        image_paths=np.asarray([f"{i}.jpg" for i in range(count)]),
        boxes=np.zeros((count, 4)),
        keypoints=keypoints,
        areas=np.ones(count),
        ids=np.arange(count),
        image_ids=np.arange(count),
        scores=np.ones(count),
    )


def test_published_lsp_numbers_to_every_printed_digit(lsp):
    result = lsp_errors(lsp[1], lsp[0]).at(0.2)
    assert {name: f"{rate:.2f}" for name, rate in result.per_group.items()} == {
        name: f"{rate:.2f}" for name, rate in CPM_LSP.items()
    }
    assert f"{result.total:.2f}" == "90.50"
    assert (result.persons, result.skipped, result.missing) == (1000, (), 0)


def test_published_mpii_numbers_to_every_printed_digit(mpii):
    result = mpii_errors(*mpii).at(0.5)
    assert {name: f"{rate:.2f}" for name, rate in result.per_group.items()} == {
        name: f"{rate:.2f}" for name, rate in HOURGLASS.items()
    }
    assert (f"{result.mean:.3f}", f"{result.weighted_mean:.3f}") == ("86.757", "87.299")
    assert len(result.per_keypoint) == 14
    assert not {"pelvis", "thorax"} & set(result.per_keypoint)


def mpii_in_loops(predictions, truth, missing, boxes, threshold: float) -> tuple[int, int]:
    """Hits and labels as the definition reads, one keypoint at a time."""
    hits = labels = 0
    for p, t, gone, box in zip(predictions, truth, missing, boxes, strict=True):
        size = 0.6 * math.hypot(box[1][0] - box[0][0], box[1][1] - box[0][1])
        for k in range(16):
            if k in (6, 7) or gone[k]:
                continue
            labels += 1
            hits += math.hypot(float(p[k][0]) - t[k][0], float(p[k][1]) - t[k][1]) / size <= threshold
    return hits, labels


def test_pckh_at_a_tenth_is_read_at_a_tenth(mpii):
    """HRNet's code reads row 11 of a 0.01 grid, 0.11, where it says 0.1."""
    errors = mpii_errors(*mpii)
    hits, labels = mpii_in_loops(*mpii, 0.1)
    assert errors.at(0.1).weighted_mean == pytest.approx(100 * hits / labels, abs=1e-9)
    assert sum(errors.at(0.1).counts.values()) == labels
    assert errors.at(0.11).weighted_mean - errors.at(0.1).weighted_mean > 4


def test_unlabeled_keypoints_do_not_count(mpii):
    """Moving predictions of missing joints anywhere changes nothing; moving labeled ones does."""
    predictions, truth, missing, boxes = (array[:50] for array in mpii)
    assert missing.any()
    baseline = mpii_errors(predictions, truth, missing, boxes).at(0.5)
    moved = np.where(missing[..., None] == 1, 1e6, predictions)
    assert mpii_errors(moved, truth, missing, boxes).at(0.5) == baseline
    moved = np.where(missing[..., None] == 0, 1e6, predictions)
    assert mpii_errors(moved, truth, missing, boxes).at(0.5).total == 0


@pytest.mark.parametrize(("distance", "hit"), [(1.999, True), (2.0, True), (2.001, False)])
def test_a_distance_of_exactly_the_threshold_is_a_hit(distance, hit):
    truth = person(torso=10.0)
    predictions = truth.copy()
    predictions[0, 0, 0] += distance
    assert lsp_errors(predictions, truth).at(0.2).per_keypoint["right_ankle"] == (100 if hit else 0)


def test_reference_is_left_shoulder_to_right_hip():
    """Moving any other keypoint of the truth (with its prediction) leaves the others' rates alone."""
    truth = person(torso=10.0)
    predictions = truth.copy()
    predictions[0, 0, 0] += 2.0
    truth[0, 8] += 30.0
    predictions[0, 8] += 30.0
    assert lsp_errors(predictions, truth).errors[0, 0] == pytest.approx(0.2)
    truth[0, HIP, 1] += 10.0
    assert lsp_errors(predictions, truth).errors[0, 0] == pytest.approx(0.1)


def test_x_and_y_share_one_reference():
    """A normalisation by (h, w), or by each axis' own extent, would tell the two shifts apart."""
    truth = person(torso=10.0)
    shifted = [truth.copy(), truth.copy()]
    shifted[0][0, 0, 0] += 3.0
    shifted[1][0, 0, 1] += 3.0
    assert [lsp_errors(p, truth).errors[0, 0] for p in shifted] == pytest.approx([0.3, 0.3])


def test_small_integer_predictions_do_not_wrap_around():
    truth = person()
    predictions = np.full((1, 14, 2), 49, np.uint8)
    predictions[0, SHOULDER, 1] = 39
    assert lsp_errors(predictions, truth).errors.max() == pytest.approx(math.sqrt(2) / 10)


def test_missing_predictions_are_misses():
    truth = person()
    predictions = truth.copy()
    predictions[0, 0] = np.nan
    predictions[0, 1, 1] = np.inf
    result = lsp_errors(predictions, truth).at(0.2)
    assert result.missing == 2
    assert result.per_keypoint["right_ankle"] == result.per_keypoint["right_knee"] == 0
    assert result.total == pytest.approx(100 * 12 / 14)
    assert result.per_group["Ankle"] == 50


def test_person_without_reference_is_reported_not_divided_by_zero():
    truth = np.concatenate([person(10.0), person(0.0)])
    with np.errstate(all="raise"):
        result = lsp_errors(truth + 1.0, truth).at(0.2)
    assert result.skipped == (1,)
    assert set(result.counts.values()) == {1}
    assert result.total == 100
    nobody = lsp_errors(truth[1:], truth[1:]).at(0.2)
    assert math.isnan(nobody.total)
    assert nobody.to_dict()["total"] is None


def test_plain_and_weighted_mean_differ_by_the_counts():
    """3 persons; one keypoint is labeled once and hit, the other 13 three times and hit in 2 of them."""
    truth = np.repeat(person(), 3, axis=0)
    truth[1:, 0] = np.nan
    predictions = truth.copy()
    predictions[2] += 100
    result = lsp_errors(predictions, truth).at(0.2)
    assert result.mean == pytest.approx((100 + 13 * 200 / 3) / 14)
    assert result.weighted_mean == pytest.approx(100 * (1 + 13 * 2) / (1 + 13 * 3))
    assert result.total == result.weighted_mean


def test_curve_and_its_area_in_closed_form():
    """Errors 0.1 (half of the keypoints) and 0.3 (the other half): steps of 50 at 0.1 and 0.3."""
    truth = person(torso=10.0)
    predictions = truth.copy()
    predictions[0, :7, 0] += 1.0
    predictions[0, 7:, 0] += 3.0
    errors = lsp_errors(predictions, truth)
    curve = errors.curve([0.0, 0.1, 0.2, 0.3, 0.4])
    np.testing.assert_allclose(curve.rates, [0, 50, 50, 100, 100])
    assert curve.auc == pytest.approx((25 + 50 + 75 + 100) / 4)
    default = errors.curve()
    assert default.thresholds[[10, 50]].tolist() == [0.1, 0.5]
    assert default.rates[[9, 10, 29, 30]].tolist() == [0, 50, 50, 100]
    with pytest.raises(ValueError, match="increasing"):
        errors.curve([0.2, 0.1])


def test_curve_agrees_with_single_thresholds(mpii):
    errors = mpii_errors(*mpii)
    curve = errors.curve()
    assert [curve.rates[i] for i in (0, 10, 50)] == pytest.approx(
        [errors.at(t).weighted_mean for t in (0.0, 0.1, 0.5)]
    )


def test_samples_in_continuous_coordinates_give_the_published_numbers(lsp):
    truth, predictions = lsp
    keypoints = np.concatenate([truth - 0.5, np.full((1000, 14, 1), 2)], axis=-1)
    result = pck_from_samples(samples(keypoints), predictions - 0.5)
    assert {n: round(r, 6) for n, r in result.per_group.items()} == CPM_LSP
    subset = pck_from_samples(samples(keypoints).take(slice(0, 100)), predictions[:100] - 0.5)
    assert subset.total == pytest.approx(lsp_errors(predictions[:100], truth[:100]).at(0.2).total)


def test_samples_count_occluded_but_not_unlabeled_keypoints():
    keypoints = np.concatenate([person(), np.full((1, 14, 1), 2.0)], axis=-1)
    keypoints[0, 0, 2] = 1
    keypoints[0, 1] = 0
    result = pck_from_samples(samples(keypoints), keypoints[..., :2] + 1)
    assert (result.counts["right_ankle"], result.counts["right_knee"]) == (1, 0)
    assert math.isnan(result.per_keypoint["right_knee"])
    assert result.per_group["Knee"] == 100  # the left one
    keypoints[0, HIP] = 0
    assert pck_from_samples(samples(keypoints), keypoints[..., :2]).skipped == (0,)


def test_pckh_of_samples(mpii):
    predictions, truth, missing, boxes = mpii
    keypoints = np.concatenate([truth - 0.5, 2 * (missing[..., None] == 0)], axis=-1)
    result = pckh_from_samples(samples(keypoints, "mpii16"), predictions - 0.5, head_sizes(boxes))
    assert result.name == "PCKh@0.5"
    assert f"{result.weighted_mean:.2f}" == "87.30"


def test_groups_of_the_cards():
    assert keypoint_groups(Skeleton.load("lsp14"))["Head"] == ("neck", "head_top")
    assert keypoint_groups(Skeleton.load("mpii16"))["Head"] == ("head_top",)
    assert len(keypoint_groups(Skeleton.load("coco17"))["Head"]) == 5
    assert keypoint_groups(Skeleton.load("coco17"))["Wrist"] == ("left_wrist", "right_wrist")


def test_wrong_shapes_are_named():
    with pytest.raises(DataError, match=r"\(3, 14, 2\), expected \(2, 14, 2\) for 2 persons"):
        lsp_errors(np.zeros((3, 14, 2)), np.zeros((2, 14, 2)))
    with pytest.raises(DataError, match="true keypoints"):
        lsp_errors(np.zeros((2, 5, 2)), np.zeros((2, 5, 2)))


def test_to_dict_is_json():
    truth = person()
    content = json.loads(json.dumps(lsp_errors(truth, truth).at(0.2).to_dict(), allow_nan=False))
    assert content["metric"] == "PCK"
    assert content["per_group"]["Head"] == content["total"] == 100
    assert content["counts"]["neck"] == 1
