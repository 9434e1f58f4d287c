"""Which format a folder of boxes has, by the files in it."""

from __future__ import annotations

import os
from pathlib import Path

from p2net_tf.data.boxes.coco import likely_annotations
from p2net_tf.data.boxes.folders import files_of, pictures_of
from p2net_tf.data.boxes.settings import BoxFormat
from p2net_tf.data.boxes.voc import find_voc_folder
from p2net_tf.data.samples import DataError
from p2net_tf.utils.paths import as_path

_LSP_IMAGES = 2000
"""LSPET has more."""


def recognise_boxes(root: str | Path, split: str = "train") -> BoxFormat | None:
    """The format; None where no file tells.

    Raises:
        DataError: no such folder.
    """
    root = as_path(root, "root")
    if root.suffix.lower() in (".yaml", ".yml") and root.is_file():
        return "yolo"
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; give that of the data set")
    if find_voc_folder(root) or files_of(root / split, [".xml"]) or files_of(root, [".xml"]):
        return "voc"
    if likely_annotations(root, split):
        return "coco"
    if (root / "joints.mat").is_file():
        return "lsp" if len(pictures_of(root / "images")) <= _LSP_IMAGES else "lspet"
    return "yolo" if _has_yolo(root) else None


def _has_yolo(root: Path) -> bool:
    """A YAML file, or labels in text files."""
    if files_of(root, [".yaml", ".yml"]):
        return True
    folders = [folder for folder, _, _ in os.walk(root) if Path(folder).name in ("labels", "images")]
    return any(files_of(Path(folder), [".txt"]) for top in (*folders, root) for folder, _, _ in os.walk(top))
