"""Stored results with odd values: read where there is one way to, else refused in a line."""

import json

import numpy as np
import pytest
from scipy.io import savemat
from typer.testing import CliRunner

from p2net_tf.cli import app
from p2net_tf.data.samples import DataError
from p2net_tf.evaluation.stored import score_coco, score_lsp, score_pck
from p2net_tf.inference.boxes import read_boxes

DIGITS = "1" * 5000
CARD = """
name: stick
keypoints: [left_shoulder, right_hip, hand]
sigmas: [0.1, 0.1, 0.1]
flip_pairs: []
upper_body: []
limbs: []
"""
PERSON = [10, 10, 2, 10, 110, 2, 60, 60, 2]


def written(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.fixture
def truth(tmp_path):
    people = [{"id": 1, "image_id": 1, "category_id": 1, "area": 10000, "keypoints": PERSON}]
    category = {"id": 1, "name": "person", "keypoints": ["left_shoulder", "right_hip", "hand"]}
    return written(
        tmp_path / "truth.json", {"images": [{"id": 1}], "annotations": people, "categories": [category]}
    )


@pytest.fixture
def card(tmp_path):
    return written(tmp_path / "stick.yaml", CARD)


def pose(**fields) -> dict:
    return {"image_id": 1, "category_id": 1, "keypoints": PERSON, "score": 0.5, **fields}


class TestNumbersOfThousandsOfDigits:
    def test_in_results(self, tmp_path, truth, card):
        path = written(tmp_path / "poses.json", json.dumps([pose(image_id=7)]).replace("7", DIGITS))
        for scorer in (score_coco, score_pck):
            with pytest.raises(DataError, match=r"poses.json: holds a number of thousands of digits"):
                scorer(truth, path, card)

    def test_in_the_truth(self, tmp_path, truth, card):
        path = written(tmp_path / "poses.json", [pose()])
        truth.write_text(truth.read_text().replace("10000", DIGITS))
        for scorer in (score_coco, score_pck):
            with pytest.raises(DataError, match=r"truth.json: holds a number of thousands of digits"):
                scorer(truth, path, card)

    def test_in_boxes(self, tmp_path):
        path = written(tmp_path / "boxes.json", f'[{{"image_id": {DIGITS}, "bbox": [1, 2, 3, 4]}}]')
        with pytest.raises(DataError, match=r"boxes.json: holds a number of thousands of digits"):
            read_boxes(str(path), ["1.jpg"], np.float32([[10, 10]]))


class TestOfCoco:
    @pytest.mark.parametrize(
        "fields",
        [{"score": "0.5"}, {"keypoints": [str(v) for v in PERSON]}, {"keypoints": " ".join(map(str, PERSON))},
         {"keypoints": np.reshape(PERSON, (3, 3)).tolist()}],
        ids=["score as text", "keypoints as text", "keypoints as one text", "nested keypoints"],
    )  # fmt: skip
    def test_read(self, tmp_path, truth, card, fields):
        path = written(tmp_path / "poses.json", [pose(**fields)])
        assert score_coco(truth, path, card)["AP"] == pytest.approx(1)
        assert score_pck(truth, path, card).total == 100

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"score": True}, r"poses.json: \[0\]: the score is True; poses are ranked by it"),
            ({"score": "x"}, r"\[0\]: the score is 'x'"),
            ({"score": 10**400}, r"\[0\]: the score is 1000"),
            ({"keypoints": [[1, 2]] * 9}, r"\[0\]: 18 values in 'keypoints', expected 3 x 3"),
            ({"keypoints": [[1], 2, 3]}, r"\[0\]: a value of 'keypoints' is not a number"),
            ({"keypoints": ["a"] * 9}, r"\[0\]: a value of 'keypoints' is not a number"),
            ({"keypoints": [10**400] * 9}, r"\[0\]: a value of 'keypoints' is not a number"),
        ],
    )
    def test_refused(self, tmp_path, truth, card, fields, words):
        path = written(tmp_path / "poses.json", [pose(**fields)])
        for scorer in (score_coco, score_pck):
            with pytest.raises(DataError, match=words):
                scorer(truth, path, card)

    def test_no_results_are_misses(self, tmp_path, truth, card):
        path = written(tmp_path / "poses.json", [])
        assert score_coco(truth, path, card)["AP"] == 0
        found = score_pck(truth, path, card)
        assert (found.total, found.missing) == (0, 3)

    @pytest.mark.parametrize("owner", [{"a": 1}, [1], True, "1", 1.0])
    def test_whose_pose_it_is(self, tmp_path, truth, card, owner):
        """A dict that holds the results, and ids of people that are none."""
        path = written(tmp_path / "poses.json", {"annotations": [pose(annotation_id=owner)]})
        assert score_pck(truth, path, card).total == 100


class TestOfLsp:
    @pytest.fixture
    def joints(self, tmp_path):
        xy = np.random.default_rng(0).uniform(1, 150, (2000, 14, 2))
        savemat(
            tmp_path / "joints.mat", {"joints": np.append(xy, np.zeros((2000, 14, 1)), -1).transpose(2, 1, 0)}
        )
        return tmp_path / "joints.mat", np.append(xy[1000:] - 1, np.ones((1000, 14, 1)), -1)

    def test_read(self, tmp_path, joints):
        truth, keypoints = joints
        poses = [
            {"image_id": 1001 + row, "score": "0.5", "keypoints": points.tolist()}
            for row, points in enumerate(keypoints)
        ]
        assert score_lsp(truth, written(tmp_path / "poses.json", poses)).total == 100

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"score": None}, r"poses.json: \[0\]: the score is None"),
            ({"score": "x"}, r"\[0\]: the score is 'x'"),
            ({"keypoints": ["a"] * 42}, r"\[0\]: a value of 'keypoints' is not a number"),
            ({"keypoints": [[1, 2], [3]]}, r"\[0\]: a value of 'keypoints' is not a number"),
            ({"keypoints": {}}, r"\[0\]: 'keypoints' is no list"),
            ({"keypoints": None}, r"\[0\]: 'keypoints' is no list"),
            ({"keypoints": [10**400] * 42}, r"\[0\]: a value of 'keypoints' is not a number"),
            ({"keypoints": [1] * 51}, r"\[0\]: 51 values in 'keypoints', expected 3 x 14"),
        ],
    )
    def test_refused(self, tmp_path, joints, fields, words):
        poses = [{"image_id": 1001, "score": 0.5, "keypoints": [1.0] * 42, **fields}]
        with pytest.raises(DataError, match=words):
            score_lsp(joints[0], written(tmp_path / "poses.json", poses))


@pytest.mark.parametrize("threshold", ["nan", "-1", "0", "inf"])
def test_thresholds_that_are_none(truth, threshold):
    words = ["score", "pck", "--ground-truth", truth, "--predictions", truth, "--threshold", threshold]
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 2
    assert "give a number above 0" in " ".join(result.output.split())
