"""From the configuration's sources of boxes to `Scenes`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from p2net_tf.data.annotation_files import find_annotations, load_json
from p2net_tf.data.boxes.settings import BoxDatasetConfig
from p2net_tf.data.samples import DataError, Problem
from p2net_tf.data.scenes import Scenes, concatenate


def open_scenes(
    sources: Sequence[BoxDatasetConfig], classes: Sequence[str] = ("person",), strict: bool = False
) -> tuple[Scenes, list[Problem]]:
    """Reads, checks and joins `sources`.

    Raises:
        DataError: nothing usable is left.
    """
    parts = []
    for source in sources:
        scenes = _read_coco(source, tuple(classes))
        if source.rows is not None:
            scenes = scenes.take(slice(*source.rows))
        parts.append(scenes.take(np.tile(np.arange(len(scenes)), source.repeat)))
    joined = concatenate(parts)
    if not len(joined):
        raise DataError(f"{joined.source}: no pictures; look at root, annotations and rows")
    return joined, []


def _read_coco(source: BoxDatasetConfig, classes: tuple[str, ...]) -> Scenes:
    root = Path(source.root)
    usual = [f"annotations/{kind}_{source.split}.json" for kind in ("instances", "person_keypoints")] + [
        f"person_boxes_{source.split}.json"
    ]
    file = find_annotations(root, source.annotations, usual)
    tree = load_json(file)
    numbers = {c["id"]: classes.index(c["name"]) for c in tree["categories"] if c["name"] in classes}
    images = tree["images"]
    row_of = {image["id"]: row for row, image in enumerate(images)}
    found = [a for a in tree["annotations"] if a["category_id"] in numbers and a["image_id"] in row_of]
    found = [a for a in found if a["bbox"][2] > 0 and a["bbox"][3] > 0]
    found.sort(key=lambda a: row_of[a["image_id"]])
    folder = next(
        (f for f in (root / source.split, root / "images" / source.split, root) if f.is_dir()), root
    )
    return Scenes(
        class_names=classes,
        image_paths=np.array([str(folder / image["file_name"]) for image in images]),
        image_ids=np.array([image["id"] for image in images]),
        label_sizes=np.array([[image["width"], image["height"]] for image in images]),
        owners=np.array([row_of[a["image_id"]] for a in found], np.int64),
        boxes=np.array([a["bbox"] for a in found], np.float32).reshape(-1, 4),
        classes=np.array([numbers[a["category_id"]] for a in found], np.int64),
        crowds=np.array([a.get("iscrowd", 0) for a in found], bool),
        areas=np.array([a.get("area", a["bbox"][2] * a["bbox"][3]) for a in found], np.float32),
        ids=np.arange(len(found)) if any("id" not in a for a in found) else [a["id"] for a in found],
        exif_orientation=bool(source.exif_orientation),
        source=str(file),
        category_ids=tuple(next(i for i, n in numbers.items() if n == c) for c in range(len(classes))),
    )
