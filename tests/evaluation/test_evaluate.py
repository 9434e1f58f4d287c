"""From a data source of the configuration to its score, with an oracle in place of the network."""

import json
import shutil

import numpy as np
import pytest

from p2net_tf.data.coco import from_coco_keypoints
from p2net_tf.data.datasets import read_dataset
from p2net_tf.data.samples import DataError
from p2net_tf.data.settings import DatasetConfig
from p2net_tf.data.synthetic.render import SceneOptions, write_synthetic
from p2net_tf.evaluation import evaluate as module
from p2net_tf.evaluation.coco import CocoResult
from p2net_tf.evaluation.error_analysis.analysis import analyze_errors
from p2net_tf.evaluation.evaluate import evaluate
from p2net_tf.evaluation.people import People
from p2net_tf.evaluation.settings import EvaluationConfig
from p2net_tf.inference.card import InferenceCard
from p2net_tf.inference.test_recipe import Predictions
from p2net_tf.skeletons.skeleton import Skeleton


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    root = tmp_path_factory.mktemp("rendered")
    write_synthetic(root, 8, seed=4, split="test", options=SceneOptions(height=128, width=128))
    return root


def source(root, **fields) -> DatasetConfig:
    return DatasetConfig(format="coco", root=str(root), split="test", **fields)


def evaluated(of: DatasetConfig, skeleton: str = "coco17", strict: bool = False, **settings):
    """`evaluate` without a network, which the oracle stands in for."""
    return evaluate(None, card(skeleton), of, EvaluationConfig(**settings), strict)


def card(skeleton: str = "coco17") -> InferenceCard:
    return InferenceCard(skeleton=Skeleton.load(skeleton), input_size=(256, 192))


def boxed_twice(root, folder) -> tuple[list[dict], DatasetConfig]:
    """The persons of the set, and a source of two detector boxes on the first one."""
    persons = json.loads((root / "annotations/person_keypoints_test.json").read_text())["annotations"]
    box = {"image_id": persons[0]["image_id"], "category_id": 1, "bbox": persons[0]["bbox"]}
    (folder / "boxes.json").write_text(json.dumps([{**box, "score": 0.9}, {**box, "score": 0.8}]))
    return persons, source(root, detections=str(folder / "boxes.json"))


@pytest.fixture
def oracle(monkeypatch):
    """`oracle(offset)`: from then on predictions are the truth, moved by `offset` (x, y) image pixels."""

    def install(offset=(0.0, 0.0)):
        def predict(network, samples, card):
            count, keypoints = len(samples), samples.skeleton.num_keypoints
            poses = samples.keypoints[..., :2] + np.float32(offset)
            return Predictions(poses, np.ones((count, keypoints), np.float32), np.linspace(0.9, 0.5, count))

        monkeypatch.setattr(module, "predict", predict)

    return install


class TestOksAp:
    def test_the_truth_scores_1_against_the_annotation_file(self, rendered, oracle):
        oracle()
        found = evaluated(source(rendered))
        assert isinstance(found.result, CocoResult)
        assert found.headline == found.result["AP"] == pytest.approx(1)
        assert found.result["AR"] == pytest.approx(1)
        assert found.result.persons == len(found.samples) > 8
        assert found.problems == ()

    def test_and_against_the_rows_alone(self, rendered, oracle):
        oracle()
        some = source(rendered, rows=(2, 7))
        found = evaluated(some)
        assert found.headline == pytest.approx(1)
        assert (found.result.persons, found.result.predictions, len(found.samples)) == (5, 5, 5)

    def test_both_routes_agree_on_a_moved_prediction(self, rendered, oracle):
        """Pixel indices on one, continuous coordinates on the other: half a pixel apart if mixed up."""
        oracle(offset=(1.5, -1.0))
        everyone = len(evaluated(source(rendered)).samples)
        routes = [source(rendered), source(rendered, rows=(0, everyone))]
        scores = [evaluated(route).result for route in routes]
        assert 0.1 < scores[0]["AP"] < 0.99
        # The file rounds keypoints to 0.01 px.
        assert scores[1]["AP"] == pytest.approx(scores[0]["AP"], abs=0.02)

    def test_people_without_prediction_are_missed(self, rendered, oracle, tmp_path):
        """A broken image is set aside, not left out of the score."""
        root = shutil.copytree(rendered, tmp_path / "set")
        annotations = json.loads((root / "annotations/person_keypoints_test.json").read_text())["annotations"]
        broken = min(annotations, key=lambda entry: entry["image_id"])["image_id"]
        (root / f"test/{broken:012d}.jpg").unlink()
        lost = sum(entry["image_id"] == broken for entry in annotations)
        oracle()
        found = evaluated(source(root))
        assert [problem.kind for problem in found.problems] == ["image_missing"]
        assert found.result.persons == len(annotations)
        assert found.result.predictions == len(annotations) - lost
        assert found.result["AR"] == pytest.approx(1 - lost / len(annotations))

    @pytest.mark.parametrize("nms", ["oks", "soft_oks"])
    def test_suppression_keeps_different_people(self, rendered, oracle, nms):
        oracle()
        found = evaluated(source(rendered), nms=nms)
        assert found.headline == pytest.approx(1)

    @pytest.mark.parametrize(("nms", "left"), [(None, 2), ("oks", 1)])
    def test_suppression_removes_a_second_pose_of_the_same_person(
        self, rendered, oracle, tmp_path, nms, left
    ):
        """Detector boxes: two on one person give the same pose twice."""
        _, detected = boxed_twice(rendered, tmp_path)
        oracle()  # detections have no truth: both poses are all zero, so equal
        found = evaluated(detected, nms=nms)
        assert found.result.predictions == left
        assert len(found.samples) == 2

    @pytest.mark.parametrize(("nms", "left"), [(None, 2), ("oks", 1)])
    def test_errors_are_those_of_the_poses_that_are_scored(self, rendered, oracle, tmp_path, nms, left):
        """Detector boxes have no truth: it comes from the annotation file, in its own coordinates."""
        persons, detected = boxed_twice(rendered, tmp_path)
        person = persons[0]
        samples = read_dataset(detected, "coco17")
        poses = from_coco_keypoints(np.reshape(person["keypoints"], (17, 3)))[:, :2]
        predictions = Predictions(np.stack([poses, poses]), np.ones((2, 17)), np.array([0.9, 0.8]))
        scorer = module.Scorer(People.of(samples), card(), EvaluationConfig(nms=nms), detected)
        inputs = scorer.oks_inputs(predictions)
        found = analyze_errors(inputs.ground_truth, inputs.results, "coco17")
        assert (len(found.case.poses), len(found.matches.pose_rows), inputs.offset) == (left, 1, 0.5)
        assert found.counts.sum(0).tolist() == [person["num_keypoints"], 0, 0, 0, 0]
        assert found.errors.similarities.max() == 1
        assert found.matches.missed.sum() == len(persons) - 1


class TestPck:
    def test_the_truth_scores_100(self, rendered, oracle):
        oracle()
        found = evaluated(source(rendered), metric="pck")
        assert found.result.name == "PCK@0.2"
        assert found.result.total == 100
        assert found.headline == 1

    def test_far_predictions_score_0(self, rendered, oracle):
        oracle(offset=(1000, 0))
        found = evaluated(source(rendered), metric="pck")
        assert found.headline == 0


class TestPckh:
    def mpii(self, root, **fields):
        return DatasetConfig(format="mpii", root=str(root), split="test_mpii", **fields)

    def evaluated(self, of):
        return evaluated(of, "mpii16", metric="pckh")

    def test_without_head_boxes_the_error_says_so(self, data_root, oracle):
        oracle()
        of = self.mpii(data_root / "mpii_sample")
        with pytest.raises(DataError, match=r"mpii_sample.*has no head boxes.*\.mat"):
            self.evaluated(of)

    @pytest.mark.parametrize(("offset", "rate"), [((0, 0), 1), ((29.9, 0), 1), ((30.1, 0), 0)])
    def test_a_hit_is_within_half_a_head(self, data_root, oracle, monkeypatch, offset, rate):
        """Heads of 60 x 80 pixels: 0.6 x the diagonal of 100, and half of that is 30 pixels."""
        heads = np.tile(np.float32([10, 20, 60, 80]), (5, 1))
        monkeypatch.setattr(module, "read_head_boxes", lambda *_: heads)
        oracle(offset)
        of = self.mpii(data_root / "mpii_sample", rows=(1, 4))
        found = self.evaluated(of)
        assert (found.result.name, found.result.persons, found.headline) == ("PCKh@0.5", 3, rate)

    def test_other_formats_have_no_heads(self, rendered, oracle):
        oracle()
        with pytest.raises(
            DataError, match="PCKh needs the head boxes of MPII; set evaluation.metric to pck"
        ):
            evaluated(source(rendered), metric="pckh")


class TestRefusals:
    def test_people_may_not_count_twice(self, rendered, oracle):
        oracle()
        with pytest.raises(DataError, match="repeat=2 would count people twice"):
            evaluated(source(rendered, repeat=2))

    def test_strict_stops_at_a_broken_item(self, rendered, oracle, tmp_path):
        root = shutil.copytree(rendered, tmp_path / "set")
        path = sorted((root / "test").glob("*.jpg"))[3]
        path.write_bytes(path.read_bytes()[:300])
        oracle()
        with pytest.raises(DataError, match=rf"image_broken: .*{path.name}"):
            evaluated(source(root), strict=True)
