"""Small sets of boxes on disk, with pictures that decode quickly."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from p2net_tf.skeletons import drawing

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
