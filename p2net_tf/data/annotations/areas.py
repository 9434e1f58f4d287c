"""The area of a person, which OKS divides by, where a file does not say it."""

from __future__ import annotations

from typing import Any

import numpy as np

from p2net_tf.data.annotations.reading import AREA_OF_BOX
from p2net_tf.data.annotations.values import number, numbers

_SMALLEST, _LARGEST = 1e-3, 2.0
"""Times the box. (Of COCO's people 0.1 to 1; of two hands at the ends of a box it may be a hundredth.)"""


def person_area(
    entry: dict,
    box: np.ndarray,
    area_of_box: float | None = AREA_OF_BOX,
    factor: float = 1.0,
    largest: float = np.inf,
    own_box: bool = False,
) -> tuple[float, str | None]:
    """Square pixels of the person of an annotation: its `area`, else of its segment, else a part of its box.

    An area that its box cannot have is not believed: it is in another unit, or a placeholder.

    Args:
        box: `[4]` xywh in pixels.
        area_of_box: that part; None: all of it, as box AP has it.
        factor: brings the areas of the file to square pixels.
        largest: an `area` beyond is not believed.
        own_box: the box is the one of the annotation, by which its area can be judged.

    Returns:
        `(area, the rule by which it was found)`; no rule where the file says it.
    """
    whole = float(box[2] * box[3])
    low, high = 0.0, largest
    # AP of boxes (no `area_of_box`) only sorts by areas, which stay as they are.
    if own_box and area_of_box is not None and whole > 0:
        low, high = _SMALLEST * whole, min(largest, _LARGEST * whole)
    area = number(entry.get("area"))
    given = area is not None and area * factor > 0
    if given and low <= area * factor <= high:
        return area * factor, None
    why = "an area that the box cannot have" if given else "no area"
    area = segment_area(entry.get("segmentation"))
    if area is not None and low <= area * factor <= high:
        return area * factor, f"{why}: that of the segmentation"
    if area_of_box is None:
        return whole, f"{why}: that of the box"
    return whole * area_of_box, f"{why}: {area_of_box:g} of the box (area_of_box)"


def segment_area(segmentation: Any) -> float | None:
    """Square pixels of polygons `[[x, y, ...], ...]` or a run-length mask; None where there are none."""
    if isinstance(segmentation, dict):
        return _mask_area(segmentation.get("counts"), segmentation.get("size"))
    if not isinstance(segmentation, list):
        return None
    areas = [_polygon_area(polygon) for polygon in polygons_of(segmentation)]
    total = sum(area for area in areas if area is not None)
    return total if total > 0 else None


def polygons_of(segmentation: list) -> list:
    """The polygons `[x, y, ...]` of `[[x, y, ...], ...]`, of one alone, or of lists of points."""
    if segmentation and all(number(value) is not None for value in segmentation):
        return [segmentation]
    if all(_are_points(part) for part in segmentation) and segmentation:
        return [[value for point in part for value in point] for part in segmentation]
    # [[x, y], [x, y], ...]: one polygon, since none has two numbers.
    if len(segmentation) > 2 and _are_points(segmentation):
        return [[value for point in segmentation for value in point]]
    return segmentation


def _are_points(part: Any) -> bool:
    return isinstance(part, list) and len(part) > 2 and all(numbers(point, 2) is not None for point in part)


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
