"""A set of boxes at a glance: pictures with their boxes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from p2net_tf.data.browse import random_rows
from p2net_tf.data.image_files import decode_file
from p2net_tf.data.scenes import Scenes
from p2net_tf.skeletons import drawing

_TILE = 320
"""Pixels of the longer side of a picture."""
_COLORS = ((255, 176, 59), (90, 178, 255), (122, 220, 120), (240, 110, 170), (190, 140, 255), (250, 235, 90))
"""Of the classes, in turn."""


def browse_scenes(
    scenes: Scenes,
    path: str | Path,
    count: int = 24,
    seed: int = 0,
    rows: Sequence[int] | None = None,
    columns: int = 6,
) -> list[int]:
    """Writes a contact sheet (`.png` or `.jpg`) of pictures with their boxes, crowds in grey.

    A picture that cannot be read gets a grey tile with the reason.

    Args:
        count: how many pictures to draw at random (without repetition), by `seed`, where `rows` is None.
        columns: pictures per line.

    Returns:
        The rows of `scenes` that are shown, in order.

    Raises:
        ValueError: no pictures.
    """
    rows = random_rows(len(scenes), count, seed) if rows is None else [int(row) for row in rows]
    if not rows:
        raise ValueError(f"{scenes.source or 'the data set'} has no pictures to show")
    tiles, captions = [_tile(scenes, row) for row in rows], [_caption(scenes, row) for row in rows]
    drawing.write_image(path, drawing.contact_sheet(tiles, columns, captions))
    return rows


def draw_boxes(
    picture: np.ndarray,
    boxes: np.ndarray,
    colors: Sequence[drawing.Color] | None = None,
    labels: Sequence[str] | None = None,
    size: int = _TILE,
) -> np.ndarray:
    """A picture `[H, W, 3]` uint8 with xywh boxes `[n, 4]`, its longer side scaled to `size` pixels."""
    factor = size / max(picture.shape[:2])
    shape = tuple(max(1, round(side * factor)) for side in picture.shape[1::-1])
    tile = cv2.resize(picture, shape, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
    for place, box in enumerate(np.asarray(boxes, np.float64) * factor):
        color = drawing.WHITE if colors is None else colors[place]
        tile = drawing.draw_box(tile, box, color, None if labels is None else labels[place])
    return tile


def _tile(scenes: Scenes, row: int) -> np.ndarray:
    try:
        picture = decode_file(str(scenes.image_paths[row]), scenes.exif_orientation)
    except ValueError as error:
        return drawing.text_tile((_TILE * 3 // 4, _TILE), str(error))
    own = scenes.objects_of(row)
    colors = [
        drawing.GREY if crowd else _COLORS[kind % len(_COLORS)]
        for crowd, kind in zip(scenes.crowds[own].tolist(), scenes.classes[own].tolist(), strict=True)
    ]
    names = [scenes.class_names[kind] for kind in scenes.classes[own].tolist()]
    return draw_boxes(picture, scenes.boxes[own], colors, names if len(scenes.class_names) > 1 else None)


def _caption(scenes: Scenes, row: int) -> str:
    own = scenes.objects_of(row)
    crowds = int(scenes.crowds[own].sum())
    count = own.stop - own.start - crowds
    words = f"{count} {'box' if count == 1 else 'boxes'}" + (f", {crowds} to ignore" if crowds else "")
    return f"row {row}: {Path(scenes.image_paths[row]).name}\n{words}"
