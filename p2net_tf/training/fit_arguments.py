"""Arguments of `fit`, `evaluate` and `predict` that Keras takes without a word, and that cannot be meant."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import tensorflow as tf

_STEPS = {"x": ("steps_per_epoch", "steps"), "validation_data": ("validation_steps",)}
"""Where batches come from, and what says how many to take."""


def check_arguments(method: Callable, args: tuple, kwargs: dict, instead: str) -> None:
    """Of a call of `method`, of a Keras model.

    Args:
        instead: what `class_weight` means here, and what there is in its place.

    Raises:
        ValueError: `class_weight`, or endless data without a number of steps.
    """
    signature = inspect.signature(method)
    given = signature.bind(*args, **kwargs).arguments
    if given.get("class_weight"):
        raise ValueError(f"class_weight: {instead}")
    for source, names in _STEPS.items():
        known = [name for name in names if name in signature.parameters]
        if known and _is_endless(given.get(source)) and not any(given.get(name) for name in known):
            raise ValueError(
                f"{source}: is an endless data set, of which no pass ends; say how many batches by "
                f"{known[0]}, or take one pass: `make_dataset` of the model"
            )


def _is_endless(data) -> bool:
    """Of a data set, or of one that a strategy has shared out, where it is an attribute."""
    cardinality = getattr(data, "cardinality", None)
    if cardinality is None:
        return False
    return int(cardinality() if callable(cardinality) else cardinality) == tf.data.INFINITE_CARDINALITY
