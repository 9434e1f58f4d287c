"""Box AP: equal to plain pycocotools, by hand on few boxes, and what is read, diagnosed and refused."""

import json

import numpy as np
import pytest

from p2net_tf.data.samples import DataError
from p2net_tf.evaluation.boxes.average_precision import METRICS, evaluate_boxes
from tests.evaluation.boxes.perturbed import perturbed_boxes
from tests.plain_pycocotools import plain_stats


def truth_of(boxes: dict[int, list], categories=(1,)) -> dict:
    """Boxes xywh by image ids; with a fifth number, which is the category."""
    entries = [(image, box) for image, own in boxes.items() for box in own]
    return {
        "images": [{"id": image, "file_name": f"{image}.jpg"} for image in boxes],
        "categories": [{"id": number, "name": f"class {number}"} for number in categories],
        "annotations": [
            {
                "id": place,
                "image_id": image,
                "category_id": box[4] if len(box) > 4 else categories[0],
                "bbox": box[:4],
                "area": box[2] * box[3],
                "iscrowd": 0,
            }
            for place, (image, box) in enumerate(entries, 1)
        ],
    }


def found(image, box, score, category=1) -> dict:
    return {"image_id": image, "category_id": category, "bbox": list(box), "score": score}


TWO = truth_of({1: [[10, 10, 40, 80], [100, 10, 40, 80]], 2: []})
PERFECT = [found(1, [10, 10, 40, 80], 0.9), found(1, [100, 10, 40, 80], 0.8)]


class TestAgainstPycocotools:
    @pytest.fixture(scope="class")
    def people(self, data_root):
        return json.loads((data_root / "people_boxes/person_boxes_val.json").read_text())

    @pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
    def test_perturbed_boxes_of_people(self, people, seed):
        results = perturbed_boxes(people, seed)
        result = evaluate_boxes(people, results)
        expected = plain_stats(people, results, "bbox")
        np.testing.assert_array_equal([result[name] for name in METRICS], expected)
        assert 0.2 < result["AP"] < 0.9
        assert result.objects == 597

    def test_real_detections(self, data_root):
        """Of a published detector, on 4 pictures of COCO."""
        folder = data_root / "coco_tiny/annotations"
        paths = folder / "person_keypoints_val2017.json", folder / "person_detections_val2017.json"
        truth, results = (json.loads(path.read_text()) for path in paths)
        result = evaluate_boxes(*paths)
        expected = plain_stats(truth, results, "bbox")
        np.testing.assert_array_equal([result[name] for name in METRICS], expected)
        assert result.metrics["AP50"] > 0.8
        assert (result.images, result.objects, result.predictions) == (4, 14, 118)

    def test_several_classes(self):
        rng = np.random.default_rng(3)
        boxes = {
            image: [
                [*rng.uniform(0, 200, 2), *rng.uniform(10, 150, 2), int(rng.choice([7, 3, 5]))]
                for _ in range(6)
            ]
            for image in range(1, 25)
        }
        truth = truth_of(boxes, categories=(7, 3, 5, 9))
        results = perturbed_boxes(truth, 4)
        result = evaluate_boxes(truth, results)
        expected = plain_stats(truth, results, "bbox")  # which sums them in another order
        np.testing.assert_allclose([result[name] for name in METRICS], expected, rtol=1e-12)
        assert list(result.classes) == ["class 7", "class 3", "class 5"]
        for name, own in result.classes.items():
            number = int(name[-1])
            alone = {**truth, "categories": [{"id": number}]}
            alone["annotations"] = [entry for entry in truth["annotations"] if entry["category_id"] == number]
            stats = plain_stats(alone, [entry for entry in results if entry["category_id"] == number], "bbox")
            np.testing.assert_allclose([own.metrics[n] for n in ("AP", "AP50", "AR100")], stats[[0, 1, 8]])
            assert own.objects == len(alone["annotations"])

    def test_crowds(self, data_root):
        path = data_root / "coco_tiny/annotations/person_keypoints_train2017.json"
        truth = json.loads(path.read_text())
        results = perturbed_boxes(truth)
        result = evaluate_boxes(truth, results)
        np.testing.assert_array_equal([result[name] for name in METRICS], plain_stats(truth, results, "bbox"))
        assert result.objects == 263


class TestByHand:
    def test_perfect(self):
        result = evaluate_boxes(TWO, PERFECT)
        assert result["AP"] == result["AR100"] == pytest.approx(1)
        assert result["AR1"] == pytest.approx(0.5)
        assert (result.recall, result["AP(S)"], result["AP(M)"]) == (1, -1, pytest.approx(1))
        assert result.diagnostics == ()

    def test_a_wrong_box_before_the_right_one(self):
        """One of two objects is found, in the second place: precision 1/2 up to a recall of 1/2."""
        result = evaluate_boxes(TWO, [found(1, [200, 200, 10, 10], 0.95), PERFECT[0]])
        assert result["AP50"] == pytest.approx(0.5 * 51 / 101)
        assert result.recall == 0.5

    def test_iou_of_a_half_and_of_three_quarters(self):
        """A box of IoU 0.75 counts at 0.50, 0.55, ... 0.75: 6 of 10 thresholds."""
        truth = truth_of({1: [[0, 0, 100, 100]]})
        assert evaluate_boxes(truth, [found(1, [0, 0, 100, 75], 1)])["AP"] == pytest.approx(0.6)
        assert evaluate_boxes(truth, [found(1, [0, 0, 100, 50], 1)])["AP"] == pytest.approx(0.1)

    def test_nobody(self):
        result = evaluate_boxes(truth_of({1: []}), [found(1, [1, 2, 3, 4], 0.5)])
        assert result["AP"] == -1
        assert "The ground truth has no annotations" in result.diagnostics[0]
        assert result.to_dict()["at_limit"]["recall"] == 0


def change_each(results, **values):
    return [entry | values for entry in results]


class TestLeniency:
    @pytest.mark.parametrize(
        "results",
        [
            [{name: entry[name] for name in entry if name != "category_id"} for entry in PERFECT],
            change_each(PERFECT, category_id="class 1"),
            change_each(PERFECT, category_id="1", image_id="1"),
            [{**entry, "file_name": "pictures/1.jpg", "image_id": None} for entry in PERFECT],
            {"annotations": PERFECT},
            [
                entry | {"bbox": " ".join(map(str, entry["bbox"])), "score": str(entry["score"])}
                for entry in PERFECT
            ],
        ],
        ids=["no category", "category by name", "ids as text", "file names", "a dict", "numbers as text"],
    )
    def test_results(self, results):
        assert evaluate_boxes(TWO, results)["AP"] == pytest.approx(1)

    def test_truth(self):
        truth = json.loads(json.dumps(TWO))
        for entry in truth["annotations"]:
            del entry["area"], entry["iscrowd"], entry["category_id"]
            entry["image_id"] = str(entry["image_id"])
        result = evaluate_boxes(truth, PERFECT)
        assert result["AP(M)"] == pytest.approx(1)

    def test_text_ids(self):
        truth = truth_of({"left": [[10, 10, 40, 80]], "right": []})
        assert evaluate_boxes(truth, [found("left", [10, 10, 40, 80], 1)])["AP"] == pytest.approx(1)

    def test_a_box_without_an_area_is_never_found(self):
        truth = truth_of({1: [[10, 10, 40, 80], [100, 10, 0, 80]]})
        assert evaluate_boxes(truth, PERFECT).recall == 0.5


@pytest.mark.parametrize(
    ("results", "words"),
    [
        ([], "predictions are empty"),
        (change_each(PERFECT, image_id=9), "None of the predictions' image ids"),
        (change_each(PERFECT, category_id=9), "The categories differ"),
        ([entry | {"bbox": [0.1, 0.1, 0.2, 0.5]} for entry in PERFECT], "within 0..1"),
        ([found(1, [300, 300, 40, 80], 1)], "reaches an IoU of 0.000"),
        ([found(1, [300, 300, 0, 80], 1)], "width and a height above 0"),
    ],
)
def test_why_so_low(results, words):
    assert words in " ".join(evaluate_boxes(TWO, results).diagnostics)


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ([300, 150, 340, 230], "read as corners x1, y1, x2, y2: give x, y, width, height in pixels"),
        ([150, 300, 80, 40], "read as y, x, height, width"),
        ([150, 300, 230, 340], "read as corners y1, x1, y2, x2"),
    ],
)
def test_boxes_in_another_form(box, words):
    result = evaluate_boxes(truth_of({1: [[300, 150, 40, 80]]}), [found(1, box, 1)])
    assert words in result.diagnostics[0]


def test_nothing_but_crowds_is_no_fault_of_the_detector():
    truth = TWO | {"annotations": change_each(TWO["annotations"], iscrowd=1)}
    assert evaluate_boxes(truth, []).diagnostics == (
        "There is nothing to find: all objects are crowds, to be ignored.",
    )


def test_boxes_of_other_categories_do_not_count():
    result = evaluate_boxes(TWO, [*PERFECT, found(1, [1, 2, 3, 4], 1) | {"category_id": 77}])
    assert result["AP"] == pytest.approx(1)
    assert "1 of 3 predictions do not count, their category ids (e.g. 77)" in result.diagnostics[0]


def test_boxes_on_other_pictures_are_left_out():
    result = evaluate_boxes(TWO, [*PERFECT, found(9, [1, 2, 3, 4], 1)])
    assert result["AP"] == pytest.approx(1)
    assert "1 of 3 predictions were left out" in result.diagnostics[0]


@pytest.mark.parametrize(
    ("truth", "results", "words"),
    [
        ({}, [], "ground truth: no list 'images'"),
        (TWO | {"annotations": [{"image_id": 1, "keypoints": []}]}, [], "no annotation has 'bbox'"),
        (
            TWO | {"annotations": [{"image_id": 1, "bbox": [1, 2, -3, 4]}]},
            [],
            r"annotations\[0\]: bbox .1, 2, -3",
        ),
        (TWO, 7, "not a result list"),
        (TWO, [None], r"predictions: \[0\]: is None; give an object"),
        (TWO, [{"image_id": 1, "bbox": [1, 2, 3], "score": 1}], r"bbox is \[1, 2, 3\]; give x, y"),
        (TWO, [{"image_id": 1, "bbox": [1, 2, 3, 4], "score": None}], "the score is None"),
        (TWO, [{"bbox": [1, 2, 3, 4], "score": 1}], "no 'image_id'"),
        (
            truth_of({1: [[1, 2, 3, 4]]}, (1, 2)),
            [{"image_id": 1, "bbox": [1, 2, 3, 4], "score": 1}],
            "no 'category",
        ),
    ],
)
def test_what_is_refused(truth, results, words):
    with pytest.raises(DataError, match=words):
        evaluate_boxes(truth, results)


def test_boxes_and_areas_that_cannot_be_are_told():
    """At any AP, which is that of pycocotools all the same."""
    person = {"image_id": 1, "category_id": 1, "iscrowd": 0}
    truth = {
        "images": [{"id": 1}],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [
            {**person, "id": 1, "bbox": [10, 10, 20, 40], "area": 1e12},
            {**person, "id": 2, "bbox": [50, 10, 20, 40], "area": 700},
        ],
    }
    found = {"image_id": 1, "category_id": 1}
    results = [
        {**found, "bbox": [10, 10, 20, 40], "score": 0.9},
        {**found, "bbox": [50, 10, 20, 40], "score": 0.8},
        {**found, "bbox": [70, 10, -20, 40], "score": 0.1},
    ]
    result = evaluate_boxes(truth, results)
    assert result["AP"] == pytest.approx(1)
    mirrored, area = result.diagnostics
    assert "1 of 3 predicted boxes have a width or height below 0, e.g. [70.0, 10.0, -20.0, 40.0]" in mirrored
    assert "1 of 2 objects have an area that their box cannot have, e.g. 1e+12 in one of 800" in area
