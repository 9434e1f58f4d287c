"""What a folder holds, by its files."""

import json

import pytest

from p2net_tf.data.boxes.recognise import recognise_boxes
from p2net_tf.data.recognise import recognise
from p2net_tf.data.samples import DataError
from p2net_tf.utils.files import write_text
from tests.data.boxes.box_sets import coco_document, voc_text, write_coco, write_voc, write_yolo


def test_boxes(tmp_path):
    assert recognise(write_coco(tmp_path / "a", pictures=False), "train") == "boxes"
    assert recognise(write_voc(tmp_path / "b", pictures=False), "train") == "voc"
    assert recognise(write_yolo(tmp_path / "c", pictures=False), "train") == "yolo"
    assert recognise_boxes(tmp_path / "a") == "coco"
    assert recognise(tmp_path / "c", "train", "data.yaml") == "yolo"


def test_boxes_without_a_list_or_settings(tmp_path):
    write_text(tmp_path / "voc/a.xml", voc_text([]))
    assert recognise(tmp_path / "voc", "train") == "voc"
    root = write_yolo(tmp_path / "yolo", pictures=False)
    (root / "data.yaml").unlink()
    assert recognise(root, "train") == "yolo"


@pytest.mark.parametrize("place", ["annotations", "categories"])
def test_people_have_keypoints(tmp_path, place):
    document = coco_document()
    document[place][0]["keypoints"] = [1, 2, 2] if place == "annotations" else ["nose"]
    assert recognise(write_coco(tmp_path, document, pictures=False), "train") == "coco"
    (tmp_path / "mine.json").write_text(json.dumps(coco_document()))
    assert recognise(tmp_path, "train", "mine.json") == "boxes"


@pytest.mark.parametrize("content", ["[]", "{}", '{"annotations": [null], "categories": 7}', "7"])
def test_files_that_do_not_tell(tmp_path, content):
    write_text(tmp_path / "annotations/train.json", content)
    assert recognise(tmp_path, "train") == "coco"


def test_nothing_there(tmp_path):
    assert recognise(tmp_path, "train") == "coco"
    assert recognise(tmp_path / "nowhere", "train") == "coco"
    assert recognise_boxes(tmp_path) is None
    with pytest.raises(DataError, match="no such folder"):
        recognise_boxes(tmp_path / "nowhere")
    with pytest.raises(DataError, match="not found"):
        recognise(tmp_path, "train", "nowhere.json")


def test_real_sets(data_root):
    assert recognise(data_root / "coco_tiny", "val2017") == "coco"
    assert recognise(data_root / "people_boxes", "val") == "boxes"
    assert recognise_boxes(data_root / "lsp") == "lsp"
    assert recognise_boxes(data_root / "lspet") == "lspet"
