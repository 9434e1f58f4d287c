"""Arguments of `fit`, `evaluate` and `predict` that Keras takes without a word, and that cannot be meant."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import tensorflow as tf

_STEPS = {"x": ("steps_per_epoch", "steps"), "validation_data": ("validation_steps",)}
"""Where batches come from, and what says how many to take."""


def check_arguments(method: Callable, args: tuple, kwargs: dict) -> None:
    """Of a call of `method`, of a Keras model.

    Raises:
        ValueError: `class_weight`, or endless data without a number of steps.
    """
    signature = inspect.signature(method)
    given = signature.bind(*args, **kwargs).arguments
    if given.get("class_weight") is not None:
        raise ValueError(
            "class_weight: keypoints are of no class; weigh persons [B] or keypoints [B, K] by "
            "sample_weight, or by batches (crops, keypoints, weights)"
        )
    for source, names in _STEPS.items():
        known = [name for name in names if name in signature.parameters]
        if known and _is_endless(given.get(source)) and not any(given.get(name) for name in known):
            raise ValueError(
                f"{source}: is an endless data set, of which no pass ends; say how many batches by "
                f"{known[0]}, or take one pass: PoseModel.make_dataset"
            )


def _is_endless(data) -> bool:
    """Of a data set, or of one that a strategy has shared out, where it is an attribute."""
    cardinality = getattr(data, "cardinality", None)
    if cardinality is None:
        return False
    return int(cardinality() if callable(cardinality) else cardinality) == tf.data.INFINITE_CARDINALITY
