"""PCK of files in COCO's form: who gets which pose, and what it scores by hand."""

import json

import numpy as np
import pytest
from scipy.io import loadmat
from typer.testing import CliRunner

from p2net_tf.cli import app
from p2net_tf.data.samples import DataError
from p2net_tf.evaluation.stored import score_lsp, score_pck
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.utils.console import be_quiet

CARD = """
name: stick
keypoints: [left_shoulder, right_hip, hand]
sigmas: [0.1, 0.1, 0.1]
flip_pairs: []
upper_body: []
limbs: []
"""


@pytest.fixture
def files(tmp_path):
    """`files(people, poses)` writes both, of which a person is `(image id, [[x, y, v], ...])`."""

    def write(people, poses):
        annotations = [
            {
                "id": row,
                "image_id": image,
                "category_id": 1,
                "area": 10000,
                "keypoints": np.ravel(points).tolist(),
            }
            for row, (image, points) in enumerate(people, 1)
        ]
        images = [{"id": image} for image in sorted({image for image, _ in people})]
        content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}
        results = [
            {
                "image_id": image,
                "category_id": 1,
                "keypoints": np.ravel(points).tolist(),
                "score": score,
                **more,
            }
            for image, points, score, more in poses
        ]
        paths = [tmp_path / name for name in ("truth.json", "poses.json", "stick.yaml")]
        for path, text in zip(paths, (json.dumps(content), json.dumps(results), CARD), strict=True):
            path.write_text(text)
        return paths

    return write


def stick(x, hand=0.0):
    """A torso of 100 pixels from (x, 0) downward, and a hand beside it, `hand` pixels off."""
    return [[x, 0, 2], [x, 100, 2], [x + 50 + hand, 50, 2]]


def rate(paths, **options) -> float:
    return score_pck(paths[0], paths[1], paths[2], **options).total


def test_a_hit_is_within_a_fifth_of_the_torso(files):
    for off, expected in ((20, 100), (20.001, 200 / 3)):
        assert rate(files([(7, stick(0))], [(7, stick(0, off), 0.5, {})])) == pytest.approx(expected)


def test_threshold_and_reference_are_those_asked_for(files):
    """From shoulder to hand there are sqrt(5000) = 70.7 pixels: 0.3 of it is 21.2."""
    paths = files([(7, stick(0))], [(7, stick(0, 21), 0.5, {})])
    assert rate(paths) == rate(paths, threshold=0.2) == pytest.approx(200 / 3)
    assert rate(paths, threshold=0.3, reference=("left_shoulder", "hand")) == 100
    assert rate(paths, threshold=0.29, reference=("left_shoulder", "hand")) == pytest.approx(200 / 3)
    paths[2].write_text(CARD + "pck_reference: [left_shoulder, hand]\n")
    assert rate(paths, threshold=0.29) == pytest.approx(200 / 3)
    assert Skeleton.load(paths[2]).pck_reference == ("left_shoulder", "hand")
    assert Skeleton.from_card(Skeleton.load(paths[2]).to_card()) == Skeleton.load(paths[2])


def test_one_person_gets_the_best_pose_wherever_it_is(files):
    poses = [(7, stick(0), 0.5, {}), (7, stick(1000), 0.9, {})]
    assert rate(files([(7, stick(0))], poses)) == 0


def test_people_side_by_side_get_their_own(files):
    """The best pose is of nobody, and the second best of the second person."""
    people = [(7, stick(0)), (7, stick(300)), (8, stick(0))]
    poses = [
        (7, stick(5000), 0.9, {}),
        (7, stick(300), 0.8, {}),
        (7, stick(0), 0.1, {}),
        (9, stick(0), 1, {}),
    ]
    assert rate(files(people, poses)) == pytest.approx(100 * 6 / 9)  # nobody found the one of picture 8


def test_a_pose_may_say_whose_it_is(files):
    people = [(7, stick(0)), (7, stick(300))]
    poses = [(7, stick(0), 0.9, {"annotation_id": 2}), (7, stick(300), 0.8, {"annotation_id": 1})]
    assert rate(files(people, poses)) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reference": ("left_shoulder", "foot")}, "the card 'stick' has no foot"),
        ({"reference": ("hand",)}, "give two keypoints, such as left_shoulder,right_hip"),
        ({"reference": ("hand", "hand")}, "give two keypoints"),
    ],
)
def test_a_reference_that_is_none(files, options, message):
    with pytest.raises(DataError, match=message):
        rate(files([(7, stick(0))], []), **options)


def test_files_that_do_not_fit(files):
    with pytest.raises(DataError, match=r"poses.json: none of its image ids \(e.g. 9\) has a person"):
        rate(files([(7, stick(0))], [(9, stick(0), 1, {})]))
    no_hip = [[0, 0, 2], [0, 100, 0], [50, 50, 2]]
    with pytest.raises(
        DataError, match="truth.json: none of 1 people has left_shoulder and right_hip labeled"
    ):
        rate(files([(7, no_hip)], [(7, stick(0), 1, {})]))


def test_the_verb(files):
    truth, poses, card = files([(7, stick(0))], [(7, stick(0, 21), 0.5, {})])
    words = ["score", "pck", "--ground-truth", truth, "--predictions", poses, "--skeleton", card, "--json"]
    words += ["--reference", "left_shoulder, hand", "--threshold", 0.3]
    result = CliRunner().invoke(app, [str(word) for word in words])
    be_quiet(False)
    assert json.loads(result.stdout)["total"] == 100


@pytest.mark.parametrize("ids", ["numbers", "names"])
def test_lsp_reads_results_in_cocos_form(data_root, tmp_path, ids):
    """The published predictions of CPM, 1-based, as results 0-based: PCK 90.50; in any order."""
    mat = "lsp_cpm_predictions/LSP_prediction_model_MPII_LSP_6s.mat"
    published = loadmat(data_root / mat)["prediction_all"].transpose(2, 0, 1)
    results = []
    for row, keypoints in enumerate(published):
        where = (
            {"image_id": 1001 + row}
            if ids == "numbers"
            else {"image_id": row, "file_name": f"im{1001 + row}.jpg"}
        )
        triples = np.column_stack([keypoints - 1.0, np.ones(14)])
        results.append({**where, "category_id": 1, "keypoints": triples.ravel().tolist(), "score": 0.5})
        results.append({**results[-1], "keypoints": [0.0] * 42, "score": 0.1})
    (tmp_path / "p.json").write_text(json.dumps(results[::-1]))
    assert round(score_lsp(data_root / "lsp/joints.mat", tmp_path / "p.json").total, 6) == 90.50
    (tmp_path / "p.json").write_text(json.dumps(results[:-2]))
    assert score_lsp(data_root / "lsp/joints.mat", tmp_path / "p.json").missing == 14
    (tmp_path / "p.json").write_text(json.dumps([{**results[0], "image_id": 7, "file_name": None}]))
    with pytest.raises(DataError, match=r"p.json: \[0\]: image id 7 is no picture of LSP's test part"):
        score_lsp(data_root / "lsp/joints.mat", tmp_path / "p.json")
