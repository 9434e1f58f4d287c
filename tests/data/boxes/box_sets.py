"""Small sets of boxes on disk, with pictures that decode quickly."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from p2net_tf.skeletons import drawing
from p2net_tf.utils.files import write_text

SIZE = (200, 150)
"""(width, height) of every picture."""
BOXES = {
    "a": [[10, 20, 50, 80], [120, 30, 60, 100]],
    "b": [[30, 40, 40, 60]],
    "c": [],
    "d": [[5, 5, 190, 140], [0, 0, 20, 50], [150, 90, 50, 60]],
}
"""xywh in pixels, by the names of the pictures."""


def write_pictures(folder: Path, names=tuple(BOXES), size=SIZE, suffix=".png") -> None:
    picture = np.full((size[1], size[0], 3), 90, np.uint8)
    for name in names:
        drawing.write_image(folder / f"{name}{suffix}", picture)


def coco_document(boxes=BOXES, category: int | None = 1) -> dict:
    """The pictures and boxes as COCO annotations of persons."""
    width, height = SIZE
    images = [
        {"id": number, "file_name": f"{name}.png", "width": width, "height": height}
        for number, name in enumerate(boxes, 1)
    ]
    entries = [(number, box) for number, own in enumerate(boxes.values(), 1) for box in own]
    annotations = [
        {
            "id": 100 + place,
            "image_id": number,
            "category_id": category,
            "bbox": list(map(float, box)),
            "area": float(box[2] * box[3]) / 2,
            "iscrowd": 0,
        }
        for place, (number, box) in enumerate(entries)
    ]
    categories = [{"id": 1, "name": "person"}, {"id": 5, "name": "dog"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def write_coco(root: Path, document: dict | None = None, pictures: bool = True) -> Path:
    """A root with `annotations/instances_train.json` and `train/`; returns it."""
    if pictures:
        write_pictures(root / "train")
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    content = coco_document() if document is None else document
    (root / "annotations/instances_train.json").write_text(json.dumps(content))
    return root


def voc_text(boxes, name="person", filename="a.png", size=SIZE, first_pixel=1, extra="") -> str:
    """An annotation file; `first_pixel` 1 is Pascal VOC's own way of counting."""
    objects = "".join(
        f"<object><name>{name}</name><difficult>0</difficult><bndbox>"
        f"<xmin>{x + first_pixel}</xmin><ymin>{y + first_pixel}</ymin>"
        f"<xmax>{x + width}</xmax><ymax>{y + height}</ymax></bndbox>{extra}</object>"
        for x, y, width, height in boxes
    )
    return (
        f"<annotation><filename>{filename}</filename><size><width>{size[0]}</width><height>{size[1]}</height>"
        f"<depth>3</depth></size>{objects}</annotation>"
    )


def write_voc(root: Path, boxes=BOXES, pictures: bool = True, **options) -> Path:
    """A root with `Annotations/`, `JPEGImages/` and lists: `train` of all and `val` of the last."""
    if pictures:
        write_pictures(root / "JPEGImages", boxes)
    for name, own in boxes.items():
        write_text(root / f"Annotations/{name}.xml", voc_text(own, filename=f"{name}.png", **options))
    write_text(root / "ImageSets/Main/train.txt", "\n".join(boxes) + "\n")
    write_text(root / "ImageSets/Main/val.txt", list(boxes)[-1])
    return root


def yolo_lines(boxes, kind=0, size=SIZE) -> str:
    lines = [
        f"{kind} {(x + width / 2) / size[0]:.6f} {(y + height / 2) / size[1]:.6f} "
        f"{width / size[0]:.6f} {height / size[1]:.6f}\n"
        for x, y, width, height in boxes
    ]
    return "".join(lines)


def write_yolo(root: Path, boxes=BOXES, pictures: bool = True, settings: str | None = None) -> Path:
    """A root with `images/train`, `labels/train` and `data.yaml`."""
    for name, own in boxes.items():
        if pictures:
            write_pictures(root / "images/train", [name])
        else:
            write_text(root / f"images/train/{name}.png", "")
        write_text(root / f"labels/train/{name}.txt", yolo_lines(own))
    if settings is None:
        settings = "train: images/train\nval: images/val\nnames: [person, dog]\n"
    write_text(root / "data.yaml", settings)
    return root
