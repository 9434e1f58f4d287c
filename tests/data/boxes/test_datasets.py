"""Sources of boxes, checked and joined."""

import numpy as np
import pytest

from p2net_tf.data.boxes.datasets import open_scenes, read_scenes
from p2net_tf.data.boxes.settings import BoxDatasetConfig
from p2net_tf.data.samples import DataError
from tests.data.boxes.box_sets import coco_document, write_coco


def source(root, **keys) -> BoxDatasetConfig:
    return BoxDatasetConfig(root=str(root), **keys)


def kinds(problems) -> list[str]:
    return [problem.kind for problem in problems if problem.severity != "note"]


def test_rows_are_pictures(tmp_path):
    root = write_coco(tmp_path, pictures=False)
    scenes = read_scenes(source(root, rows=(1, 3)))
    assert scenes.image_ids.tolist() == [2, 3]
    assert scenes.counts.tolist() == [1, 0]
    with pytest.raises(DataError, match="rows 9..12 of 4 pictures select nothing"):
        read_scenes(source(root, rows=(9, 12)))


def test_sources_are_joined_and_repeated(tmp_path):
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


def test_sources_must_agree_on_exif(tmp_path):
    root = write_coco(tmp_path)
    with pytest.raises(DataError, match="exif_orientation is true, but not for"):
        open_scenes([source(root), source(root, exif_orientation=True)])


def test_real_boxes(data_root):
    scenes, problems = open_scenes([source(data_root / "people_boxes", split="val")])
    assert (len(scenes), len(scenes.owners)) == (288, 597)
    assert set(kinds(problems)) == {"duplicate_box"}
    assert np.all(scenes.boxes[:, 2:] > 0)
