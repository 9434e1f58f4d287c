"""Sources of boxes, checked and joined."""

import subprocess
import sys

import numpy as np
import pytest

from p2net_tf.data import picture_check
from p2net_tf.data.boxes.datasets import open_scenes, read_scenes
from p2net_tf.data.boxes.settings import BoxDatasetConfig
from p2net_tf.data.samples import DataError
from tests.data.boxes.box_sets import coco_document, write_coco, write_pictures, write_voc, write_yolo


def source(root, **keys) -> BoxDatasetConfig:
    return BoxDatasetConfig(root=str(root), **keys)


@pytest.fixture
def not_decoded(monkeypatch):
    """Only the headers of pictures are looked at, which takes a tenth of the time."""
    monkeypatch.setattr(picture_check, "unreadable_images", lambda paths, turn: {})


def kinds(problems) -> list[str]:
    return [problem.kind for problem in problems if problem.severity != "note"]


def test_rows_are_pictures(tmp_path):
    root = write_coco(tmp_path, pictures=False)
    scenes = read_scenes(source(root, rows=(1, 3)))
    assert scenes.image_ids.tolist() == [2, 3]
    assert scenes.counts.tolist() == [1, 0]
    with pytest.raises(DataError, match="rows 9..12 of 4 pictures select nothing"):
        read_scenes(source(root, rows=(9, 12)))


def test_sources_are_joined_and_repeated(tmp_path, not_decoded):
    first, second = write_coco(tmp_path / "one"), write_coco(tmp_path / "two")
    scenes, problems = open_scenes([source(first, rows=(0, 2)), source(second, repeat=2)])
    assert scenes.counts.tolist() == [2, 1, *[2, 1, 0, 3] * 2]
    assert problems == []


def test_broken_pictures_and_boxes_are_set_aside(tmp_path):
    document = coco_document()
    document["annotations"][2]["bbox"] = [1, 2, "x", 4]  # all that b has
    document["annotations"][3]["bbox"] = [500, 20, 30, 40]
    root = write_coco(tmp_path, document)
    (root / "train/a.png").write_bytes(b"no picture")
    scenes, problems = open_scenes([source(root)])
    assert scenes.image_ids.tolist() == [3, 4]  # b would count as a picture without people
    assert scenes.counts.tolist() == [0, 2]
    assert sorted(kinds(problems)) == ["box_empty", "box_outside", "image_broken"]
    with pytest.raises(DataError, match="box_empty: .*annotation 102"):
        open_scenes([source(root)], strict=True)


def test_nothing_usable(tmp_path):
    root = write_coco(tmp_path, pictures=False)
    with pytest.raises(DataError, match="no usable picture; first of 4 problems: image_missing"):
        open_scenes([source(root)])


def test_sources_must_agree_on_exif(tmp_path, not_decoded):
    root = write_coco(tmp_path)
    with pytest.raises(DataError, match="exif_orientation is true, but not for"):
        open_scenes([source(root), source(root, exif_orientation=True)])


def test_formats_are_joined(tmp_path, not_decoded):
    """People in two formats, with the same boxes; of another class one set has some."""
    yolo, voc = write_yolo(tmp_path / "yolo"), write_voc(tmp_path / "voc")
    coco = write_coco(tmp_path / "coco")
    sources = [source(yolo, format="yolo"), source(voc, format="voc"), source(coco)]
    scenes, problems = open_scenes(sources)
    np.testing.assert_allclose(scenes.boxes[:6], scenes.boxes[6:12], atol=1e-3)
    np.testing.assert_array_equal(scenes.boxes[6:12], scenes.boxes[12:])
    assert kinds(problems) == []
    scenes, problems = open_scenes(sources[1:], classes=())
    assert (scenes.class_names, scenes.category_ids) == (("person", "dog"), (1, 5))
    assert kinds(problems) == ["class_missing"]


def test_boxes_of_another_form_are_refused(tmp_path, not_decoded):
    document = coco_document()
    for entry in document["annotations"]:
        x, y, width, height = entry["bbox"]
        entry["bbox"] = [x, y, x + width, y + height]
    root = write_coco(tmp_path, document)
    with pytest.raises(DataError, match="box_form.*as xyxy none would; set boxes: xyxy for this data set"):
        open_scenes([source(root)])
    scenes, problems = open_scenes([source(root, boxes="xyxy")])
    assert (scenes.counts.tolist(), problems) == ([2, 1, 0, 3], [])


@pytest.mark.parametrize("coordinates", ["normalized", "percent"])
def test_coordinates_of_another_form_are_refused(tmp_path, not_decoded, coordinates):
    document, full = coco_document(), 1 if coordinates == "normalized" else 100
    for entry in document["annotations"]:
        entry["bbox"] = (np.array(entry["bbox"]) / [200, 150, 200, 150] * full).tolist()
        del entry["area"]
    root = write_coco(tmp_path, document, pictures=False)
    write_pictures(root / "train", size=(400, 300))
    with pytest.raises(DataError, match=f"set coordinates: {coordinates} for this data set"):
        open_scenes([source(root)])
    scenes, _ = open_scenes([source(root, coordinates=coordinates)])
    np.testing.assert_allclose(scenes.boxes[0], [20, 40, 100, 160], rtol=1e-5)


@pytest.mark.parametrize(
    ("width", "words"),
    [
        (10, "box_form: .*as cxcywh or with x for y none would; set boxes: cxcywh .*, or write x before y"),
        (40, "axes: .*75% of the boxes leave their pictures, with x for y none would; write x before y"),
    ],
)
def test_x_and_y_exchanged(tmp_path, not_decoded, width, words):
    boxes = [[10, 100, width, 90], [20, 120, 30, 70], [20, 5, 10, 20], [50, 90, 30, 100]]
    root = write_coco(tmp_path, coco_document({"a": boxes}), pictures=False)
    write_pictures(root / "train", ["a"])
    with pytest.raises(DataError, match=words):
        open_scenes([source(root)])


def test_labels_of_resized_pictures(tmp_path, not_decoded):
    root = write_coco(tmp_path, pictures=False)
    write_pictures(root / "train", size=(100, 75))
    with pytest.raises(DataError, match="fit the declared sizes alone; set coordinates: declared"):
        open_scenes([source(root)])
    scenes, _ = open_scenes([source(root, coordinates="declared")])
    np.testing.assert_array_equal(scenes.boxes[0], [5, 10, 25, 40])


def test_the_configuration_needs_no_tensorflow():
    program = (
        "import sys, p2net_tf.data.boxes.settings; assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_real_boxes(data_root):
    scenes, problems = open_scenes([source(data_root / "people_boxes", split="val")])
    assert (len(scenes), len(scenes.owners)) == (288, 597)
    assert set(kinds(problems)) == {"duplicate_box"}
    assert np.all(scenes.boxes[:, 2:] > 0)
