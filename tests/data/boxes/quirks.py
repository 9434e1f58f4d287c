"""The table of quirks of boxes: how people write them, and what must come of it.

`python -m tests.data.quirk_report` writes it into `docs/which_data.md`.
"""

# ruff: noqa: E501  a row of the table is a line where it can be

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from p2net_tf.data.boxes.check import check_scenes, demand_usable_scenes
from p2net_tf.data.boxes.datasets import read_scenes
from p2net_tf.data.boxes.settings import BoxDatasetConfig
from p2net_tf.data.samples import Problem
from p2net_tf.data.scenes import Scenes
from p2net_tf.evaluation.boxes.average_precision import BoxResult
from p2net_tf.evaluation.boxes.evaluate import FoundBoxes, score_found
from p2net_tf.evaluation.boxes.scored_scenes import only_class, select_scenes
from p2net_tf.utils.files import write_text
from tests.data.boxes.box_sets import (
    BOXES,
    SIZE,
    coco_document,
    voc_text,
    write_coco,
    write_pictures,
    write_voc,
    write_yolo,
    yolo_lines,
)
from tests.evaluation.boxes.perturbed import perturbed_boxes
from tests.plain_pycocotools import plain_stats

EXIF_TURN = 6
"""A quarter, to the right."""


@dataclass(frozen=True)
class BoxQuirk:
    """One way to write the set of four pictures with six people.

    Attributes:
        topic, name: of the row in the report.
        make: writes the set into an empty folder.
        keys: of the data set's configuration.
        says: a word of the note or warning that must be there; None: nothing may be said.
        refused: words of the error by which the whole set is refused.
        truth: what becomes of the original annotations, for the score.
        lost: names of pictures that nobody can look at.
        errors: kinds of broken items that the check lists.
    """

    topic: str
    name: str
    make: Callable[[Path], object]
    keys: dict = field(default_factory=dict)
    says: str | None = None
    refused: str | None = None
    truth: Callable[[dict], object] = lambda document: None
    lost: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()

    def source(self, root: Path) -> BoxDatasetConfig:
        return BoxDatasetConfig(**{"root": str(root), **self.keys})

    def expected(self) -> tuple[int, float]:
        """Objects that count and their AP, by plain pycocotools."""
        document = coco_document()
        self.truth(document)
        found = [entry for entry in detections() if _name(entry) not in self.lost]
        objects = sum(not entry["iscrowd"] for entry in document["annotations"])
        return objects, float(plain_stats(document, found, "bbox")[0])


def detections() -> list[dict]:
    """Boxes near the true ones, by the numbers of the original pictures."""
    return perturbed_boxes(coco_document(), seed=2)


def _name(entry: dict) -> str:
    return list(BOXES)[entry["image_id"] - 1]


def check(source: BoxDatasetConfig) -> tuple[Scenes, list[Problem]]:
    """What is usable, and all problems."""
    scenes = read_scenes(source)
    problems = check_scenes(scenes)
    return demand_usable_scenes(scenes, problems), problems


def score(source: BoxDatasetConfig) -> BoxResult:
    """The detections, scored on what the set is read as."""
    pictures = select_scenes(only_class(read_scenes(source), "person"))
    row_of = {Path(path).stem: row for row, path in enumerate(pictures.scenes.image_paths.tolist())}
    found = [entry for entry in detections() if _name(entry) in row_of]
    columns = FoundBoxes(
        [row_of[_name(entry)] for entry in found],
        [entry["bbox"] for entry in found],
        [entry["score"] for entry in found],
        [0] * len(found),
    )
    return score_found(pictures, columns).result


def coco(change: Callable[[dict], object] = lambda document: None, **options) -> Callable[[Path], object]:
    """COCO's form, after a change of its document."""

    def make(root: Path) -> None:
        document = coco_document()
        change(document)
        write_coco(root, document, **options)

    return make


def each(change: Callable[[dict], object]) -> Callable[[dict], object]:
    return lambda document: [change(entry) for entry in document["annotations"]]


def boxes(change: Callable[..., list], area: bool = True) -> Callable[[Path], object]:
    """COCO's form with other numbers in `bbox`."""

    def changed(entry: dict) -> None:
        entry["bbox"] = [float(value) for value in change(*entry["bbox"])]
        if not area:
            del entry["area"]

    return coco(each(changed))


def corners(x, y, width, height) -> list:
    return [x, y, x + width, y + height]


def centres(x, y, width, height) -> list:
    return [x + width / 2, y + height / 2, width, height]


def fractions(x, y, width, height, full: float = 1) -> list:
    return [full * value / size for value, size in zip((x, y, width, height), SIZE * 2, strict=True)]


def thousandths(*box) -> list:
    return fractions(*box, full=1000)


def segment(entry: dict) -> None:
    x, y, width, height = entry.pop("bbox")
    entry["segmentation"] = [[x, y, x + width, y, x + width, y + height, x, y + height]]


def is_dog(document: dict) -> None:
    document["annotations"][0]["category_id"] = 5


def no_dog(document: dict) -> None:
    del document["annotations"][0]


def as_box_areas(document: dict) -> None:
    for entry in document["annotations"]:
        entry["area"] = entry["bbox"][2] * entry["bbox"][3]


def crowd(document: dict) -> None:
    document["annotations"][1]["iscrowd"] = 1


def resized(root: Path) -> None:
    write_coco(root, pictures=False)
    write_pictures(root / "train", size=(SIZE[0] // 2, SIZE[1] // 2))


def turned(root: Path) -> None:
    """Labels of upright pictures, whose files are stored lying and say so."""
    write_coco(root, pictures=False)
    for name in BOXES:
        exif = Image.Exif()
        exif[0x0112] = EXIF_TURN
        picture = Image.new("RGB", SIZE[::-1], (90, 90, 90))
        (root / "train").mkdir(exist_ok=True)
        picture.save(root / f"train/{name}.png", exif=exif)


def roboflow_coco(root: Path) -> None:
    """Annotations beside the pictures, and a heading over the classes."""
    document = coco_document()
    document["categories"] = [
        {"id": 0, "name": "people", "supercategory": "none"},
        {"id": 1, "name": "person", "supercategory": "people"},
    ]
    write_pictures(root / "train")
    (root / "train/_annotations.coco.json").write_text(json.dumps(document))


def broken(root: Path, box) -> None:
    document = coco_document()
    document["annotations"][3]["bbox"] = box
    write_coco(root, document)


def without_fourth(document: dict) -> None:
    del document["annotations"][3]


def without_second_picture(document: dict) -> None:
    del document["annotations"][2], document["images"][1]


def lost_picture(root: Path) -> None:
    write_coco(root)
    (root / "train/a.png").unlink()


def voc_with(change: Callable[[str], str], **options) -> Callable[[Path], object]:
    """Pascal VOC after a change of the text of every file."""

    def make(root: Path) -> None:
        write_voc(root, **options)
        for path in (root / "Annotations").iterdir():
            write_text(path, change(path.read_text()))

    return make


def beside_pictures(root: Path) -> None:
    for name, own in BOXES.items():
        write_text(root / f"train/{name}.xml", voc_text(own, filename=f"{name}.png"))
    write_pictures(root / "train")


def one_file(name: str, text: str) -> Callable[[Path], object]:
    def make(root: Path) -> None:
        write_voc(root)
        write_text(root / f"Annotations/{name}.xml", text)

    return make


def no_lists(root: Path) -> None:
    write_voc(root)
    shutil.rmtree(root / "ImageSets")


def unannotated(root: Path) -> None:
    no_lists(root)
    (root / "Annotations/c.xml").unlink()


def lines_with(change: Callable[[str], str], settings: str | None = None) -> Callable[[Path], object]:
    """YOLO after a change of every line."""

    def make(root: Path) -> None:
        write_yolo(root, settings=settings)
        for path in (root / "labels/train").iterdir():
            write_text(path, "".join(change(line) + "\n" for line in path.read_text().splitlines()))

    return make


def _numbers(line: str) -> list[float]:
    return [float(value) for value in line.split()[1:]]


def polygon(line: str) -> str:
    x, y, width, height = _numbers(line)
    left, right, top, bottom = x - width / 2, x + width / 2, y - height / 2, y + height / 2
    return f"0 {left:.6f} {y} {x} {top:.6f} {right:.6f} {y} {x} {bottom:.6f}"


def pixels(line: str) -> str:
    return "0 " + " ".join(str(v * SIZE[n % 2]) for n, v in enumerate(_numbers(line)))


def in_thousandths(line: str) -> str:
    return "0 " + " ".join(str(1000 * value) for value in _numbers(line))


def as_corners(line: str) -> str:
    x, y, width, height = _numbers(line)
    return f"0 {x - width / 2:.6f} {y - height / 2:.6f} {x + width / 2:.6f} {y + height / 2:.6f}"


def roboflow_yolo(root: Path) -> None:
    write_yolo(root, settings="train: ../train/images\nval: ../valid/images\nnc: 1\nnames: ['person']\n")
    for kind in ("images", "labels"):
        (root / "train").mkdir(exist_ok=True)
        shutil.move(root / kind / "train", root / "train" / kind)


def darknet(root: Path) -> None:
    """Labels beside the pictures, names in a file."""
    write_pictures(root / "train")
    for name, own in BOXES.items():
        write_text(root / f"train/{name}.txt", yolo_lines(own))
    write_text(root / "classes.txt", "person\ndog\n")


def unnamed(root: Path, last: int = 0) -> None:
    write_yolo(root)
    (root / "data.yaml").unlink()
    path = root / "labels/train/d.txt"
    write_text(path, path.read_text().replace("0 ", f"{last} ", 1))


def unlabeled(root: Path) -> None:
    write_yolo(root)
    (root / "labels/train/c.txt").unlink()


def bad_line(root: Path, line: str) -> None:
    write_yolo(root)
    path = root / "labels/train/d.txt"
    write_text(path, line + "\n" + path.read_text().partition("\n")[2])


VOC, YOLO = {"format": "voc"}, {"format": "yolo"}
SWAP = lambda text: text.replace("xmin", "X").replace("xmax", "xmin").replace("X", "xmax")  # noqa: E731
ENTITY = '<!DOCTYPE a [<!ENTITY x "y">]><annotation/>'
Q = BoxQuirk

BOX_QUIRKS: list[BoxQuirk] = [
    Q("COCO's form", "`instances`, some pictures without anybody", coco()),
    Q("COCO's form", "`num_keypoints: 0` beside a box", coco(each(lambda e: e.update(num_keypoints=0, keypoints=[])))),
    Q("COCO's form", "no `bbox`, but a segmentation", coco(each(segment)), says="no bbox with an area: that of the segmentation"),
    Q("COCO's form", "no `area`: that of the whole box", coco(each(lambda e: e.pop("area"))), says="no area: that of the box", truth=as_box_areas),
    Q("COCO's form", "numbers as text", coco(each(lambda e: e.update(bbox=" ".join(map(str, e["bbox"])), image_id=str(e["image_id"]))))),
    Q("COCO's form", "a crowd", coco(crowd), truth=crowd),
    Q("COCO's form", "Roboflow's, beside the pictures", roboflow_coco),
    Q("COCO's form", "dogs among the people", coco(is_dog), says="1 of 'dog'", truth=no_dog),
    Q("COCO's form", "`category: dog`", coco(is_dog), {"category": "dog"}, says="'dog' is read as 'person'", truth=lambda d: d.update(annotations=d["annotations"][:1])),
    Q("COCO's form", "no list `categories`", coco(lambda d: d.pop("categories")), says="the classes have no names: 1 is read as 'person'"),
    Q("COCO's form", "people who are called pedestrians", coco(lambda d: d["categories"][0].update(name="Pedestrian")), says="'Pedestrian' is read as 'person'"),
    Q("COCO's form", "people who are called players", coco(lambda d: d["categories"][0].update(name="player")), refused="no category 'person', but player .1., dog .5.; name that of the people in `category`"),
    Q("forms of boxes", "corners", boxes(corners), refused="as xyxy none would; set boxes: xyxy"),
    Q("forms of boxes", "corners, `boxes: xyxy`", boxes(corners), {"boxes": "xyxy"}),
    Q("forms of boxes", "centres, `boxes: cxcywh`", boxes(centres), {"boxes": "cxcywh"}),
    Q("forms of boxes", "fractions", boxes(fractions, area=False), refused="set coordinates: normalized"),
    Q("forms of boxes", "fractions, `coordinates: normalized`", boxes(fractions, area=False), {"coordinates": "normalized"}, says="coordinates are normalized", truth=as_box_areas),
    Q("forms of boxes", "thousandths", boxes(thousandths, area=False), refused="set coordinates: thousandths"),
    Q("forms of boxes", "thousandths, `coordinates: thousandths`", boxes(thousandths, area=False), {"coordinates": "thousandths"}, says="coordinates are thousandths", truth=as_box_areas),
    Q("forms of boxes", "of pictures that were made smaller", resized, refused="fit the declared sizes alone; set coordinates: declared"),
    Q("forms of boxes", "of pictures as EXIF turns them", turned, refused="set exif_orientation: true"),
    Q("forms of boxes", "of pictures as EXIF turns them, `exif_orientation: true`", turned, {"exif_orientation": True}),
    Q("broken items", "a box without an area", lambda root: broken(root, [1, 2, 0, 4]), truth=without_fourth, errors=("box_empty",)),
    Q("broken items", "a box outside its picture", lambda root: broken(root, [900, 2, 3, 4]), truth=without_fourth, errors=("box_outside",)),
    Q("broken items", "NaN in a box", lambda root: broken(root, [float("nan"), 2, 3, 4]), truth=without_fourth, errors=("box_empty",)),
    Q("broken items", "the only box of a picture: no picture without people", coco(lambda d: d["annotations"][2].update(bbox=None)), truth=without_second_picture, lost=("b",), errors=("box_empty",)),
    Q("broken items", "the same box twice", coco(lambda d: d["annotations"].append({**d["annotations"][0], "id": 9})), says="the same box stands before", truth=lambda d: d["annotations"].append({**d["annotations"][0], "id": 9})),
    Q("broken items", "a picture that is lost: its people count as missed", lost_picture, errors=("image_missing",), lost=("a",)),
    Q("broken items", "nothing but crowds", coco(each(lambda e: e.update(iscrowd=1))), says="all 6 are crowds or difficult", truth=each(lambda e: e.update(iscrowd=1))),
    Q("broken items", "a class that is not listed", coco(lambda d: d["annotations"][3].update(category_id=77)), truth=without_fourth, errors=("unknown_class",)),
    Q("Pascal VOC", "as published, pixels counted from 1", write_voc, VOC, truth=as_box_areas),
    Q("Pascal VOC", "pixels counted from 0", lambda root: write_voc(root, first_pixel=0), VOC, says="so pixels are counted from 0", truth=as_box_areas),
    Q("Pascal VOC", "LabelImg's, beside the pictures", beside_pictures, VOC, truth=as_box_areas),
    Q("Pascal VOC", "a difficult object", one_file("b", voc_text(BOXES["b"], filename="b.png").replace("t>0", "t>1")), VOC, truth=lambda d: (as_box_areas(d), d["annotations"][2].update(iscrowd=1))),
    Q("Pascal VOC", "corners exchanged", voc_with(SWAP), VOC, says="xmin or ymin is the larger one", truth=as_box_areas),
    Q("Pascal VOC", "a file that is cut off", one_file("b", "<annotation><obj"), VOC, truth=lambda d: (without_second_picture(d), as_box_areas(d)), lost=("b",), errors=("annotation_file",)),
    Q("Pascal VOC", "an entity", one_file("b", ENTITY), VOC, truth=lambda d: (without_second_picture(d), as_box_areas(d)), lost=("b",), errors=("annotation_file",)),
    Q("Pascal VOC", "no lists of parts", no_lists, VOC, truth=as_box_areas),
    Q("Pascal VOC", "no lists of parts, `split: val`", no_lists, {**VOC, "split": "val"}, refused="there is one part only; take split: all, with rows"),
    Q("Pascal VOC", "no lists of parts, and a picture without a file", unannotated, VOC, says="1 of 4 pictures have no XML file, e.g. c.png", truth=lambda d: (as_box_areas(d), d["images"].pop(2)), lost=("c",)),
    Q("YOLO", "Ultralytics'", write_yolo, YOLO, truth=as_box_areas),
    Q("YOLO", "Roboflow's", roboflow_yolo, YOLO, truth=as_box_areas),
    Q("YOLO", "darknet's, with `classes.txt`", darknet, YOLO, truth=as_box_areas),
    Q("YOLO", "one of two folders is not there", lambda root: write_yolo(root, settings="train: [images/train, images/more]\nnames: [person]\n"), YOLO, says="names 'images/more', which is not there", truth=as_box_areas),
    Q("YOLO", "the folder is not there, but the usual one", lambda root: write_yolo(root, settings="train: images/trian\nnames: [person]\n"), YOLO, says="names 'images/trian', which is not there; 4 pictures", truth=as_box_areas),
    Q("YOLO", "polygons", lines_with(polygon), YOLO, says="a polygon: the box around it", truth=as_box_areas),
    Q("YOLO", "poses", lines_with(lambda line: line + " 0.5 0.5 2" * 17), YOLO, says="the keypoints behind the box are not read", truth=as_box_areas),
    Q("YOLO", "confidences", lines_with(lambda line: line + " 0.9"), YOLO, says="a fifth number behind the box", truth=as_box_areas),
    Q("YOLO", "names for numbers", lines_with(lambda line: "Person" + line[1:]), YOLO, truth=as_box_areas),
    Q("YOLO", "paths of another machine", lambda root: write_yolo(root, settings="path: D:\\me\ntrain: D:\\me\\images\\train\nnames: [person]\n"), YOLO, truth=as_box_areas),
    Q("YOLO", "pixels", lines_with(pixels), YOLO, refused="no fractions of the pictures; set coordinates: pixels"),
    Q("YOLO", "pixels, `coordinates: pixels`", lines_with(pixels), {**YOLO, "coordinates": "pixels"}, truth=as_box_areas),
    Q("YOLO", "thousandths", lines_with(in_thousandths), YOLO, refused="no fractions of the pictures; set coordinates: thousandths"),
    Q("YOLO", "thousandths, `coordinates: thousandths`", lines_with(in_thousandths), {**YOLO, "coordinates": "thousandths"}, truth=as_box_areas),
    Q("YOLO", "corners", lines_with(as_corners), YOLO, refused="set boxes: xyxy"),
    Q("YOLO", "corners, `boxes: xyxy`", lines_with(as_corners), {**YOLO, "boxes": "xyxy"}, truth=as_box_areas),
    Q("YOLO", "no names, one class", unnamed, YOLO, says="0 is read as 'person'", truth=as_box_areas),
    Q("YOLO", "no names, two classes", lambda root: unnamed(root, 7), YOLO, refused="classes 0, 7 have no names; name that of the people in `category`"),
    Q("YOLO", "a picture without a file of labels", unlabeled, YOLO, says="1 of 4 pictures have no file of labels", truth=as_box_areas),
    Q("YOLO", "a line of five words", lambda root: bad_line(root, "0 0.5 0.5 x 0.1"), YOLO, truth=lambda d: (without_fourth(d), as_box_areas(d)), errors=("label_line",)),
    Q("YOLO", "a class that has no name", lambda root: bad_line(root, "8 0.5 0.5 0.1 0.1"), YOLO, truth=lambda d: (without_fourth(d), as_box_areas(d)), errors=("unknown_class",)),
]  # fmt: skip
