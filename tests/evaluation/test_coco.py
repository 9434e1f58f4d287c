"""COCO AP: real predictions, closed forms, and a sentence for every way to get 0."""

import copy
import json

import numpy as np
import pytest
from rich.console import Console

from p2net_tf.cli.score_tables import print_result
from p2net_tf.data.samples import DataError, Samples
from p2net_tf.evaluation.coco import METRICS, coco_ground_truth, coco_results, evaluate_coco
from p2net_tf.evaluation.error_analysis.analysis import analyze_errors
from p2net_tf.evaluation.stored import score_coco
from p2net_tf.skeletons.skeleton import Skeleton
from tests.plain_pycocotools import plain_stats

RNG = np.random.default_rng(0)
POSES = RNG.uniform(20, 180, (4, 17, 2)) + np.arange(4)[:, None, None] * 40


def truth() -> dict:
    """4 images with one person of 100 x 100 pixels each."""
    annotations = []
    for number, pose in enumerate(POSES):
        low, size = pose.min(0), np.ptp(pose, axis=0)
        annotations.append(
            {
                "id": number,  # starts at 0, which pycocotools would take for "no match"
                "image_id": 10 + number,
                "category_id": 1,
                "keypoints": np.concatenate([pose, np.full((17, 1), 2)], axis=-1).ravel().tolist(),
                "num_keypoints": 17,
                "iscrowd": 0,
                "area": 1e4,
                "bbox": [*low.tolist(), *size.tolist()],
            }
        )
    return {
        "images": [{"id": 10 + i, "width": 400, "height": 400} for i in range(4)],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": annotations,
    }


def results(poses=POSES, image_ids=(10, 11, 12, 13), category_ids=1) -> list[dict]:
    return coco_results(image_ids, poses, np.linspace(0.9, 0.6, len(poses)), category_ids=category_ids)


def only_finding(ground_truth, predictions) -> str:
    result = evaluate_coco(ground_truth, predictions)
    assert result["AP"] < 0.05
    assert len(result.diagnostics) == 1, result.diagnostics
    return result.diagnostics[0]


def test_real_predictions_to_every_printed_digit(data_root, capfd):
    folder = data_root / "oks_example"
    result = evaluate_coco(folder / "annotations.json", folder / "predictions.json")
    assert capfd.readouterr().out == ""
    # data/README.md prints 0.91091 for AP75; pycocotools 2.0.11 gives 92 / 101 = 0.91089.
    printed = ["0.86089", "0.99315", "0.91089", "0.77558", "0.93725"]
    assert [f"{result[name]:.5f}" for name in METRICS[:5]] == printed
    files = [json.loads((folder / name).read_text()) for name in ("annotations.json", "predictions.json")]
    assert [result[name] for name in METRICS] == plain_stats(*files).tolist()
    assert [finding[:50] for finding in result.diagnostics] == [
        "COCO counts 20 poses of a picture: 1 of lower scor"
    ]
    assert np.mean(list(result.ap_by_threshold.values())) == pytest.approx(result["AP"], abs=1e-12)
    assert (result.ap_by_threshold[0.5], result.ap_by_threshold[0.75]) == (result["AP50"], result["AP75"])
    assert (result.images, result.persons, result.predictions) == (4, 12, 73)


def test_dicts_are_scored_like_files_and_left_unchanged(data_root):
    folder = data_root / "oks_example"
    files = [json.loads((folder / name).read_text()) for name in ("annotations.json", "predictions.json")]
    before = copy.deepcopy(files)
    result = evaluate_coco(*files)
    assert result == evaluate_coco(folder / "annotations.json", folder / "predictions.json")
    assert files == before


def test_perfect_poses_score_1_whatever_the_annotation_ids():
    result = evaluate_coco(truth(), results())
    assert [result[name] for name in ("AP", "AP50", "AP(L)", "AR")] == pytest.approx([1, 1, 1, 1])
    assert result["AP(M)"] == -1  # nobody of medium size
    assert json.loads(json.dumps(result.to_dict()))["AP"] == pytest.approx(1)


def test_half_of_the_persons_found_is_half_of_the_recall():
    result = evaluate_coco(truth(), results(POSES[:2], (10, 11)))
    assert result["AR"] == pytest.approx(0.5)
    assert result["AP"] == pytest.approx(51 / 101)  # precision 1 at the recalls 0, 0.01, ... 0.5


def test_sigmas_decide():
    """Poses off by a tenth of the person: with sigmas of 1 nearly perfect, with COCO's not."""
    off = results(POSES + 10)
    assert evaluate_coco(truth(), off, np.ones(17))["AP"] == pytest.approx(1)
    assert evaluate_coco(truth(), off)["AP"] < 0.5


def test_a_pose_of_nan_matches_nobody():
    """The first-ranked pose is NaN, the second right: precision 1/2. pycocotools alone matches the NaN."""
    ground_truth = {name: items[:1] for name, items in truth().items()}
    poses = np.stack([np.full((17, 2), np.nan), POSES[0]])
    assert evaluate_coco(ground_truth, results(poses, (10, 10)))["AP"] == pytest.approx(0.5)


def test_a_wrong_pose_with_a_gap_is_still_a_false_positive():
    """pycocotools ignores unmatched poses above 1e10 square pixels: the gap must not inflate the area."""
    ground_truth = {name: items[:1] for name, items in truth().items()}
    wrong = POSES[0] + 300
    wrong[4] = np.nan
    poses = np.stack([wrong, POSES[0]])
    assert evaluate_coco(ground_truth, results(poses, (10, 10)))["AP"] == pytest.approx(0.5)


def test_single_missing_keypoints_are_misses():
    """13 of 17 keypoints right: OKS 13/17 = 0.765 passes the thresholds 0.50 to 0.75, six of ten."""
    poses = POSES.copy()
    poses[:, 3:7] = np.nan
    result = evaluate_coco(truth(), results(poses))
    assert (result["AP75"], result["AP"]) == pytest.approx((1, 0.6))


def test_fields_that_follow_from_others_may_be_missing():
    slim = truth()
    for annotation in slim["annotations"]:
        for name in ("num_keypoints", "iscrowd", "bbox", "id"):
            del annotation[name]
    assert evaluate_coco(slim, results())["AP"] == pytest.approx(1)


def test_samples_as_ground_truth():
    """LSP's skeleton, and a subset of rows, in continuous coordinates on both sides."""
    count = 3
    keypoints = np.concatenate([POSES[:count, :14], np.full((count, 14, 1), 1)], axis=-1)
    keypoints[0, 0] = 0
    samples = Samples(
        skeleton=Skeleton.load("lsp14"),
        image_paths=np.asarray(["a.jpg", "b.jpg", "b.jpg"]),
        boxes=np.full((count, 4), 50),
        keypoints=keypoints,
        areas=np.full(count, 1e4),
        ids=np.zeros(count),
        image_ids=np.asarray([5, 6, 6]),
        scores=np.ones(count),
    )
    ground_truth = coco_ground_truth(samples)
    assert [image["id"] for image in ground_truth["images"]] == [5, 6]
    assert [a["num_keypoints"] for a in ground_truth["annotations"]] == [13, 14, 14]
    sigmas = samples.skeleton.sigmas
    poses = coco_results(samples.image_ids, keypoints[..., :2], np.ones(count))
    assert evaluate_coco(ground_truth, poses, sigmas)["AP"] == pytest.approx(1)
    subset = coco_ground_truth(samples.take([1, 2]))
    assert evaluate_coco(subset, poses[1:], sigmas)["AP"] == pytest.approx(1)
    # At this distance the keypoint with the largest sigma has a similarity of 0.5, every other one less.
    shift = [0.0, float(np.sqrt(2 * 1e4 * np.log(2)) * 2 * max(sigmas))]
    moved = coco_results(samples.image_ids, keypoints[..., :2] + shift, np.ones(count))
    assert evaluate_coco(ground_truth, moved, sigmas)["AP"] < 0.05


def test_image_ids_that_do_not_match():
    finding = only_finding(truth(), results(image_ids=(0, 1, 2, 3)))
    assert "None of the predictions' image ids (e.g. 0)" in finding
    assert "(e.g. 10)" in finding


@pytest.mark.parametrize("image_ids", [("10", "11", "12", "13"), ("0010", "0011", "0012", "0013")])
def test_ids_as_text_and_as_numbers_are_the_same(image_ids):
    assert evaluate_coco(truth(), results(image_ids=image_ids))["AP"] == pytest.approx(1)


def test_ids_that_are_text():
    ground_truth = truth()
    for name, entries in (("id", ground_truth["images"]), ("image_id", ground_truth["annotations"])):
        for number, entry in enumerate(entries):
            entry[name] = f"street_{number}" if number else 7
    predictions = results(image_ids=("7", "street_1", "street_2", "street_3"))
    assert evaluate_coco(ground_truth, predictions)["AP"] == pytest.approx(1)


def test_some_unknown_image_ids_are_always_reported():
    result = evaluate_coco(truth(), results(image_ids=(10, 11, 12, 99)))
    assert result["AP"] > 0.7
    assert "1 of 4 predictions were left out" in result.diagnostics[0]
    assert "99" in result.diagnostics[0]


def test_categories_that_differ():
    finding = only_finding(truth(), results(category_ids=2))
    assert "predictions have category_id 2" in finding
    assert "1" in finding


def test_coordinates_in_fractions():
    assert "multiply x by the width" in only_finding(truth(), results(POSES / 400))


def test_coordinates_outside_every_box():
    assert "No predicted keypoint lies inside" in only_finding(truth(), results(POSES + 5000))


def test_exchanged_axes_are_named():
    """Persons in the upper right: exchanged, they land in the lower left."""
    ground_truth, shift = truth(), np.asarray([1000.0, 0.0])
    for annotation, pose in zip(ground_truth["annotations"], POSES + shift, strict=True):
        annotation["keypoints"] = np.concatenate([pose, np.full((17, 1), 2)], axis=-1).ravel().tolist()
        annotation["bbox"][0] += 1000
    finding = only_finding(ground_truth, results((POSES + shift)[..., ::-1]))
    assert "with x and y exchanged some do" in finding


def test_nothing_but_nan():
    assert "finite" in only_finding(truth(), results(np.full_like(POSES, np.nan)))


def test_areas_in_fractions():
    ground_truth = truth()
    for annotation in ground_truth["annotations"]:
        annotation["area"] = 0.25
    assert "below 1" in only_finding(ground_truth, results(POSES + 1))


def test_everybody_is_a_crowd():
    ground_truth = truth()
    for annotation in ground_truth["annotations"]:
        annotation["iscrowd"] = 1
    assert "iscrowd 1" in only_finding(ground_truth, results())


def test_everybody_is_out_of_the_area_range():
    ground_truth = truth()
    for annotation in ground_truth["annotations"]:
        annotation["area"] = 1e11
    assert "outside COCO's range" in only_finding(ground_truth, results())


def test_num_keypoints_is_counted():
    ground_truth = truth()
    for annotation in ground_truth["annotations"]:
        annotation["num_keypoints"] = 0
    assert evaluate_coco(ground_truth, results())["AP"] == pytest.approx(1)
    for annotation in ground_truth["annotations"]:
        annotation["keypoints"][2::3] = [0] * 17
    assert "No keypoint of any person has a visibility" in only_finding(ground_truth, results())


@pytest.mark.parametrize("area", [0, None, "nothing"])
def test_an_area_that_is_not_there_is_part_of_the_box(area):
    """Equal to areas written out as 0.53 of the box, in every number."""
    ground_truth, written = truth(), truth()
    for annotation, other in zip(ground_truth["annotations"], written["annotations"], strict=True):
        annotation["area"] = area
        other["area"] = 0.53 * other["bbox"][2] * other["bbox"][3]
    moved = results(POSES + 8)
    assert evaluate_coco(ground_truth, moved).metrics == evaluate_coco(written, moved).metrics


def test_nothing_predicted_and_nothing_annotated():
    assert "predictions are empty" in only_finding(truth(), [])
    assert "no annotations" in only_finding({**truth(), "annotations": []}, results())


def test_images_without_persons():
    ground_truth = truth()
    ground_truth["images"].append({"id": 50})
    assert "on other images" in only_finding(ground_truth, results(image_ids=(50,) * 4))


def test_few_images_predicted():
    ground_truth = truth()
    finding = only_finding(ground_truth, results(POSES[:1] + 25, (10,)))
    assert "cover only 1 of 4 images" in finding


def test_poor_poses_are_called_poor():
    """Everything fits but the order of the keypoints."""
    finding = only_finding(truth(), results(POSES[:, ::-1]))
    assert "order of the keypoints" in finding


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda gt, dt: gt.update(categories="person"), "'categories' is no list"),
        (lambda gt, dt: gt["annotations"].append(None), r"annotations\[4\] is None"),
        (lambda gt, dt: [a.pop("keypoints") for a in gt["annotations"]], "person_keypoints_"),
        (
            lambda gt, dt: gt["annotations"][1].update(keypoints=[1, 2, 2]),
            r"annotations\[1\]: 'keypoints' holds 3, not 51",
        ),
        (lambda gt, dt: gt["annotations"][1].pop("image_id"), r"annotations\[1\] has no 'image_id'"),
        (lambda gt, dt: gt["annotations"][0]["keypoints"].__setitem__(0, float("inf")), "infinity"),
        (lambda gt, dt: dt[2].pop("score"), r"predictions: \[2\]: no 'score'"),
        (lambda gt, dt: dt[2].update(score=float("nan")), "the score is nan"),
        (lambda gt, dt: dt[2].update(keypoints=[0] * 42), "42 values in 'keypoints', expected 3 x 17"),
    ],
)
def test_broken_input_is_named(change, words):
    ground_truth, predictions = truth(), results()
    change(ground_truth, predictions)
    with pytest.raises(DataError, match=words):
        evaluate_coco(ground_truth, predictions)


class TestCrowds:
    """More people on a picture than COCO counts."""

    @pytest.fixture
    def thirty(self):
        """30 people in a row on one picture, and their perfect poses."""
        places = np.stack([np.arange(17) % 5 * 10.0, np.arange(17) // 5 * 10.0], axis=-1)
        people = {"images": [{"id": 1}], "categories": [{"id": 1, "name": "person"}], "annotations": []}
        poses = []
        for number in range(30):
            flat = np.column_stack([places + [100.0 * number, 0.0], np.full(17, 2)]).ravel().tolist()
            person = {"image_id": 1, "category_id": 1, "keypoints": flat}
            box = {"area": 10_000.0, "bbox": [100.0 * number, 0, 40, 30], "iscrowd": 0}
            people["annotations"].append({**person, **box, "id": number + 1})
            poses.append({**person, "score": 1.0 - 0.01 * number})
        return people, poses

    def test_coco_counts_twenty_and_says_so(self, thirty):
        """20 of 30 are found, all rightly: precision is 1 up to a recall of 2/3, 67 of COCO's 101 steps."""
        result = evaluate_coco(*thirty)
        assert result["AP"] == pytest.approx(67 / 101)
        assert result["AR"] == pytest.approx(20 / 30)
        (note,) = result.diagnostics
        assert note.startswith("COCO counts 20 poses of a picture: 10 of lower scores on 1 pictures do not")
        assert "evaluation.max_people=30" in note
        assert result.name == "OKS AP" and result.to_dict()["max_people"] == 20

    def test_all_of_them(self, thirty):
        result = evaluate_coco(*thirty, max_people=30)
        assert result["AP"] == result["AR"] == result["AP50"] == result["AP(L)"] == pytest.approx(1)
        assert result.diagnostics == ()
        assert result.name == "OKS AP, 30 people a picture" and result.to_dict()["max_people"] == 30

    def test_fewer_of_them(self, thirty):
        result = evaluate_coco(*thirty, max_people=3)
        assert result["AR"] == pytest.approx(3 / 30)
        assert result.diagnostics[0].startswith("evaluation.max_people counts 3 poses of a picture: 27 of")

    def test_twenty_are_no_crowd(self, thirty):
        people, poses = thirty
        result = evaluate_coco({**people, "annotations": people["annotations"][:20]}, poses[:20])
        assert result["AP"] == pytest.approx(1) and result.diagnostics == ()

    @pytest.mark.parametrize("limit", [20, 30])
    def test_the_errors_are_those_of_the_same_poses(self, thirty, limit):
        found = analyze_errors(*thirty, max_people=limit)
        assert len(found.matches.pose_rows) == limit
        assert found.original["AR"] == pytest.approx(limit / 30)

    def test_the_table_names_the_limit(self, thirty, tmp_path):
        files = [tmp_path / "truth.json", tmp_path / "poses.json"]
        for file, document in zip(files, thirty, strict=True):
            file.write_text(json.dumps(document))
        console = Console(record=True, width=120)
        print_result(score_coco(*files, max_people=25), console)
        text = console.export_text()
        assert "OKS AP, 25 people a picture" in text and "5 of lower scores" in text
