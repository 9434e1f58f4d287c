"""One source of boxes in the `data` section of a detector's configuration."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt

from p2net_tf.utils.yaml_files import Section


class BoxDatasetConfig(Section):
    """One source of pictures with boxes. `root` and `annotations` may hold `${VARIABLE}`."""

    format: Literal["coco"]
    root: str
    """Folder of the data set as its archive unpacks."""
    split: str = "train"
    """Folder and annotation suffix, e.g. `train2017`."""
    annotations: str | None = None
    """Annotation file, when it does not lie where the format puts it."""
    rows: tuple[int, int] | None = None
    """Keep the pictures [start, stop) only; how a validation part is split off."""
    repeat: PositiveInt = 1
    """How often each of these pictures is seen per epoch."""
    exif_orientation: bool | None = None
    """Whether labels refer to the pictures as their EXIF headers turn them."""
