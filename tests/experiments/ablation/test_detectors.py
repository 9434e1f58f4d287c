"""The axis `detector`: what its values mean, and Table 4's form from one trained estimator."""

import json
from pathlib import Path

import pytest

from p2net_tf.config.loading import dump_config
from p2net_tf.data.synthetic.render import SceneOptions, write_synthetic
from p2net_tf.experiments.ablation import detectors
from p2net_tf.experiments.ablation.axes import parse_axes
from p2net_tf.experiments.ablation.detectors import Source
from p2net_tf.experiments.ablation.run import ablate
from p2net_tf.experiments.cells import ExperimentError

TINY = {
    "backbone": "small",
    "input_size": [32, 32],
    "width": 4,
    "backbone_width": 4,
    "exchange_units": 1,
    "refine_bottlenecks": [0, 0, 0, 1],
}


class TestValues:
    def test_name_boxes_detectors_and_configurations(self, tmp_path):
        boxes = tmp_path / "detnet.json"
        boxes.write_text("[]")
        run = tmp_path / "runs" / "mine"
        run.mkdir(parents=True)
        assert Source.of("truth") == Source("truth")
        assert Source.of(str(boxes)) == Source("detnet", detections=str(boxes))
        assert Source.of(str(run)) == Source("mine", detections=str(run))
        assert Source.of("whole_image") == Source("whole_image", detections="whole_image")
        assert Source.of("hub:retinanet_resnet50").label == "hub_retinanet_resnet50"

    @pytest.mark.parametrize(
        "word, name",
        [
            ("faster_rcnn", "detector_faster_rcnn_resnet50_coco"),
            ("detnet", "detector_detnet59_coco"),
            ("tridentnet", "detector_tridentnet_resnet101_coco"),
            ("detector_detnet59_coco", "detector_detnet59_coco"),
        ],
    )
    def test_a_part_of_a_name_is_enough(self, word, name):
        found = Source.of(word)
        assert (found.label, found.config.stem, found.detections) == (word, name, None)

    @pytest.mark.parametrize(
        "word, said",
        [
            ("fastr_rcnn", "'fastr_rcnn' is no detector"),
            ("resnet", "may be detector_faster_rcnn_resnet50_coco or detector_tridentnet_resnet101_coco"),
            ("coco_tiny_overfit", "is a configuration of poses"),
            ("nowhere/boxes.json", "no file 'nowhere/boxes.json'"),
            ("nowhere/best.keras", "no file 'nowhere/best.keras'"),
        ],
    )
    def test_that_mean_nothing_are_refused(self, base, word, said):
        with pytest.raises(ExperimentError, match=said):
            parse_axes([f"detector=truth,{word}"], base)

    def test_stand_alone(self, base):
        with pytest.raises(ExperimentError, match="set loss.sigma as KEY=VALUE"):
            axes = parse_axes(["detector=truth,whole_image", "loss.sigma=1,2"], base)
            detectors.compare_detectors(base, axes, [0], Path("nowhere"))


@pytest.fixture
def config_file(base, tmp_path):
    """A training of two steps on rendered people, two in a picture."""
    root = tmp_path / "people"
    for split, count in {"train": 4, "test": 5}.items():
        write_synthetic(root, count, seed=1, split=split, options=SceneOptions(96, 96, max_persons=2))
    part = {"format": "coco", "root": str(root)}
    changed = base.model_dump(mode="json") | {
        "data": {"train": [part | {"split": "train"}], "test": [part | {"split": "test"}]},
        "model": TINY,
        "training": {"epochs": 1, "steps_per_epoch": 2, "batch_size": 4},
    }
    dump_config(type(base).model_validate(changed), tmp_path / "made_up.yaml")
    return tmp_path / "made_up.yaml"


def boxes_of_truth(config_file: Path, shift: float) -> Path:
    """The people's boxes as detections, moved to the right by a part of their width."""
    root = config_file.parent / "people"
    truth = json.loads((root / "annotations/person_keypoints_test.json").read_text())
    found = [
        {"image_id": a["image_id"], "category_id": 1, "bbox": [x + shift * w, y, w, h], "score": 0.9}
        for a in truth["annotations"]
        for x, y, w, h in [a["bbox"]]
    ]
    file = config_file.parent / f"moved_{shift}.json"
    file.write_text(json.dumps(found))
    return file


@pytest.mark.slow
def test_one_estimator_behind_several_detectors(config_file, tmp_path):
    exact, moved = boxes_of_truth(config_file, 0.0), boxes_of_truth(config_file, 0.4)
    axis = f"detector=truth,{exact},{moved},whole_image"
    report = ablate(config_file, [], [axis], [0, 1], tmp_path / "out", jobs=1)
    rows = {entry["labels"]["detector"]: entry for entry in report["settings"]}
    assert list(rows) == ["truth", "moved_0.0", "moved_0.4", "whole_image"]
    assert not any(entry["failed"] for entry in rows.values())
    # The same boxes, the same poses; a box that is moved by 0.4 has an IoU of 0.6 / 1.4 < 0.5.
    assert rows["moved_0.0"]["boxes"]["AP"] == 1.0
    assert rows["moved_0.4"]["boxes"]["AP50"] == 0.0
    assert rows["moved_0.0"]["values"] == rows["truth"]["values"]
    assert rows["truth"]["boxes"] is None
    text = (tmp_path / "out/ablation.md").read_text()
    assert "box AP | box AP50 | box AP(S) | box AP(M) | box AP(L)" in text
    cells = sorted((tmp_path / "out").rglob("cell.json"))
    assert [str(file.parent.relative_to(tmp_path / "out")) for file in cells] == [
        *("cells/estimator/seed_0", "cells/estimator/seed_1"),
        *("detectors/moved_0.0", "detectors/moved_0.4", "detectors/whole_image"),
        *(f"scores/{label}/seed_{s}" for label in sorted(rows) for s in (0, 1)),
    ]

    times = [file.stat().st_mtime_ns for file in cells if "scores" in str(file) or "cells" in str(file)]
    assert ablate(config_file, [], [axis], [0, 1], tmp_path / "out", jobs=1)["settings"] == report["settings"]
    assert times == [f.stat().st_mtime_ns for f in cells if "scores" in str(f) or "cells" in str(f)]
