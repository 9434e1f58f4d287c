"""The area of a person, which OKS divides by, where a file does not say it."""

from __future__ import annotations

from typing import Any

import numpy as np

from p2net_tf.data.annotations.reading import AREA_OF_BOX
from p2net_tf.data.annotations.values import number, numbers


def person_area(
    entry: dict,
    box: np.ndarray,
    area_of_box: float | None = AREA_OF_BOX,
    factor: float = 1.0,
    largest: float = np.inf,
) -> tuple[float, str | None]:
    """Square pixels of the person of an annotation: its `area`, else of its segment, else a part of its box.

    Args:
        box: `[4]` xywh in pixels.
        area_of_box: that part; None: all of it, as box AP has it.
        factor: brings the areas of the file to square pixels.
        largest: an `area` beyond is not believed.

    Returns:
        `(area, the rule by which it was found)`; no rule where the file says it.
    """
    area = number(entry.get("area"))
    if area is not None and 0 < area * factor <= largest:
        return area * factor, None
    area = segment_area(entry.get("segmentation"))
    if area is not None:
        return area * factor, "no area: that of the segmentation"
    whole = float(box[2] * box[3])
    if area_of_box is None:
        return whole, "no area: that of the box"
    return whole * area_of_box, f"no area: {area_of_box:g} of the box (area_of_box)"


def segment_area(segmentation: Any) -> float | None:
    """Square pixels of polygons `[[x, y, ...], ...]` or a run-length mask; None where there are none."""
    if isinstance(segmentation, dict):
        return _mask_area(segmentation.get("counts"), segmentation.get("size"))
    if not isinstance(segmentation, list):
        return None
    areas = [_polygon_area(polygon) for polygon in segmentation]
    total = sum(area for area in areas if area is not None)
    return total if total > 0 else None


def _polygon_area(polygon: Any) -> float | None:
    """By the shoelace formula."""
    if not isinstance(polygon, list) or len(polygon) < 6:
        return None
    values = numbers(polygon, len(polygon) // 2 * 2)
    if values is None:
        return None
    x, y = values[0::2], values[1::2]
    return abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))) / 2


def _mask_area(counts: Any, size: Any) -> float | None:
    if isinstance(counts, list):  # runs of pixels outside and inside in turn
        inside = [number(count) for count in counts[1::2]]
        return sum(inside) or None if None not in inside else None
    if not isinstance(counts, str) or numbers(size, 2) is None:
        return None
    from pycocotools import mask

    try:
        return float(mask.area({"counts": counts.encode(), "size": [int(n) for n in size]})) or None
    except (ValueError, TypeError, OverflowError):
        return None
