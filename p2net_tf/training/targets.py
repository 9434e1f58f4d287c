"""Targets of `fit` and `evaluate`, refused in words where they are not keypoints."""

from __future__ import annotations

from typing import Any

_WANTED = "give keypoints [B, K, 3] (x, y in crop pixels, and a visibility), the same for all outputs"


def demand_targets(keypoints: Any, weights: Any, num_keypoints: int) -> None:
    """Of a batch, by its static shapes alone.

    Raises:
        ValueError: no keypoints, several targets, another shape or number than the network's, or weights by
            output. TensorFlow would spread a single keypoint over all of them without a word.
    """
    if keypoints is None:
        raise ValueError(f"no target: {_WANTED}")
    if isinstance(keypoints, dict | list | tuple):
        what = "outputs" if isinstance(keypoints, dict) else f"{len(keypoints)} targets in a list"
        raise ValueError(f"a target by {what}: {_WANTED}")
    if isinstance(weights, dict | list | tuple):
        raise ValueError("sample_weight by output: give one array, of persons [B] or keypoints [B, K]")
    shape = getattr(keypoints, "shape", None)
    if shape is None or getattr(shape, "rank", 0) is None:
        return
    shape = tuple(shape)
    if len(shape) != 3 or shape[2] not in (3, None) or shape[1] not in (num_keypoints, None):
        shown = ", ".join(["B", *("?" if side is None else str(side) for side in shape[1:])])
        raise ValueError(f"a target [{shown}], and the network has {num_keypoints} keypoints: {_WANTED}")
