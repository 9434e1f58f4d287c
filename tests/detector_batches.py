"""A small batch of a detector, made up: `(images, truth)` as `SceneBatch.data` gives it."""

import numpy as np

SIDE, MOST = 64, 3


def detector_batch(pictures: int = 4, seed: int = 0) -> tuple[np.ndarray, dict]:
    """Noise with boxes; the first picture has none, the last one's first box is a crowd."""
    random = np.random.default_rng(seed)
    low = random.uniform(0, 30, (pictures, MOST, 2))
    boxes = np.concatenate([low, low + random.uniform(10, 34, (pictures, MOST, 2))], axis=-1)
    counts = np.arange(pictures) % (MOST + 1)
    classes = np.where(np.arange(MOST)[None] < counts[:, None], 0, -1)
    crowds = np.zeros((pictures, MOST), bool)
    crowds[-1, 0] = True
    truth = {
        "boxes": np.float32(boxes),
        "classes": np.int32(classes),
        "crowds": crowds,
        "sizes": np.full((pictures, 2), SIDE, np.int32),
        "seeds": np.int64([[seed, number] for number in range(pictures)]),
    }
    return random.uniform(0, 1, (pictures, SIDE, SIDE, 3)).astype(np.float32), truth
