"""Boxes as people bring them: read, or named and set aside."""

import json

import numpy as np
import pytest

from p2net_tf.data.samples import DataError
from p2net_tf.inference.boxes import read_boxes

BOX = [10, 20, 30, 40]
IMAGES = ["pictures/a/000000000004.jpg", "pictures/b/dog.png"]
SIZES = np.float32([[100, 80], [64, 48]])


@pytest.fixture
def read(tmp_path):
    def read(content, images=IMAGES, **options):
        (tmp_path / "boxes.json").write_text(json.dumps(content))
        return read_boxes(str(tmp_path / "boxes.json"), images, SIZES[: len(images)], **options)

    return read


def entry(image_id=4, **fields):
    return {"image_id": image_id, "bbox": BOX, "score": 0.5, **fields}


def document(images, **fields):
    return {"images": images, "annotations": [entry(image["id"]) for image in images], **fields}


def test_no_boxes_are_whole_images_counted_from_1():
    found = read_boxes(None, IMAGES, SIZES)
    assert found.windows.tolist() == [[0, 0, 100, 80], [0, 0, 64, 48]]
    assert (found.image_ids, found.owners.tolist(), found.detected) == ((1, 2), [0, 1], False)


@pytest.mark.parametrize(
    ("content", "ids", "owners"),
    [
        ([entry(4)], (4, 2), [0]),
        ([entry("4")], ("4", 2), [0]),
        ([entry("000000000004")], ("000000000004", 2), [0]),
        ([entry("dog")], (1, "dog"), [1]),
        ([{"file_name": "dog.png", "bbox": BOX}], (1, 2), [1]),
        ([{"file_name": "dog.png", "image_id": 77, "bbox": BOX}], (1, 77), [1]),
        ({"detections": [entry(4)]}, (4, 2), [0]),
        ({"annotations": [entry(4)]}, (4, 2), [0]),
        (document([{"id": 9, "file_name": "dog.png"}, {"id": 4, "file_name": "cat.png"}]), (1, 9), [1]),
        (document([{"id": "u-1", "file_name": "b\\dog.png"}]), (1, "u-1"), [1]),
        (document([{"id": 9, "file_name": "dog.png"}, {"id": 3, "file_name": IMAGES[0]}]), (3, 9), [1, 0]),
        ([entry(4, category_id=0)], (4, 2), [0]),
        ([entry(4, category_id="person"), entry(4, category_id="dog")], (4, 2), [0]),
        ([entry(4, bbox=["10", "20", "30", "40"], score="0.5")], (4, 2), [0]),
    ],
)
def test_pictures_are_found_and_keep_the_ids_of_the_file(read, content, ids, owners):
    found = read(content)
    assert (found.image_ids, found.owners.tolist()) == (ids, owners)
    assert found.windows.tolist() == [BOX] * len(owners) and found.problems == ()


def test_ground_truth_gives_the_boxes_of_single_persons(read):
    content = document([{"id": 9, "file_name": "dog.png"}], categories=[{"id": 3, "name": "Person"}])
    content["annotations"] = [
        {"image_id": 9, "bbox": BOX, "category_id": 3},
        {"image_id": 9, "bbox": BOX, "category_id": 3, "iscrowd": 1},
        {"image_id": 9, "bbox": BOX, "category_id": 5},
    ]
    found = read(content)
    assert (len(found.owners), found.others, found.category_id, found.detected) == (1, 2, 3, False)
    assert found.scores.tolist() == [1]


@pytest.mark.parametrize("content", [[BOX, BOX], BOX, {"boxes": [BOX]}])
def test_bare_boxes_are_for_one_picture(read, content):
    assert set(map(tuple, read(content, IMAGES[:1]).windows.tolist())) == {tuple(BOX)}
    with pytest.raises(DataError, match=r"a list of boxes is for one picture, 2 are given"):
        read(content)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"image_id": 4, "score": 0.5}, "bbox is missing or null, not four numbers"),
        (entry(bbox=None), "bbox is missing or null"),
        (entry(bbox=[1, 2, 3]), r"bbox is \[1, 2, 3\], not four numbers"),
        (entry(bbox=[1, 2, 0, 4]), r"bbox \[1.0, 2.0, 0.0, 4.0\] has no area"),
        (entry(bbox=[1, 2, float("nan"), 4]), "not four numbers"),
        (entry(bbox={"x": 1}), "not four numbers"),
        (entry(score=None), "score is missing or null"),
        (entry(score="high"), "score is 'high'"),
        (None, "is missing or null, no object"),
        (7, "is 7, no object"),
        ({"bbox": BOX}, "has neither image_id nor file_name"),
    ],
)
def test_what_is_no_box_is_named_and_the_rest_used(read, bad, words):
    found = read([entry(), bad, entry()])
    assert len(found.owners) == 2
    (problem,) = found.problems
    with pytest.raises(DataError, match=rf"^box_entry: .*boxes.json: entry 2: .*{words}.*; "):
        read([entry(), bad, entry()], strict=True)
    assert problem.file.endswith("boxes.json") and "\n" not in str(problem)
    with pytest.raises(DataError, match="no usable box of 2; first: "):
        read([bad, {"bbox": BOX}])


def test_two_pictures_of_one_name_are_told_apart_by_their_folders(read):
    images = ["x/a/one.jpg", "x/b/one.jpg"]
    assert read([{"file_name": "b/one.jpg", "bbox": BOX}], images).owners.tolist() == [1]
    content = [{"file_name": "one.jpg", "bbox": BOX}]
    with pytest.raises(DataError, match="2 of the given pictures are called one.jpg"):
        read(content, images)


@pytest.mark.parametrize("content", [{"images": []}, "text", 3, {}, {"annotations": None}])
def test_a_file_without_boxes(read, content):
    with pytest.raises(DataError, match="holds no list of boxes; give objects with 'bbox'"):
        read(content)
    with pytest.raises(DataError, match="no box of 1 belongs to the given images"):
        read([entry(999)])
