"""Boxes as people bring them: read, or named and set aside."""

# ruff: noqa: E501  a row of a table is a line where it can be

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
        ([entry("val/dog.png")], (1, "val/dog.png"), [1]),
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
        read([bad, {"bbox": BOX, "score": 0.5}])


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


PHOTOS = np.float32([[640, 480]] * 7)
PEOPLE = [[40 + 90 * k, 30 + 10 * k, 50, 300 + 10 * k] for k in range(6)] + [[500, 350, 120, 120]]


@pytest.fixture
def photos(tmp_path):
    """`photos(boxes)`: those of 7 pictures with one person each, as `read_boxes` finds them."""

    def read(boxes, wrap=lambda entries: entries, **fields):
        entries = [
            {"image_id": k, "category_id": 1, "score": 0.5, "bbox": list(box), **fields}
            for k, box in enumerate(boxes, 1)
        ]
        (tmp_path / "boxes.json").write_text(json.dumps(wrap(entries)))
        return read_boxes(str(tmp_path / "boxes.json"), [f"{k}.jpg" for k in range(1, 8)], PHOTOS)

    return read


class TestForm:
    """The checks of detections, for boxes that nobody labeled."""

    def test_nothing_is_said_of_pixels(self, photos):
        found = photos(PEOPLE)
        assert found.windows.tolist() == PEOPLE
        assert found.problems == found.notes == ()

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda x, y, w, h: (x, y, x + w, y + h), "leave their pictures, as xyxy.* none would; write x, y of"),
            (lambda x, y, w, h: (x + w / 2, y + h / 2, w, h), "leave their pictures, as cxcywh"),
            (lambda x, y, w, h: (x / 640, y / 480, w / 640, h / 480), "fractions of the pictures; write pixels"),
            (lambda x, y, w, h: (x / 6.4, y / 4.8, w / 6.4, h / 4.8), "they may be percents; write pixels"),
            (lambda x, y, w, h: (5000, 5000, 10, 10), "no usable box of 7; first: .*entry 1: .* outside its picture"),
            (lambda x, y, w, h: (x, y, 1e30, h), "no usable box of 7; first: .*entry 1: bbox .*1e.30.* larger than any"),
            (lambda x, y, w, h: (x, y, 1e300, h), "boxes.json: entry 1: bbox .*1e.300.* larger than any picture"),
        ],
        ids=["xyxy", "cxcywh", "fractions", "percents", "elsewhere", "1e30", "1e300"],
    )  # fmt: skip
    def test_of_another_form(self, photos, recwarn, change, words):
        with pytest.raises(DataError, match=rf"boxes\.json: .*{words}"):
            photos([change(*box) for box in PEOPLE])
        assert not recwarn.list

    def test_one_fraction_in_a_photo_is_enough(self, read):
        with pytest.raises(
            DataError, match="they are fractions of the pictures; write pixels of the picture"
        ):
            read([[0.1, 0.2, 0.3, 0.6]], IMAGES[:1])

    def test_a_few_beside_the_pictures_are_set_aside(self, photos):
        found = photos([*PEOPLE[:6], [5000, 5000, 10, 10]])
        assert found.owners.tolist() == [0, 1, 2, 3, 4, 5]
        (problem,) = found.problems
        assert "entry 7: bbox [5000.0, 5000.0, 10.0, 10.0] lies outside its picture" in problem.detail

    @pytest.mark.parametrize(
        "boxes", ["5000,5000,10,10", "1e30,1,2,2", "0.1,0.1,0.5,0.5", "1,2,3,-4", "1,2,nan,4"]
    )
    def test_of_the_command_line(self, boxes, recwarn):
        with pytest.raises(DataError, match=f"boxes '{boxes}': "):
            read_boxes(boxes, IMAGES, SIZES)
        assert not recwarn.list

    def test_of_the_command_line_outside_of_one_picture(self):
        found = read_boxes("70,10,20,20", IMAGES, SIZES)
        assert (found.owners.tolist(), found.image_ids) == ([0], (1, 2))
        assert [problem.file for problem in found.problems] == [IMAGES[1]]


class TestScores:
    @pytest.mark.parametrize("score", [-5, "-5"])
    def test_logits_are_refused(self, photos, score):
        with pytest.raises(
            DataError, match=r"boxes.json: 7 of 7 scores are below 0, e.g. -5: .*; write scores"
        ):
            photos(PEOPLE, score=score)

    def test_too_large_a_number(self, photos, recwarn):
        with pytest.raises(DataError, match=r"no usable box of 7; first: .*entry 1: score is 1e\+300; give"):
            photos(PEOPLE, score=1e300)
        assert not recwarn.list

    def test_none_at_all(self, photos):
        found = photos(PEOPLE, score=None)
        assert found.scores.tolist() == [1] * 7 and not found.detected


class TestCategories:
    def test_from_0_on(self, photos):
        found = photos(PEOPLE, lambda entries: [{**e, "category_id": k % 2} for k, e in enumerate(entries)])
        assert (found.owners.tolist(), found.others, found.category_id) == ([0, 2, 4, 6], 3, 0)
        assert [note.detail for note in found.notes] == [
            "there is a category 0, so they count from there: 4 of 0 are read as people",
            "boxes of other categories are not read: 3 of '1'",
        ]

    def test_of_its_own(self, photos):
        listed = [{"id": 7, "name": "person"}, {"id": 1, "name": "bicycle"}]
        found = photos(
            PEOPLE,
            lambda entries: {
                "categories": listed,
                "annotations": [{**e, "category_id": 1 if k < 2 else 7} for k, e in enumerate(entries)],
            },
        )
        assert (found.owners.tolist(), found.category_id) == ([2, 3, 4, 5, 6], 7)
        assert found.notes[-1].detail == "boxes of other categories are not read: 2 of 'bicycle'"

    def test_unknown_ones_are_refused(self, photos):
        with pytest.raises(DataError, match=r"of the categories 3 \(4\), 4 \(3\), none of .*; add the list"):
            photos(PEOPLE, lambda entries: [{**e, "category_id": 3 + k % 2} for k, e in enumerate(entries)])

    @pytest.mark.parametrize("name", ["image_id", "category_id"])
    @pytest.mark.parametrize("value", [{"a": 1}, [1], True, 1.5])
    def test_ids_that_are_none_get_into_no_result(self, read, name, value):
        found = read([entry(category_id=1), {**entry(), "file_name": "dog.png", name: value}])
        assert (found.category_id, found.image_ids) == (1, (4, 2))
        assert f"entry 2: {name} is {value!r}" in found.problems[0].detail

    def test_null_is_no_category(self, read):
        assert read([{**entry(), "category_id": None, "file_name": "dog.png"}]).category_id == 1
