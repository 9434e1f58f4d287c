"""People over time as files hold them: truth and predictions that are made by hand."""

from __future__ import annotations

import numpy as np

BODY = np.array([[0.5, 0.1], [0.2, 0.4], [0.8, 0.4], [0.5, 0.9]]).repeat([5, 4, 4, 4], axis=0)
"""17 keypoints in fractions of the box."""
WIDTH, HEIGHT = 40.0, 90.0
"""Of every box: the size of a person is 60 pixels."""


def person(frame: int, number: int, x: float, y: float = 100.0, **more) -> dict:
    """One of the truth."""
    keypoints = np.concatenate([BODY * [WIDTH, HEIGHT] + [x, y], np.full((17, 1), 2)], axis=1)
    return {
        "image_id": frame,
        "category_id": 1,
        "track_id": number,
        "keypoints": keypoints.ravel().tolist(),
        "bbox": [x, y, WIDTH, HEIGHT],
        "area": WIDTH * HEIGHT / 2,
    } | more


def found(frame: int, number: int, x: float, y: float = 100.0, **more) -> dict:
    """One of the predictions, as `p2net predict` writes it."""
    entry = person(frame, number, x, y)
    box = entry.pop("bbox")
    return entry | {"box": box, "score": 0.9, "time": frame / 25} | more


def truth(people: list[dict], frames: int) -> dict:
    """Ground truth of a video."""
    annotations = [{"id": row + 1} | entry for row, entry in enumerate(people)]
    return {
        "images": [{"id": frame} for frame in range(1, frames + 1)],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": annotations,
    }
