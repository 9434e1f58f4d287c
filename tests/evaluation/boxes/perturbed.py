"""Boxes near true ones, as a detector of a middling quality gives them."""

from __future__ import annotations

import numpy as np


def perturbed_boxes(truth: dict, seed: int = 0) -> list[dict]:
    """COCO results: most objects found, some twice, some loosely, with boxes on nothing in between."""
    rng = np.random.default_rng(seed)
    found = []
    for entry in truth["annotations"]:
        box = np.asarray(entry["bbox"], np.float64)
        sides = np.tile(box[2:], 2)
        for chance, noise in ((0.85, 0.06), (0.15, 0.1), (0.2, 0.3)):
            if rng.random() < chance:
                moved = box + sides * rng.normal(0, noise, 4)
                moved[2:] = np.abs(moved[2:]) + 1
                found.append(_result(entry, moved, rng.normal(0.7 - noise, 0.15)))
        if rng.random() < 0.3:
            elsewhere = np.concatenate([box[:2] + sides[:2] * rng.normal(0, 3, 2), box[2:]])
            found.append(_result(entry, elsewhere, rng.normal(0.4, 0.15)))
    return found


def _result(entry: dict, box: np.ndarray, score: float) -> dict:
    return {
        "image_id": entry["image_id"],
        "category_id": entry["category_id"],
        "bbox": box.tolist(),
        "score": float(np.clip(score, 0.01, 0.99)),
    }
