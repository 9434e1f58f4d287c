"""COCO-form boxes: as they are, as exporters write them, and what is refused."""

import numpy as np
import pytest

from p2net_tf.data.annotations.reading import Reading
from p2net_tf.data.boxes.check import usable_scenes
from p2net_tf.data.boxes.coco import read_coco_scenes
from p2net_tf.data.samples import DataError
from tests.data.boxes.box_sets import BOXES, coco_document, write_coco

ALL = np.concatenate([boxes for boxes in BOXES.values() if boxes])


def read(root, classes=("person",), **reading):
    return read_coco_scenes(root, "train", classes=classes, reading=Reading(**reading))


def notes(scenes) -> str:
    return "\n".join(map(str, scenes.problems))


@pytest.fixture
def changed(tmp_path):
    """Writes the set after `change` of its document; the pictures need not be there."""

    def write(change):
        document = coco_document()
        change(document)
        return write_coco(tmp_path, document, pictures=False)

    return write


def test_as_it_is(tmp_path):
    scenes = read(write_coco(tmp_path))
    assert scenes.class_names == ("person",)
    assert scenes.image_ids.tolist() == [1, 2, 3, 4]
    assert scenes.counts.tolist() == [2, 1, 0, 3]
    np.testing.assert_array_equal(scenes.boxes, ALL)
    np.testing.assert_array_equal(scenes.areas, ALL[:, 2] * ALL[:, 3] / 2)
    assert scenes.ids.tolist() == [100, 101, 102, 103, 104, 105]
    assert scenes.image_paths[0] == str(tmp_path / "train/a.png")
    assert scenes.category_ids == (1,)
    assert not scenes.crowds.any()
    assert scenes.problems == ()


def test_annotations_in_any_order(changed):
    scenes = read(changed(lambda document: document["annotations"].reverse()))
    assert scenes.owners.tolist() == [0, 0, 1, 3, 3, 3]
    assert scenes.ids.tolist() == [101, 100, 102, 105, 104, 103]


def each(change):
    return lambda document: [change(entry) for entry in document["annotations"]]


def as_text(entry):
    entry.update(image_id=str(entry["image_id"]), bbox=" ".join(map(str, entry["bbox"])), iscrowd="0")


def as_fractions(entry):
    x, y, width, height = entry["bbox"]
    entry["bbox"] = [x / 200, y / 150, width / 200, height / 150]
    del entry["area"]


def as_corners(entry):
    x, y, width, height = entry["bbox"]
    entry["bbox"] = [x, y, x + width, y + height]


def as_segment(entry):
    x, y, width, height = entry.pop("bbox")
    entry["segmentation"] = [[x, y, x + width, y, x + width, y + height, x, y + height]]


def as_keypoints(entry):
    x, y, width, height = entry.pop("bbox")
    long = max(width, height) / 1.2
    inner_width, inner_height = width - 0.2 * long, height - 0.2 * long
    left, top = x + 0.1 * long, y + 0.1 * long
    entry["keypoints"] = [left, top, 2, left + inner_width, top + inner_height, 2, 0, 0, 0]


READ = {
    "text": (each(as_text), {}, ""),
    "fractions": (each(as_fractions), {"coordinates": "normalized"}, "6 of 6 boxes: coordinates"),
    "corners": (each(as_corners), {"boxes": "xyxy"}, ""),
    "segments": (each(as_segment), {}, "6 of 6 boxes: no bbox with an area: that of the segmentation"),
    "no category": (each(lambda entry: entry.pop("category_id")), {}, "6 annotations name no class"),
    "no categories": (lambda document: document.pop("categories"), {}, "have no names: 1 is read"),
    "people": (
        lambda document: document["categories"][0].update(name="Pedestrian"),
        {},
        "'Pedestrian' is read as 'person'",
    ),
    "a name of its own": (
        lambda document: document["categories"][0].update(name="player"),
        {"category": "player"},
        "'player' is read as 'person'",
    ),
    "names for ids": (
        each(lambda entry: entry.update(category_id="Person")),
        {},
        "6 annotations have the name 'Person' for the category's id",
    ),
    "an id of the only category": (
        lambda document: (document["categories"].pop(), each(lambda e: e.update(category_id=0))(document)),
        {},
        "all annotations are of category 0, the only one listed is 1",
    ),
    "ids without sense": (each(lambda entry: entry.pop("id")), {}, "numbered by their place"),
    "file names for ids": (
        each(lambda entry: entry.update(file_name="abcd"[entry.pop("image_id") - 1] + ".png")),
        {},
        "no image_id, but the name of the picture",
    ),
}


@pytest.mark.parametrize("name", READ)
def test_what_exporters_write(changed, name):
    change, reading, said = READ[name]
    scenes = read(changed(change), **reading)
    np.testing.assert_allclose(scenes.boxes, ALL, rtol=1e-5, atol=1e-4)
    assert scenes.counts.tolist() == [2, 1, 0, 3]
    assert said in notes(scenes)
    assert not [problem for problem in scenes.problems if problem.severity != "note"]


def test_boxes_around_keypoints(changed):
    def change(document):
        entry = document["annotations"][0]
        del entry["bbox"]
        entry["keypoints"] = [20, 30, 2, 50, 90, 1, 0, 0, 0]

    scenes = read(changed(change))
    np.testing.assert_allclose(scenes.boxes[0], [14, 24, 42, 72])
    assert "one around the keypoints" in notes(scenes)


def test_missing_areas_are_those_of_the_boxes(changed):
    scenes = read(changed(each(lambda entry: entry.pop("area"))))
    np.testing.assert_array_equal(scenes.areas, ALL[:, 2] * ALL[:, 3])
    assert "6 of 6 boxes: no area: that of the box" in notes(scenes)


def test_crowds(changed):
    scenes = read(changed(lambda document: document["annotations"][1].update(iscrowd="1")))
    assert scenes.crowds.tolist() == [False, True, False, False, False, False]


def test_classes(changed):
    def change(document):
        document["annotations"][2]["category_id"] = 5

    root = changed(change)
    person = read(root)
    assert (person.counts.tolist(), person.class_names) == ([2, 0, 0, 3], ("person",))
    assert "1 of 'dog'" in notes(person)
    everything = read(root, classes=())
    assert everything.class_names == ("person", "dog")
    assert everything.classes.tolist() == [0, 0, 1, 0, 0, 0]
    assert everything.category_ids == (1, 5)
    other_order = read(root, classes=("dog", "person", "cat"))
    assert other_order.classes.tolist() == [1, 1, 0, 1, 1, 1]
    assert "class_missing" in notes(other_order)


def test_headings_of_roboflow_are_no_classes(changed):
    def change(document):
        document["categories"] = [
            {"id": 0, "name": "creatures", "supercategory": "none"},
            {"id": 1, "name": "person", "supercategory": "creatures"},
        ]

    scenes = read(changed(change), classes=())
    assert scenes.class_names == ("person",)
    assert "'creatures'" in notes(scenes)


REFUSED = {
    "no people": (lambda document: document["categories"].pop(0), "no category 'person', but dog .5.; name"),
    "no such category": (lambda document: document["categories"].clear(), "name that of the people"),
    "a list": (lambda document: document.pop("images"), "field 'images' is missing"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(changed, name):
    change, words = REFUSED[name]

    def several(document):
        document["annotations"][0]["category_id"] = 7
        change(document)

    with pytest.raises(DataError, match=words):
        read(changed(several))


BROKEN = {
    "box_empty": each(lambda entry: entry.update(bbox=[1, 2, 0, 3]) if entry["id"] == 102 else None),
    "annotation": lambda document: document["annotations"].insert(0, None),
    "unknown_image_id": lambda document: document["annotations"][2].update(image_id=77),
    "duplicate_id": lambda document: document["annotations"][4].update(id=103),
    "image_without_file": lambda document: document["images"][1].pop("file_name"),
    "duplicate_image": lambda document: document["images"][1].update(file_name="a.png"),
    "image_entry": lambda document: document["images"].append({}),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_set_aside(changed, kind):
    scenes = read(changed(BROKEN[kind]))
    assert [problem.kind for problem in scenes.problems if problem.severity == "error"][0] == kind
    assert len(scenes.owners) in (5, 6)


@pytest.mark.parametrize(
    "place",
    ["annotations/person_keypoints_train.json", "annotations/train.json", "my_boxes_train.json"],
)
def test_where_annotations_lie(tmp_path, place):
    root = write_coco(tmp_path, pictures=False)
    (root / "annotations/instances_train.json").rename(root / place)
    assert len(read(root)) == 4


def test_two_files_that_may_be_meant(tmp_path):
    root = write_coco(tmp_path, pictures=False)
    (root / "annotations/instances_train.json").rename(root / "a_train.json")
    (root / "b_train.json").write_text("{}")
    with pytest.raises(DataError, match="a_train.json or .*b_train.json"):
        read(root)


def test_real_boxes(data_root):
    """Published counts: 288 pictures with 597 boxes; persons without keypoints and crowds of COCO count."""
    scenes = read_coco_scenes(data_root / "people_boxes", "val")
    assert (len(scenes), len(scenes.owners)) == (288, 597)
    scenes = read_coco_scenes(data_root / "coco_tiny", "train2017")
    assert (len(scenes), len(scenes.owners)) == (130, 271)
    assert scenes.crowds.sum() == 8


class TestUnknownClasses:
    """An annotation of which nobody knows whether it is a person is neither one nor background."""

    @pytest.mark.parametrize("given", [77, [1], "cat", True])
    @pytest.mark.parametrize("classes", [("person",), ()])
    def test_is_refused(self, changed, given, classes):
        scenes = read(changed(lambda document: document["annotations"][2].update(category_id=given)), classes)
        assert scenes.counts.tolist() == [2, 0, 0, 3]
        (problem,) = scenes.problems
        assert (problem.severity, problem.kind, problem.sample_id) == ("error", "unknown_class", 102)
        assert problem.detail == f"category_id {given!r} is not in the list 'categories'"
        assert usable_scenes(scenes, scenes.problems).image_ids.tolist() == [1, 3, 4]

    def test_none_at_all_among_several(self, changed):
        scenes = read(changed(lambda document: document["annotations"][2].pop("category_id")), ())
        assert [problem.kind for problem in scenes.problems] == ["unknown_class"]
        assert "has no category_id, and there are several" in scenes.problems[0].detail

    def test_others_are_known(self, changed):
        """A name for the id of a class that is not wanted, and a heading."""

        def change(document):
            document["annotations"][2].update(category_id="dog")
            document["categories"].append({"id": 7, "name": "cat"})

        scenes = read(changed(change))
        assert {problem.kind for problem in scenes.problems} == {"category", "other_category"}
        assert "1 of 'dog'" in notes(scenes)
