"""YOLO's text files: as Ultralytics, Roboflow, darknet and LabelImg lay them out, and what is refused."""

import shutil

import numpy as np
import pytest

from p2net_tf.data.annotations.reading import Reading
from p2net_tf.data.boxes.check import check_scenes
from p2net_tf.data.boxes.yolo import read_yolo_scenes
from p2net_tf.data.samples import DataError
from p2net_tf.utils.files import write_text
from tests.data.boxes.box_sets import BOXES, SIZE, write_yolo, yolo_lines

ALL = np.concatenate([boxes for boxes in BOXES.values() if boxes])
ROBOFLOW = "train: ../train/images\nval: ../valid/images\nnc: 1\nnames: ['person']\n"


def read(root, split="train", classes=("person",), annotations=None, **reading):
    return read_yolo_scenes(root, split, annotations, classes, reading=Reading(**reading))


def said(scenes) -> str:
    return "\n".join(map(str, scenes.problems))


@pytest.fixture
def root(tmp_path):
    return write_yolo(tmp_path / "set")


def demand_boxes(scenes):
    np.testing.assert_allclose(scenes.boxes, ALL, atol=1e-3)
    assert scenes.counts.tolist() == [2, 1, 0, 3]


def test_as_ultralytics_writes_it(root):
    scenes = read(root)
    demand_boxes(scenes)
    assert scenes.given_image_ids == ["a", "b", "c", "d"]
    assert (scenes.class_names, scenes.category_ids) == (("person",), (0,))
    assert scenes.problems == ()
    demand_boxes(read(root / "data.yaml"))


@pytest.mark.parametrize(
    "settings",
    [
        f"path: /somewhere/else\n{ROBOFLOW}",
        "train: [images/train]\nnames: {0: person, 1: dog}\n",
        "path: .\ntrain: list.txt\nnames: [person]\n",
        "names: [person]\n",
        "train: D:\\data\\images\\train\nnames: [Person]\n",
    ],
)
def test_settings(root, settings):
    write_text(root / "data.yaml", settings)
    write_text(root / "list.txt", "".join(f"./images/train/{name}.png\n" for name in BOXES))
    demand_boxes(read(root))


@pytest.mark.parametrize("layout", ["roboflow", "beside", "whole", "labelimg"])
def test_layouts(root, layout):
    if layout == "roboflow":
        for kind in ("images", "labels"):
            shutil.move(root / kind / "train", root / "train" / kind)
        write_text(root / "data.yaml", ROBOFLOW)
    elif layout == "beside":
        for file in (root / "labels/train").iterdir():
            shutil.move(file, root / "images/train" / file.name)
    elif layout == "whole":
        for kind in ("images", "labels"):
            for file in (root / kind / "train").iterdir():
                shutil.move(file, root / kind / file.name)
            (root / kind / "train").rmdir()
        write_text(root / "data.yaml", "names: [person]\n")
    else:
        (root / "data.yaml").unlink()
        write_text(root / "labels/train/classes.txt", "person\ndog\n")
    demand_boxes(read(root))
    assert "have no picture" not in said(read(root))


def test_val_is_valid(root):
    for kind in ("images", "labels"):
        (root / kind / "train").rename(root / kind / "valid")
    demand_boxes(read(root, "val"))
    with pytest.raises(DataError, match="no pictures of the split test; it has train, val"):
        read(root, "test")
    with pytest.raises(DataError, match="'train' is 'images/train', where no pictures are"):
        read(root)


def test_classes(root):
    write_text(root / "labels/train/b.txt", yolo_lines(BOXES["b"], 1))
    everything = read(root, classes=())
    assert everything.class_names == ("person", "dog")
    assert everything.classes.tolist() == [0, 0, 1, 0, 0, 0]
    assert read(root).counts.tolist() == [2, 0, 0, 3]
    assert read(root, category="dog").counts.tolist() == [0, 1, 0, 0]


def test_without_names(root):
    (root / "data.yaml").unlink()
    scenes = read(root)
    demand_boxes(scenes)
    assert "the classes have no names: 0 is read as 'person'" in said(scenes)
    write_text(root / "labels/train/b.txt", yolo_lines(BOXES["b"], 7))
    with pytest.raises(DataError, match="classes 0, 7 have no names; name that of the people"):
        read(root)
    assert read(root, category=0).counts.tolist() == [2, 0, 0, 3]
    assert read(root, classes=()).class_names == ("0", "7")


LINES = {
    "a class by its name": (lambda b: f"person {b}", ""),
    "a class as a fraction": (lambda b: f"0.0 {b}", ""),
    "commas": (lambda b: f"0, {b.replace(' ', ', ')}", ""),
    "a confidence": (lambda b: f"0 {b} 0.87", "a fifth number behind the box"),
    "a pose": (lambda b: f"0 {b} " + "0.5 0.5 2 " * 17, "the keypoints behind the box are not read"),
    "an even pose": (lambda b: f"0 {b} " + "0.5 0.5 1 " * 14, "the keypoints behind the box are not read"),
    "windows": (lambda b: f"0 {b}\r\n\r\n", ""),
}


@pytest.mark.parametrize("name", LINES)
def test_lines(root, name):
    write, words = LINES[name]
    write_text(root / "labels/train/b.txt", write(yolo_lines(BOXES["b"])[2:].strip()))
    scenes = read(root)
    demand_boxes(scenes)
    assert words in said(scenes)


@pytest.mark.parametrize("form", ["cxcywh", "xyxy"])
def test_polygons_are_their_boxes(root, form):
    x, y, width, height = BOXES["b"][0]
    points = np.array([[x, y + 5], [x + width, y], [x + width / 2, y + height]]) / SIZE
    write_text(root / "labels/train/b.txt", "0 " + " ".join(f"{value:.6f}" for value in points.ravel()))
    scenes = read(root, boxes=form)
    np.testing.assert_allclose(scenes.boxes[scenes.objects_of(1)], BOXES["b"], atol=1e-3)
    assert "a polygon: the box around it" in said(scenes)


def test_keypoints_of_two_numbers(root):
    write_text(root / "data.yaml", "train: images/train\nnames: [person]\nkpt_shape: [3, 2]\n")
    write_text(root / "labels/train/b.txt", yolo_lines(BOXES["b"]).strip() + " 0.5" * 6)
    demand_boxes(read(root))


@pytest.mark.parametrize(
    ("line", "kind", "words"),
    [
        ("0 0.5 0.5 nan 0.2", "label_line", "line 1: 'nan' is not a finite number"),
        ("0 0.5 0.5 0.1", "label_line", "line 1: holds 3 numbers behind the class"),
        ("0 0.5 0.5 0 0.2", "box_empty", "line 1: [0.5, 0.5, 0.0, 0.2] is no box with an area"),
        ("9 0.5 0.5 0.1 0.2", "unknown_class", "line 1: class 9 is none of 2 names"),
        ("cat 0.5 0.5 0.1 0.2", "unknown_class", "line 1: class cat is none of 2 names"),
        (",,,", "label_line", "line 1: holds 0 numbers"),
    ],
)
def test_broken_lines(root, line, kind, words):
    write_text(root / "labels/train/b.txt", line + "\n" + yolo_lines(BOXES["b"]))
    scenes = read(root)
    demand_boxes(scenes)
    (problem,) = scenes.problems
    assert (problem.kind, problem.file) == (kind, str(root / "labels/train/b.txt"))
    assert words in str(problem)


def test_files_that_are_no_text(root):
    (root / "labels/train/b.txt").write_bytes(b"\xff\xfe\x00\x01")
    scenes = read(root)
    assert scenes.counts.tolist() == [2, 0, 0, 3]
    assert "annotation_file" in said(scenes)


def test_missing_files(root):
    (root / "labels/train/b.txt").unlink()
    (root / "images/train/a.png").unlink()
    scenes = read(root)
    assert scenes.given_image_ids == ["b", "c", "d"]
    assert "1 of 3 pictures have no file of labels, e.g. b.png: taken as pictures without" in said(scenes)
    assert "1 files of labels have no picture, e.g. a.txt" in said(scenes)
    shutil.rmtree(root / "labels")
    with pytest.raises(DataError, match="none of 3 pictures has a file of labels; put them into labels/"):
        read(root)


@pytest.mark.parametrize(("scale", "form"), [((200, 150), "pixels"), ((100, 100), "percent")])
def test_other_coordinates(root, scale, form):
    for path in (root / "labels/train").iterdir():
        rows = [line.split() for line in path.read_text().splitlines()]
        scaled = [[row[0], *(str(float(v) * scale[n % 2]) for n, v in enumerate(row[1:]))] for row in rows]
        write_text(path, "\n".join(" ".join(row) for row in scaled))
    assert f"set coordinates: {form} for this data set" in said(read(root))
    demand_boxes(read(root, coordinates=form))


def test_corners_for_centres(root):
    for path in (root / "labels/train").iterdir():
        rows = np.array([line.split() for line in path.read_text().splitlines()], float).reshape(-1, 5)
        corners = np.concatenate([rows[:, 1:3] - rows[:, 3:] / 2, rows[:, 1:3] + rows[:, 3:] / 2], axis=1)
        write_text(path, "".join("0 " + " ".join(map(str, row)) + "\n" for row in corners))
    found = [problem for problem in check_scenes(read(root), decode=False) if problem.kind == "box_form"]
    assert "as xyxy none would; set boxes: xyxy" in str(found[0])
    demand_boxes(read(root, boxes="xyxy"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("names: [", "not YAML"),
        ("- 1\n", "holds no keys"),
        ("names: 7\n", "'names' is 7; give a list of names"),
    ],
)
def test_broken_settings(root, settings, words):
    write_text(root / "data.yaml", settings)
    with pytest.raises(DataError, match=words):
        read(root, annotations="data.yaml")


def test_no_such_set(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        read(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no pictures of the split train"):
        read(tmp_path)
