"""Who counts: a lost picture must never raise a score."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from p2net_tf.data.coco import read_coco
from p2net_tf.data.lsp import read_lsp
from p2net_tf.data.samples import DataError
from p2net_tf.data.settings import DatasetConfig
from p2net_tf.data.synthetic.render import SceneOptions, write_synthetic
from p2net_tf.evaluation import evaluate as module
from p2net_tf.evaluation.evaluate import demand_scorable, evaluate
from p2net_tf.evaluation.people import select_people
from p2net_tf.evaluation.settings import EvaluationConfig
from p2net_tf.inference.card import InferenceCard
from p2net_tf.inference.test_recipe import Predictions
from p2net_tf.skeletons.skeleton import Skeleton

COCO = Skeleton.load("coco17")
CARD = InferenceCard(skeleton=COCO, input_size=(256, 192))
FILE = "annotations/person_keypoints_test.json"


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    root = tmp_path_factory.mktemp("rendered")
    write_synthetic(root, 6, seed=4, split="test", options=SceneOptions(height=128, width=128))
    return root


@pytest.fixture
def broken(rendered, tmp_path):
    """The set with one picture gone and one cut off, and how many people that loses."""
    root = shutil.copytree(rendered, tmp_path / "set")
    content = json.loads((root / FILE).read_text())
    gone, cut = content["images"][0], content["images"][3]
    (root / "test" / gone["file_name"]).unlink()
    file = root / "test" / cut["file_name"]
    file.write_bytes(file.read_bytes()[:300])
    lost = sum(entry["image_id"] in (gone["id"], cut["id"]) for entry in content["annotations"])
    return root, len(content["annotations"]), lost


@pytest.fixture(autouse=True)
def oracle(monkeypatch):
    def predict(network, samples, card):
        count, keypoints = len(samples), samples.skeleton.num_keypoints
        scores = np.linspace(0.9, 0.5, count)
        return Predictions(samples.keypoints[..., :2], np.ones((count, keypoints), np.float32), scores)

    monkeypatch.setattr(module, "predict", predict)


def source(root, **fields) -> DatasetConfig:
    return DatasetConfig(format="coco", root=str(root), split="test", **fields)


def found_in(root, skip_missing=False, **settings):
    fields = {name: settings.pop(name) for name in ("rows", "detections") if name in settings}
    return evaluate(None, CARD, source(root, **fields), EvaluationConfig(**settings), False, skip_missing)


@pytest.mark.parametrize(("skip", "counted"), [(False, "all"), (True, "seen")])
@pytest.mark.parametrize("rows", [None, (0, 1000)])
def test_lost_people_are_missed_unless_skipped(broken, skip, counted, rows):
    """The oracle knows everybody it sees: recall is the share of those it could see."""
    root, total, lost = broken
    people = total if counted == "all" else total - lost
    found = found_in(root, skip, rows=rows)
    assert found.result["AR"] == pytest.approx((total - lost) / people)
    assert found.result.persons == people
    pck = found_in(root, skip, rows=rows, metric="pck").result
    assert pck.total == pytest.approx(100 * (1 - pck.missing / sum(pck.counts.values())))
    assert pck.persons == people and (pck.missing > 0) == (counted == "all")


def test_what_was_set_aside_is_said(broken):
    root, total, lost = broken
    found = found_in(root)
    assert found.to_dict()["people"] == {
        "scored": total - lost,
        "of": total,
        "missed": lost,
        "skipped_images": 0,
        "errors": 2,
        "kinds": {"image_missing": 1, "image_broken": 1},
    }
    line = found.people.describe()
    assert line.startswith(f"{total - lost} of {total} scored; set aside: 1 image_missing, 1 image_broken; ")
    assert f"{lost} people count as missed; first: image_missing: " in line and "\n" not in line


def test_nothing_is_said_of_a_whole_set(rendered):
    assert found_in(rendered).people.describe() is None


def test_a_person_with_a_wrong_keypoint_is_neither_asked_about_nor_missed(rendered):
    samples = read_coco(rendered, "test")
    keypoints, boxes = samples.keypoints.copy(), samples.boxes.copy()
    keypoints[0, 3] = [np.nan, 1, 2]
    boxes[1, 2:] = 0
    people = select_people(replace(samples, keypoints=keypoints, boxes=boxes))
    assert people.missed.ids.tolist() == [samples.ids[1]]
    assert people.scored == f"{len(samples) - 2} of {len(samples)}"
    assert {problem.kind for problem in people.errors} == {"keypoint_not_finite", "box_empty"}


def test_boxes_below_the_threshold_are_not_looked_at(rendered, tmp_path):
    content = json.loads((rendered / FILE).read_text())
    boxes = [{**a, "score": score} for a in content["annotations"] for score in (0.8, 0.2)]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    everything, some = (
        found_in(rendered, detections=str(tmp_path / "boxes.json"), box_threshold=limit) for limit in (0, 0.5)
    )
    assert everything.result.predictions == 2 * some.result.predictions == len(boxes)
    with pytest.raises(DataError, match=r"boxes.json: no box of \d+ has a score of 0.9; lower evaluation"):
        found_in(rendered, detections=str(tmp_path / "boxes.json"), box_threshold=0.9)


def test_rows_of_detections_are_pictures(rendered, tmp_path):
    """All people of these pictures are the truth, also those without a box."""
    content = json.loads((rendered / FILE).read_text())
    wanted = [image["id"] for image in content["images"][1:4]]
    inside = [a for a in content["annotations"] if a["image_id"] in wanted]
    boxes = [{**a, "score": 0.8} for a in content["annotations"][::2]]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    found = found_in(rendered, detections=str(tmp_path / "boxes.json"), rows=(1, 4))
    assert found.result.persons == len(inside)
    assert found.result.predictions == sum(box["image_id"] in wanted for box in boxes) < len(inside)
    assert [image["id"] for image in found.scored.ground_truth["images"]] == wanted
    with pytest.raises(DataError, match=r"rows 6..9 of 6 pictures select nothing"):
        found_in(rendered, detections=str(tmp_path / "boxes.json"), rows=(6, 9))


def test_lost_pictures_without_a_box_are_found_too(broken, tmp_path):
    root, total, lost = broken
    content = json.loads((root / FILE).read_text())
    gone = content["images"][0]["id"]
    boxes = [{**a, "score": 0.8} for a in content["annotations"] if a["image_id"] != gone]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    for skip, people in ((False, total), (True, total - lost)):
        found = found_in(root, skip, detections=str(tmp_path / "boxes.json"))
        assert {p.kind for p in found.people.errors} == {"image_missing", "image_broken"}
        assert found.result.persons == people


@pytest.mark.parametrize(
    ("fields", "settings", "message"),
    [
        (
            {"detections": "boxes.json"},
            {"metric": "pck"},
            "boxes.json: evaluation.metric=pck compares a pose",
        ),
        ({"detections": "boxes.json"}, {"metric": "pckh"}, "boxes.json: evaluation.metric=pckh compares"),
        ({"detections": "b.json", "format": "lsp"}, {}, "detections are boxes for a set of the format coco"),
        ({}, {"metric": "pckh"}, "PCKh needs the head boxes of MPII"),
        ({"repeat": 2}, {}, "repeat=2 would count people twice"),
    ],
)
def test_what_cannot_be_scored_is_refused_before_any_data_is_read(fields, settings, message):
    of = DatasetConfig(**{"format": "coco", "root": "nowhere"} | fields)
    with pytest.raises(DataError, match=message):
        demand_scorable(of, EvaluationConfig(**settings), COCO)


def test_truth_that_is_not_there_is_refused_before_predicting(rendered, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "predict", None)
    root = shutil.copytree(rendered, tmp_path / "set")
    content = json.loads((root / FILE).read_text())
    for entry in content["annotations"]:
        entry["keypoints"][3 * 5 + 2] = 0  # every left shoulder
    (root / FILE).write_text(json.dumps(content))
    with pytest.raises(DataError, match="nobody has left_shoulder and right_hip labeled"):
        found_in(root, metric="pck")
    boxes = [{**entry, "score": 0.8} for entry in content["annotations"]]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    for entry in content["annotations"]:
        entry["keypoints"] = [0] * 51
    (root / FILE).write_text(json.dumps(content))
    with pytest.raises(DataError, match="no keypoint is labeled, so there is nothing to score against"):
        found_in(root, detections=str(tmp_path / "boxes.json"))


def test_a_small_lsp_folder_has_no_official_test_part(tmp_path):
    from scipy.io import savemat

    savemat(tmp_path / "joints.mat", {"joints": np.zeros((3, 14, 40))})
    with pytest.raises(
        DataError, match=r"holds 40 pictures.*begins at picture 1001; take split: all, with rows"
    ):
        read_lsp(tmp_path, "test")
    assert len(read_lsp(tmp_path, "all")) == 40
