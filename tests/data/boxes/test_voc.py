"""Pascal VOC: as published, as tools write it, and what is refused."""

import numpy as np
import pytest

from p2net_tf.data.annotations.reading import Reading
from p2net_tf.data.boxes.voc import read_voc_scenes
from p2net_tf.data.samples import DataError
from p2net_tf.utils.files import write_text
from tests.data.boxes.box_sets import BOXES, voc_text, write_pictures, write_voc

ALL = np.concatenate([boxes for boxes in BOXES.values() if boxes])
AWAY = {name: [box for box in boxes if min(box[:2]) > 0] for name, boxes in BOXES.items()}
"""Without the boxes that begin at 0."""


def read(root, split="train", classes=("person",), **options):
    keys = ("category", "coordinates", "boxes")
    reading = Reading(**{name: options.pop(name) for name in keys if name in options})
    return read_voc_scenes(root, split, classes, reading=reading, **options)


def said(scenes) -> str:
    return "\n".join(map(str, scenes.problems))


def test_as_published(tmp_path):
    """The first pixel is 1, and both ends of a box belong to it."""
    root = write_voc(tmp_path)
    scenes = read(root)
    np.testing.assert_array_equal(scenes.boxes, ALL)
    assert scenes.given_image_ids == ["a", "b", "c", "d"]
    assert scenes.counts.tolist() == [2, 1, 0, 3]
    assert scenes.image_paths[0] == str(root / "JPEGImages/a.png")
    assert scenes.label_sizes.tolist() == [[200, 150]] * 4
    assert scenes.class_names == ("person",)
    assert scenes.problems == ()


def test_lists(tmp_path):
    root = write_voc(tmp_path)
    write_text(root / "ImageSets/Main/person_train.txt", "a  1\nb -1\na  1\n")
    assert read(root, "val").given_image_ids == ["d"]
    assert read(root, "person_train").given_image_ids == ["a", "b"]
    assert len(read(root, "all")) == 4
    with pytest.raises(
        DataError, match="test.txt: not found; split is one of person_train, train, val, or all"
    ):
        read(root, "test")


def test_a_folder_above(tmp_path):
    root = write_voc(tmp_path / "VOCdevkit/VOC2012", pictures=False)
    assert len(read(tmp_path)) == 4
    write_voc(root.parent / "VOC2007", pictures=False)
    with pytest.raises(DataError, match="holds several sets"):
        read(tmp_path)


def test_files_beside_the_pictures(tmp_path):
    """As LabelImg and Roboflow write them."""
    write_pictures(tmp_path / "train", ["a"])
    write_text(tmp_path / "train/a.xml", voc_text(BOXES["a"]))
    scenes = read(tmp_path)
    np.testing.assert_array_equal(scenes.boxes, BOXES["a"])
    with pytest.raises(DataError, match="one part only; take split: all"):
        read(tmp_path / "train", "val")


def test_difficult_objects_are_crowds(tmp_path):
    root = write_voc(tmp_path, pictures=False)
    text = voc_text(BOXES["b"], filename="b.png").replace("<difficult>0", "<difficult>1")
    write_text(root / "Annotations/b.xml", text)
    assert read(root).crowds.tolist() == [False, False, True, False, False, False]


def test_parts_of_the_body_are_no_objects(tmp_path):
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    part = f"<part><name>head</name>{box}</part>"
    scenes = read(write_voc(tmp_path, pictures=False, extra=part), classes=())
    np.testing.assert_array_equal(scenes.boxes, ALL)


def test_classes_in_the_order_of_the_alphabet(tmp_path):
    root = write_voc(tmp_path, pictures=False)
    write_text(root / "Annotations/b.xml", voc_text(BOXES["b"], name="dog", filename="b.png"))
    scenes = read(root, classes=())
    assert scenes.class_names == ("dog", "person")
    assert scenes.classes.tolist() == [1, 1, 0, 1, 1, 1]
    assert "1 of 'dog'" in said(read(root))
    with pytest.raises(DataError, match="none of the classes cat, but dog .dog., person"):
        read(root, classes=("cat",))


def test_an_object_without_a_name_among_several_classes(tmp_path):
    write_voc(tmp_path)
    path = tmp_path / "Annotations/b.xml"
    path.write_text(path.read_text().replace("<name>person</name>", ""))
    named = read_voc_scenes(tmp_path, "train")
    assert named.counts.tolist() == [2, 1, 0, 3]  # the only class
    path = tmp_path / "Annotations/a.xml"
    path.write_text(path.read_text().replace("person", "dog", 1))
    scenes = read_voc_scenes(tmp_path, "train", classes=())
    assert scenes.counts.tolist() == [2, 0, 0, 3]
    problem = next(problem for problem in scenes.problems if problem.severity == "error")
    assert (problem.kind, problem.sample_id) == ("unknown_class", 3)
    assert problem.detail == "object 1: names no class, and the set has several"


def test_pixels_counted_from_zero(tmp_path):
    root = write_voc(tmp_path, pictures=False, first_pixel=0)
    np.testing.assert_array_equal(read(root).boxes, ALL)
    assert "17% of the boxes begin at 0, so pixels are counted from 0" in said(read(root))
    moved = read(root, first_pixel=1).boxes
    np.testing.assert_array_equal(moved, ALL + [-1, -1, 1, 1])


def test_pixels_counted_from_zero_as_the_user_says(tmp_path):
    root = write_voc(tmp_path, AWAY, pictures=False, first_pixel=0)
    boxes = np.concatenate([boxes for boxes in AWAY.values() if boxes])
    np.testing.assert_array_equal(read(root).boxes, boxes + [-1, -1, 1, 1])
    np.testing.assert_array_equal(read(root, first_pixel=0).boxes, boxes)


def test_corners_exchanged_and_polygons(tmp_path):
    root = write_voc(tmp_path, pictures=False)
    text = (
        voc_text(BOXES["b"], filename="b.png")
        .replace("xmin", "swap")
        .replace("xmax", "xmin")
        .replace("swap", "xmax")
    )
    write_text(root / "Annotations/b.xml", text)
    polygon = "<object><name>person</name><polygon><x1>11</x1><y1>21</y1><x2>60</x2><y2>30</y2><x3>20</x3>"
    polygon += "<y3>100</y3></polygon></object>"
    write_text(root / "Annotations/c.xml", f"<annotation>{polygon}</annotation>")
    scenes = read(root)
    np.testing.assert_array_equal(scenes.boxes[[2, 3]], [BOXES["b"][0], BOXES["a"][0]])
    assert "1 of 7 boxes: xmin or ymin is the larger one" in said(scenes)
    assert "1 of 7 boxes: no bndbox: that of the polygon" in said(scenes)


def test_pictures_by_the_name_in_the_file(tmp_path):
    root = write_voc(tmp_path)
    (root / "JPEGImages/b.png").rename(root / "JPEGImages/renamed.PNG")
    path = root / "Annotations/b.xml"
    write_text(path, path.read_text().replace("b.png", "C:\\pictures\\renamed.png"))
    scenes = read(root)
    assert scenes.image_paths[1] == str(root / "JPEGImages/renamed.PNG")
    assert "pictures found" in said(scenes)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<annotation><object>", "no XML at line 1, column 21: no element found; its picture"),
        ("<labels/>", "its root is <labels>, not <annotation>"),
        ("", "no element found"),
        (
            '<!DOCTYPE a [<!ENTITY x "y"><!ENTITY z "&x;&x;&x;">]><annotation>&z;</annotation>',
            "declares an entity 'x'; its picture is left out; write the text itself",
        ),
        ('<?xml version="1.0" encoding="klingon"?><annotation/>', "encoding"),
    ],
)
def test_broken_files(tmp_path, text, words):
    root = write_voc(tmp_path, pictures=False)
    write_text(root / "Annotations/b.xml", text)
    scenes = read(root)
    assert scenes.given_image_ids == ["a", "c", "d"]
    (problem,) = scenes.problems
    assert (problem.kind, problem.file) == ("annotation_file", str(root / "Annotations/b.xml"))
    assert words in str(problem)


@pytest.mark.parametrize("value", ["", "nan", "x", "1e999"])
def test_broken_boxes(tmp_path, value):
    root = write_voc(tmp_path, pictures=False)
    text = voc_text(BOXES["b"], filename="b.png").replace("<xmin>31", f"<xmin>{value}")
    write_text(root / "Annotations/b.xml", text)
    scenes = read(root)
    assert scenes.counts.tolist() == [2, 0, 0, 3]
    assert scenes.problems[0].kind == "box_empty"
    fault = f"xmin is '{value}', no finite number" if value else "has no xmin"
    assert f"b.xml, annotation 3: object 1: {fault}" in said(scenes) and "[nan" not in said(scenes)


def test_a_missing_annotation_file(tmp_path):
    root = write_voc(tmp_path, pictures=False)
    (root / "Annotations/c.xml").unlink()
    assert "c.xml: cannot be read (No such file or directory); its picture is left out" in said(read(root))


def test_no_such_set(tmp_path):
    with pytest.raises(DataError, match="neither Annotations/ nor XML files there or in train/"):
        read(tmp_path)
    (tmp_path / "Annotations").mkdir()
    with pytest.raises(DataError, match="holds no XML file"):
        read(tmp_path)
