"""Small batches of noise with keypoints, for what augments them."""

import numpy as np

SIZE = (32, 24)


def batch(count: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    crops = random.uniform(size=(count, *SIZE, 3)).astype(np.float32)
    keypoints = np.concatenate([random.uniform(8, 16, (count, 5, 2)), np.full((count, 5, 1), 2)], axis=-1)
    return crops, keypoints.astype(np.float32)


def assert_same(*results):
    first, *others = [[np.asarray(part) for part in result] for result in results]
    for other in others:
        for one, twin in zip(first, other, strict=True):
            np.testing.assert_array_equal(one, twin)
