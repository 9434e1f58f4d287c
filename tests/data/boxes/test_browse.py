"""Pictures with their boxes on a sheet."""

import cv2
import numpy as np
import pytest

from p2net_tf.data.boxes.browse import browse_scenes, draw_boxes
from p2net_tf.data.boxes.coco import read_coco_scenes
from tests.data.boxes.box_sets import coco_document, write_coco


@pytest.fixture
def root(tmp_path):
    document = coco_document()
    document["annotations"][1]["iscrowd"] = 1
    document["annotations"][2]["category_id"] = 5
    return write_coco(tmp_path / "set", document)


def test_a_sheet_with_lost_pictures(root, tmp_path):
    (root / "train/c.png").unlink()
    scenes = read_coco_scenes(root, "train", classes=())
    assert browse_scenes(scenes, tmp_path / "sheet.png", columns=2) == [0, 1, 2, 3]
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet.shape[1] == 2 * (320 + 8) + 8
    assert browse_scenes(scenes, tmp_path / "sheet.png", rows=[3]) == [3]
    with pytest.raises(ValueError, match="no pictures"):
        browse_scenes(scenes.take([]), tmp_path / "sheet.png")


def test_boxes_lie_where_they_should():
    """In a picture of twice the size of the tile: a box of 40 to 120 is one of 20 to 60."""
    tile = draw_boxes(np.zeros((100, 200, 3), np.uint8), [[40, 20, 80, 40]], [(255, 0, 0)], size=100)
    assert tile.shape == (50, 100, 3)
    rows, columns = np.nonzero(tile[..., 0] > 100)
    assert abs(columns.min() - 20) <= 1 and abs(columns.max() - 60) <= 1
    assert abs(rows.min() - 10) <= 1 and abs(rows.max() - 30) <= 1
