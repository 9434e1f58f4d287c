"""Every verb of the command line, in this process, on a tiny synthetic set."""

import json
import os
import re
import shutil

import cv2
import numpy as np
import pytest
import typer
from calls import call
from networks import two_convolutions_in_place_of_p2net

from p2net_tf.augment.schedule import Knot, PolicySchedule, Share
from p2net_tf.cli import app
from p2net_tf.data.samples import DataError
from p2net_tf.experiments.opened_run import load_run
from p2net_tf.experiments.runs import report_run
from p2net_tf.utils.exceptions import UserError

CONFIG = """
data:
  train: [{{format: synthetic, root: {root}, split: train, size: 10, seed: 1}}]
  test: [{{format: synthetic, root: {root}, split: test, size: 4, seed: 2}}]
model:
  {{backbone: small, backbone_blocks: 1, input_size: [64, 64], width: 8, backbone_width: 8, exchange_units: 1,
    refine_bottlenecks: [0, 0, 0, 1]}}
training: {{epochs: 1, batch_size: 4, learning_rate: 1.0e-3}}
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    root = tmp_path_factory.mktemp("people")
    path = root / "p2net_tiny_synthetic_64x64.yaml"
    path.write_text(CONFIG.format(root=root), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run_folder(config):
    """One trained run, of two convolutions, that the verbs after it share."""
    folder = config.parent / "run"
    with two_convolutions_in_place_of_p2net():
        result = call("train", config, "--out", folder, "--json")
    return folder, json.loads(result.stdout)


def test_train_writes_the_run_folder_and_json(run_folder):
    folder, report = run_folder
    networks = ["best.keras", "last.keras", "checkpoints", "config.yaml"]
    results = ["curves.png", "overlays.jpg", "predictions.json", "report.html", "report.json"]
    for name in [*networks, *results, "history.csv", "problems.json", "tensorboard"]:
        assert (folder / name).exists(), name
    assert report == json.loads((folder / "report.json").read_text())
    assert set(report["headline"]) == {"AP", "AP50", "AR"}
    assert report["title"] == "p2net_tiny_synthetic_64x64"


def test_train_refuses_to_write_over_a_run(run_folder, config):
    with pytest.raises(DataError, match="already holds a run; resume it"):
        call("train", config, "--out", run_folder[0])


def test_evaluate_repeats_the_score_of_the_training(run_folder):
    folder, report = run_folder
    scores = json.loads(call("evaluate", folder, "--json").stdout)
    assert scores["AP"] == report["result"]["AP"]
    assert scores["predictions"] == report["result"]["predictions"] > 0


def test_evaluate_says_the_precision_that_was_asked_for(run_folder):
    folder, report = run_folder
    scores = json.loads(call("evaluate", folder, "--precision", "float32", "--json").stdout)
    assert scores["precision"] == {"precision": "float32", "why": "as it was asked for"}
    assert scores["AP"] == report["result"]["AP"]
    # Two convolutions are a network of others, which is as it was written.
    with pytest.raises(UserError, match="mixed_bfloat16 is for the networks of p2net_tf.models"):
        call("evaluate", folder, "--precision", "mixed_bfloat16")


@pytest.mark.slow
def test_evaluate_takes_overrides(run_folder):
    result = call("evaluate", run_folder[0], "evaluation.decode=dark", "evaluation.flip_test=false")
    assert "OKS AP" in result.stdout


@pytest.mark.slow
def test_evaluate_splits_the_errors(run_folder, tmp_path):
    options = ["--errors", "--out", tmp_path / "out"]
    found = json.loads(call("evaluate", run_folder[0], *options, "--json").stdout)
    assert found["errors"]["original"]["AP"] == found["AP"] == run_folder[1]["result"]["AP"]
    people = found["errors"]["matched_persons"] + found["errors"]["missed_persons"]
    assert people == found["persons"] > 0
    for name in ["errors.html", "errors.json", "errors_ap.png", "errors_keypoints.png", "predictions.json"]:
        assert (tmp_path / "out" / name).stat().st_size > 1000
    with pytest.raises(UserError, match="evaluation.metric is pck; add evaluation.metric=oks_ap"):
        call("evaluate", run_folder[0], "evaluation.metric=pck", "--errors")


def test_predict_writes_overlays_and_coco_results(run_folder, config, tmp_path):
    folder, _ = run_folder
    images = sorted((config.parent / "test").glob("*.jpg"))[:2]
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    options = ["--model", folder, "--whole-image", "--out", tmp_path / "out", "--json"]
    result = call("predict", *images, broken, *options)
    poses = json.loads(result.stdout)
    assert [pose["image_id"] for pose in poses] == [1, 2]
    assert np.shape([pose["keypoints"] for pose in poses]) == (2, 51)
    assert len(list((tmp_path / "out").glob("*.jpg"))) == 2


def test_predict_takes_a_box_and_a_file_of_boxes(run_folder, config, tmp_path):
    folder, _ = run_folder
    image = config.parent / "test" / "000000000001.jpg"
    boxes = tmp_path / "boxes.json"
    entries = [{"image_id": 1, "bbox": [10, 20, 80, 160], "score": 0.5}] * 2
    boxes.write_text(json.dumps([*entries, {"image_id": 7, "bbox": [0, 0, 5, 5]}]))
    one = json.loads(
        call(
            "predict", image, "--model", folder, "--boxes", "10,20,80,160", "--out", tmp_path, "--json"
        ).stdout
    )
    two = json.loads(
        call("predict", image, "--model", folder, "--boxes", boxes, "--out", tmp_path, "--json").stdout
    )
    assert one[0]["box"] == [10, 20, 80, 160]
    assert len(two) == 2
    np.testing.assert_allclose(two[0]["keypoints"][:2], one[0]["keypoints"][:2], atol=2e-3)
    np.testing.assert_allclose(two[0]["score"], 0.5 * one[0]["score"], rtol=1e-5)


@pytest.mark.slow
def test_every_source_of_a_part_is_scored_under_its_name(run_folder, config, tmp_path):
    """By the verb and by the report; each with the score that it has alone."""
    folder, root = tmp_path / "run", config.parent
    shutil.copytree(run_folder[0], folder)
    one, two = (f"{{format: coco, root: {root}, split: {split}}}" for split in ("test", "train"))
    names = [f"{root.name}_test", f"{root.name}_train"]
    both = f"data.test=[{one}, {two}]"
    found = json.loads(call("evaluate", folder, both, "--errors", "--out", tmp_path / "out", "--json").stdout)
    alone = [json.loads(call("evaluate", folder, f"data.test=[{x}]", "--json").stdout) for x in (one, two)]
    assert list(found) == names
    assert [found[name]["AP"] for name in names] == [scores["AP"] for scores in alone]
    assert found[names[0]]["persons"] != found[names[1]]["persons"]
    report = report_run(load_run(folder, [both]), {})
    headline = {f"{label}, {name}" for label in ("AP", "AP50", "AR") for name in names}
    assert set(report["headline"]) == headline and next(iter(report["headline"])) == f"AP, {names[0]}"
    assert {name: scores["AP"] for name, scores in report["results"].items()} == {
        name: scores["AP"] for name, scores in found.items()
    }
    assert set(report["scores"]) == {*(f"OKS AP, {name}" for name in names), "Run"}
    for name, scores in found.items():
        for place in (tmp_path / "out", folder):
            people = json.loads((place / name / "predictions.json").read_text())
            assert len(people) == scores["predictions"]
        assert (tmp_path / "out" / name / "errors.html").is_file()
    printed = call("evaluate", folder, both).stdout
    assert all(f"{name}:" in printed for name in names)


@pytest.mark.parametrize("boxes", ["10,20,80", "a,b,c,d", "0,0,-5,5", "nan,0,5,5"])
def test_predict_says_what_is_wrong_with_a_box(run_folder, config, tmp_path, boxes):
    image = config.parent / "test" / "000000000001.jpg"
    with pytest.raises(DataError, match="^boxes '"):
        call("predict", image, "--model", run_folder[0], "--boxes", boxes, "--out", tmp_path)


@pytest.mark.slow
def test_info_counts_what_the_papers_count():
    summary = json.loads(call("info", "p2net_small_lsp_128x128", "--json").stdout)
    assert summary["output_shapes"]["heatmaps"] == [32, 32, 14]
    parts = summary["sub_networks"].values()
    assert summary["parameters"] == sum(part["parameters"] for part in parts)
    assert summary["multiply_adds"] == sum(part["multiply_adds"] for part in parts)
    # SimpleBaseline on ResNet-50: 34.0 M parameters and 8.9 GFLOPs in the papers' tables.
    printed = call("info", "simple_baseline_resnet50_coco_256x192").stdout
    gflops = re.search(r"5\.20 G multiply-adds .*; (\d+\.\d\d) GFLOPs as tables of papers count", printed)
    assert float(gflops[1]) == pytest.approx(8.9, rel=0.02)


def test_data_check_lists_broken_items(run_folder, config, tmp_path):
    root = tmp_path / "copy"
    call("data", "render", root, "--images", 3, "--split", "train")
    (root / "train" / "000000000002.jpg").write_bytes(b"broken")
    report = json.loads(call("data", "check", root, "--out", tmp_path / "problems.json", "--json").stdout)
    assert report["errors"] == 1
    assert report["problems"][0]["file"].endswith("000000000002.jpg")
    assert (report.pop("people"), report.pop("usable")) == (6, 5)
    assert report == json.loads((tmp_path / "problems.json").read_text())
    call("data", "check", root, "--out", tmp_path / "problems.json", "--strict", code=1)
    with pytest.raises(UserError, match="has no category 'dog'"):
        call("data", "check", root, "category=dog")
    with pytest.raises(UserError, match="boxes: found text 'xyxyz'"):
        call("data", "check", root, "boxes=xyxyz")


def test_data_browse_and_convert(run_folder, config, tmp_path):
    root = config.parent
    call("data", "browse", root, "--split", "test", "--count", 3, "--out", tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").stat().st_size > 10_000
    call("data", "to-records", root, "--split", "test", "--out", tmp_path / "shards")
    header = json.loads((tmp_path / "shards" / "records.json").read_text())
    people = json.loads((root / "annotations" / "person_keypoints_test.json").read_text())["annotations"]
    assert header["count"] == len(people)


def test_policy_list_names_policies_and_operations():
    found = json.loads(call("policy", "list", "--json").stdout)
    sizes = {row["name"]: (row["sub_policies"], row["stages"]) for row in found["policies"]}
    assert sizes == {"none": (1, 1), "hand_crafted": (1, 2), "random": (121, 2), "paper": (3, 2)}
    assert [row["name"] for row in found["operations"]][:2] == ["Identity", "TranslateX"]
    table = call("policy", "list").stdout
    assert all(row["name"] in table for part in found.values() for row in part)


def test_policy_show_writes_a_sheet(tmp_path):
    out = tmp_path / "sheet.png"
    call("data", "render", tmp_path, "--images", 2)
    options = ["--root", tmp_path, "--columns", 3, "--out", out]
    assert "3 of 3 sub-policies" in call("policy", "show", "paper", *options).stdout
    assert out.stat().st_size > 10_000


@pytest.fixture
def schedule(tmp_path):
    """A folder with a schedule, as a run leaves it."""
    knots = [Knot(0, [Share("Rotate", 0.5, 5, 5)]), Knot(1, [Share("Equalize", 1, 0)])]
    PolicySchedule(name="mine", draws=3, knots=knots).save(tmp_path / "run/policy.yaml")
    return tmp_path / "run"


def test_policy_list_tells_a_schedule_from_a_policy(schedule):
    row = json.loads(call("policy", "list", schedule, "--json").stdout)["policies"][-1]
    assert row == {"name": "mine", "form": "schedule", "summary": "", "draws": 3, "knots": 2}
    assert "schedule, 3 draws, 2 knots" in call("policy", "list", schedule).stdout


def test_policy_show_draws_a_schedule_with_people_and_without(schedule, tmp_path):
    chart, sheet = tmp_path / "chart.png", tmp_path / "sheet.png"
    found = json.loads(call("policy", "show", schedule, "--out", chart, "--json").stdout)
    assert [(x["moment"], x["progress"], x["strength"]) for x in found["moments"]] == [
        ("start", 0, 1.5),
        ("middle", 0.5, 2.25),
        ("end", 1, 3),
    ]
    middle = found["moments"][1]["shares"]
    assert [(x["operation"], x["share"], x["mean_level"]) for x in middle] == [
        ("Rotate", 0.25, 5),
        ("Equalize", 0.5, 0),
    ]
    call("data", "render", tmp_path, "--images", 2)
    said = call("policy", "show", schedule, "--root", tmp_path, "--columns", 3, "--out", sheet).stdout
    assert "schedule of 3 draws and 2 knots" in said and "0.25 (5.0)" in said and "2.25" in said
    alone, whole = cv2.imread(str(chart)), cv2.imread(str(sheet))
    np.testing.assert_array_equal(whole[: len(alone), : alone.shape[1]], alone)
    assert len(whole) > len(alone) + 3 * 256  # three rows of crops


def test_policy_show_wants_people_for_a_policy():
    assert "a policy is shown on people" in call("policy", "show", "paper", code=2).output


@pytest.mark.parametrize(
    ("data_set", "truth", "predictions", "expected"),
    [
        ("lsp", "lsp/joints.mat", "lsp_cpm_predictions/LSP_prediction_model_MPII_LSP_6s.mat", 90.50),
        ("mpii", "mpii_val/gt_valid.mat", "mpii_val/hg_s2_b1_predictions.mat", 87.299),
    ],
)
def test_score_prints_the_published_figures(data_root, data_set, truth, predictions, expected):
    result = call(
        "score",
        data_set,
        "--ground-truth",
        data_root / truth,
        "--predictions",
        data_root / predictions,
        "--json",
    )
    assert round(json.loads(result.stdout)["total"], 3) == expected


@pytest.mark.slow
def test_score_splits_the_errors_of_published_poses(data_root, tmp_path):
    folder = data_root / "oks_example"
    files = ["--ground-truth", folder / "annotations.json", "--predictions", folder / "predictions.json"]
    pictures = ["--images", data_root / "coco_tiny/val2017", "--out", tmp_path]
    shown = call("score", "coco", *files, "--errors", *pictures).stdout
    assert "0.86089" in shown and "12 of 12 persons" in shown
    assert (tmp_path / "errors_worst.jpg").stat().st_size > 50_000
    found = json.loads(call("score", "coco", *files, "--errors", "--json").stdout)
    assert found["errors"]["keypoints"]["total"]["labeled"] == 181
    for wrong in (["lsp", *files, "--errors"], ["coco", *files, "--out", tmp_path]):
        assert "--errors" in call("score", *wrong, code=2).output


def verbs(command, words=()):
    """The words of every verb, those of groups included."""
    if not hasattr(command, "commands"):
        return [words]
    return [verb for name, below in command.commands.items() for verb in verbs(below, (*words, name))]


@pytest.mark.parametrize("verb", verbs(typer.main.get_command(app)), ids=" ".join)
def test_every_verb_has_an_example_of_itself_in_its_help(verb):
    (example,) = re.findall(r"Examples?: (.*)", " ".join(call(*verb, "--help").stdout.split()))
    assert f"p2net {' '.join(verb)}" in example


def test_a_lost_worker_has_an_exit_code_of_its_own(monkeypatch, capsys):
    from p2net_tf import cli
    from p2net_tf.training.cluster import WorkerLostError

    def lose_a_worker():
        raise WorkerLostError("worker 1 at host1:2222 is gone")

    monkeypatch.setattr(cli, "app", lose_a_worker)
    with pytest.raises(SystemExit) as exit_info:
        cli.main()
    assert exit_info.value.code == 76
    assert "error worker 1 at host1:2222 is gone" in capsys.readouterr().err


def test_errors_are_one_line_without_a_traceback(monkeypatch, capsys, tmp_path):
    from p2net_tf import cli

    monkeypatch.setattr("sys.argv", ["p2net", "info", os.fspath(tmp_path / "nothing.yaml")])
    with pytest.raises(SystemExit) as exit_info:
        cli.main()
    error = capsys.readouterr().err
    assert exit_info.value.code == 2
    assert "nothing.yaml" in error
    assert "Traceback" not in error
