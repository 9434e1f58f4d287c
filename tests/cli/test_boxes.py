"""Boxes at the command line: sets are checked, stored boxes scored, detectors evaluated."""

import json

import keras
import pytest
import yaml
from tiny_detectors import tiny_detector

from p2net_tf.data import picture_check
from p2net_tf.data.samples import DataError
from p2net_tf.detection.card import DetectorCard
from p2net_tf.detection.detector import NetworkDetector, WholeImageDetector
from p2net_tf.experiments import detector_runs
from p2net_tf.experiments.run_folder import RunError
from p2net_tf.inference.keras_file import NetworkFileError
from p2net_tf.utils.yaml_files import ConfigError
from tests.data.boxes.box_sets import coco_document, write_coco, write_voc, write_yolo
from tests.evaluation.boxes.perturbed import perturbed_boxes
from tests.test_cli import call


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_coco(tmp_path_factory.mktemp("boxes"))


class TestCheck:
    @pytest.mark.parametrize("write", [write_coco, write_voc, write_yolo])
    def test_sets_are_recognised(self, tmp_path, monkeypatch, write):
        monkeypatch.setattr(picture_check, "unreadable_images", lambda paths, turn: {})
        problems = tmp_path / "problems.json"
        report = json.loads(
            call("data", "check", write(tmp_path / "set"), "--out", problems, "--json").stdout
        )
        names = {write_coco: "boxes", write_voc: "voc", write_yolo: "yolo"}
        assert report["format"] == names[write]
        assert (report["pictures"], report["usable"], report["usable_boxes"]) == (4, 4, 6)
        assert (report["without_boxes"], report["classes"], report["errors"]) == (1, {"person": 6}, 0)

    def test_broken_items_are_listed(self, tmp_path):
        root = write_yolo(tmp_path / "set")
        (root / "images/train/a.png").write_bytes(b"")
        (root / "labels/train/b.txt").write_text("0 1 2 three 4\n")
        problems = tmp_path / "problems.json"
        text = call("data", "check", root, "--out", problems, "--classes", "all").stdout
        assert "read as boxes of YOLO's form, by its files" in text
        assert "2 of 4 pictures with 3 of 5 boxes are usable, 1 of them without any" in text
        kinds = [problem["kind"] for problem in json.loads(problems.read_text())["problems"]]
        assert sorted(kinds) == ["image_broken", "label_line"]
        call("data", "check", root, "--out", problems, "--strict", code=1)

    def test_what_is_read_in_a_wrong_form_is_refused(self, tmp_path):
        document = coco_document()
        for entry in document["annotations"]:
            entry["bbox"] = [value / 1000 for value in entry["bbox"]]
        root, problems = write_coco(tmp_path / "set", document), tmp_path / "problems.json"
        with pytest.raises(DataError, match="set coordinates: normalized"):
            call("data", "check", root, "--out", problems)
        with pytest.raises(ConfigError, match="coordinates: found text 'inches'"):
            call("data", "check", root, "coordinates=inches", "--out", problems)
        with pytest.raises(DataError, match="has none of the classes cat"):
            call("data", "check", root, "--classes", "cat", "--out", problems)

    def test_people_are_boxes_too_where_asked(self, data_root, tmp_path):
        options = ("--split", "val2017", "--json", "--out", tmp_path / "problems.json")
        root = data_root / "coco_tiny"
        assert json.loads(call("data", "check", root, *options).stdout)["people"] == 12
        report = json.loads(call("data", "check", root, "--format", "boxes", *options).stdout)
        assert report["boxes"] == 14


def test_browse(tmp_path):
    root, sheet = write_voc(tmp_path / "set"), tmp_path / "sheet.png"
    text = call("data", "browse", root, "--count", "3", "--out", sheet).stdout
    assert "3 of 4 pictures" in text
    assert sheet.is_file()


class TestScore:
    @pytest.fixture(scope="class")
    def files(self, folder, tmp_path_factory):
        path = tmp_path_factory.mktemp("found") / "found.json"
        path.write_text(json.dumps(perturbed_boxes(coco_document(), 2)))
        truth = folder / "annotations/instances_train.json"
        return "--ground-truth", truth, "--predictions", path

    def test_numbers(self, files):
        report = json.loads(call("score", "boxes", *files, "--json", "--score-limit", "0.4").stdout)
        assert 0 < report["AP"] < 1
        assert report["at_limit"]["limit"] == 0.4
        assert list(report["classes"]) == ["person"]
        assert "box AP, IoU" in call("score", "boxes", *files).stdout

    def test_errors(self, files, folder, tmp_path):
        out = tmp_path / "errors"
        text = call("score", "boxes", *files, "--errors", "--out", out, "--images", folder / "train").stdout
        assert "AP50 gained" in text
        names = {path.name for path in out.iterdir()}
        assert {"errors.html", "errors.json", "errors_boxes.png"} <= names
        assert any(name.endswith(".jpg") for name in names)

    @pytest.mark.parametrize(
        "options",
        [("--threshold", "0.2"), ("--skeleton", "lsp14"), ("--max-people", "3"), ("--reference", "a,b")],
    )
    def test_options_of_others(self, files, options):
        assert call("score", "boxes", *files, *options, code=2)

    def test_the_limit_is_that_of_boxes(self, files):
        assert "belongs to boxes" in call("score", "coco", *files, "--score-limit", "0.3", code=2).output

    @pytest.mark.parametrize("limit", ["nan", "inf"])
    def test_a_limit_that_no_score_has(self, files, limit):
        assert "give a finite number" in call("score", "boxes", *files, "--score-limit", limit, code=2).output


class TestEvaluate:
    @pytest.fixture(scope="class")
    def detector(self, tmp_path_factory):
        keras.utils.set_random_seed(0)
        network = tiny_detector("one_stage", score_threshold=0.0)
        path = tmp_path_factory.mktemp("detector") / "best.keras"
        card = DetectorCard(shorter_side=64, longer_side=96, score_threshold=0.0)
        NetworkDetector(network, card).save(path)
        return path

    @pytest.fixture(params=["stub", pytest.param("network", marks=pytest.mark.slow)])
    def finds(self, request, monkeypatch):
        """Whether the network itself is asked, which takes long to trace, or one that takes no time."""
        if request.param == "stub":
            monkeypatch.setattr(detector_runs.NetworkDetector, "load", lambda path: WholeImageDetector())

    def test_a_file_on_a_folder(self, detector, finds, folder, tmp_path):
        options = ("--data", folder, "--out", tmp_path, "--errors", "--json")
        report = json.loads(call("evaluate", detector, "split=train", *options).stdout)
        assert report["pictures"]["scored"] == report["images"] == 4
        assert report["predictions"] > 0
        assert set(report["errors"]["errors"]) == {"missed", "doubled", "loose", "background"}
        assert (tmp_path / "errors.html").is_file()
        assert json.loads((tmp_path / "problems.json").read_text())["errors"] == 0
        files = (
            "--ground-truth",
            tmp_path / "ground_truth.json",
            "--predictions",
            tmp_path / "predictions.json",
        )
        again = json.loads(call("score", "boxes", *files, "--json").stdout)
        assert {name: report[name] for name in again} == again

    def test_a_run_folder(self, detector, finds, folder, tmp_path):
        """With the data of its configuration, whatever else that holds."""
        source = {"root": str(folder), "rows": [0, 2]}
        test = [source, {"format": "voc", "root": "${VOC_OF_THIS_TEST:-nowhere}"}]
        config = {"name": "x", "data": {"test": test, "validation": [source]}, "model": {"name": "one_stage"}}
        (detector.parent / "config.yaml").write_text(yaml.safe_dump(config))
        report = json.loads(call("evaluate", detector.parent, "--part", "validation", "--json").stdout)
        assert report["images"] == 2
        voc = write_voc(tmp_path / "voc")
        words = f"data.test.1.root={voc}", "data.test.0.rows=null"
        report = json.loads(
            call("evaluate", detector.parent, *words, "--json", "--out", tmp_path / "out").stdout
        )
        assert [found["images"] for found in report.values()] == [4, 4]
        assert len(list((tmp_path / "out").glob("*/predictions.json"))) == 2
        with pytest.raises(RunError, match="has no data.train; take test, validation or train"):
            call("evaluate", detector, "--part", "train")
        with pytest.raises(ConfigError, match="unknown key 'skeleton'"):
            call("evaluate", detector, "data.validation.0.skeleton=x", "--part", "validation")

    def test_the_card_says_how_a_detector_is_asked(self, detector):
        with pytest.raises(ConfigError, match="asked as its card says; change data"):
            call("evaluate", detector, "evaluation.score_threshold=0.3")

    def test_no_data(self, detector, tmp_path):
        lonely = tmp_path / "lonely.keras"
        lonely.write_bytes(detector.read_bytes())
        with pytest.raises(
            RunError, match="no config.yaml beside it says which data it is for; name the data"
        ):
            call("evaluate", lonely)
        with pytest.raises(DataError, match="no such folder"):
            call("evaluate", lonely, "--data", tmp_path / "nowhere")
        with pytest.raises(NetworkFileError, match="no run folder with best.keras"):
            call("evaluate", tmp_path / "nowhere.keras", "--data", tmp_path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ("--part", "validation"),
            "--part is of a configuration; of the folder of --data take split=validation",
        ),
        (("--config", "mine.yaml"), "give one of --data and --config"),
    ],
)
def test_what_does_not_go_with_a_folder(tmp_path, options, words):
    said = call("evaluate", "detector.keras", "--data", tmp_path, *options, code=2).output
    assert words in " ".join(said.replace("│", " ").split())
