"""Pictures of different sizes with bright rectangles on grey, whose boxes can be seen in any canvas."""

import numpy as np
from PIL import Image

from p2net_tf.data.scenes import Scenes

GREY = 60
SIZES = ((80, 60), (48, 96), (100, 100), (64, 40), (72, 72), (50, 90), (96, 64))
"""(width, height)."""


def rectangle_scenes(folder, most: int = 2, sizes=SIZES, seed: int = 0) -> Scenes:
    """A picture of each size with 0 to `most` rectangles that do not touch.

    Rectangle `i` of a picture has the colour `(240 - 60 * i, 200, 30)`.
    """
    random = np.random.default_rng(seed)
    paths, owners, boxes = [], [], []
    for number, (width, height) in enumerate(sizes):
        picture = np.full((height, width, 3), GREY, np.uint8)
        count = number % (most + 1)
        for place in range(count):
            # Side by side, each in its own strip.
            strip = width // count
            low = random.integers(2, strip // 4 + 3), random.integers(2, height // 3)
            x, y = place * strip + low[0], low[1]
            right, bottom = (place + 1) * strip - 2, random.integers(2 * height // 3, height - 1)
            picture[y:bottom, x:right] = (240 - 60 * place, 200, 30)
            owners.append(number)
            boxes.append([x, y, right - x, bottom - y])
        paths.append(str(folder / f"{number}.png"))
        Image.fromarray(picture).save(paths[-1])
    boxes = np.float32(boxes).reshape(-1, 4)
    return Scenes(
        ("person",),
        paths,
        np.arange(len(sizes)) + 1,
        np.float32(sizes),
        owners,
        boxes,
        np.zeros(len(boxes)),
        np.zeros(len(boxes)),
        boxes[:, 2] * boxes[:, 3],
        np.arange(len(boxes)) + 1,
        source="rectangles",
        category_ids=(1,),
    )


def seen_box(image: np.ndarray, place: int) -> np.ndarray:
    """`[4]` xyxy around the pixels of rectangle `place` of a picture; zeros where there are none.

    Args:
        image: `[H, W, 3]` in 0..1, at most half a pixel of whose borders are mixed.
    """
    mine = np.abs(image * 255 - np.float32([240 - 60 * place, 200, 30])).max(axis=-1) < 25
    rows, columns = np.flatnonzero(mine.any(axis=1)), np.flatnonzero(mine.any(axis=0))
    if not len(rows):
        return np.zeros(4)
    return np.float32([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
