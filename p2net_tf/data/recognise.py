"""What a folder of data holds, by its files: people with keypoints, or boxes in one of their formats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from p2net_tf.data.annotation_files import find_annotations, load_json
from p2net_tf.data.annotations.values import as_list
from p2net_tf.data.boxes.coco import likely_annotations
from p2net_tf.data.boxes.recognise import recognise_boxes
from p2net_tf.utils.paths import as_path

BOXES = {"boxes": "coco", "voc": "voc", "yolo": "yolo"}
"""What sets of boxes are called beside those of people, and their format."""


def recognise(root: str | Path, split: str, annotations: str | Path | None = None) -> str:
    """`coco` for people, or a key of `BOXES`; `coco` where no file tells.

    Args:
        annotations: annotation file, relative to `root` or to the working folder.

    Raises:
        DataError: an annotation file that cannot be read.
    """
    root = as_path(root, "root")
    if annotations is not None and Path(annotations).suffix.lower() != ".json":
        return "yolo"
    if (root / f"annotations/person_keypoints_{split}.json").is_file() and annotations is None:
        return "coco"
    given = [find_annotations(root, annotations, [])] if annotations is not None else []
    for path in given or (likely_annotations(root, split) if root.is_dir() else []):
        return "boxes" if _has_boxes_alone(load_json(path)) else "coco"
    found = recognise_boxes(root, split) if root.exists() else None
    return found if found in ("voc", "yolo") else "coco"


def _has_boxes_alone(content: Any) -> bool:
    """Whether annotations have boxes, and nobody speaks of keypoints."""
    if not isinstance(content, dict):
        return False
    annotations, categories = (_objects(content.get(name)) for name in ("annotations", "categories"))
    if any(as_list(entry.get("keypoints")) for entry in (*categories, *annotations)):
        return False
    return any("bbox" in entry or "segmentation" in entry for entry in annotations)


def _objects(entries: Any) -> list[dict]:
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
