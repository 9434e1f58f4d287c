"""Boxes for tests."""

import numpy as np


def random_boxes(rng, *shape, size=100.0):
    """`[*shape, 4]` float32 xyxy with sides of 1 to `size`."""
    low = rng.uniform(0, size, (*shape, 2))
    return np.concatenate([low, low + rng.uniform(1, size, (*shape, 2))], axis=-1).astype(np.float32)
