"""Ten persons in ten images, each of one grey level, which tells them apart in any crop."""

import numpy as np
from PIL import Image

from p2net_tf.augment.settings import AugmentConfig
from p2net_tf.data.samples import Samples
from p2net_tf.skeletons.skeleton import Skeleton

CARD = Skeleton.parse(
    """
name: six
keypoints: [left_hand, right_hand, head, left_foot, right_foot, tail]
sigmas: [0.1, 0.1, 0.1, 0.1, 0.1, 0.1]
flip_pairs: [[left_hand, right_hand], [left_foot, right_foot]]
upper_body: [left_hand, right_hand, head]
limbs:
  - {from: head, to: tail, color: "#ff0000"}
"""
)
CROP = (32, 24)
COUNT, BATCH = 10, 3
AUGMENT = AugmentConfig(half_body_min_keypoints=5, translation=0.1, color=0.2)


def people(folder) -> Samples:
    """Ten persons, each in an image of one grey level (10, 30, ...), which tells them apart."""
    random = np.random.default_rng(0)
    paths = [str(folder / f"{number}.png") for number in range(COUNT)]
    for number, path in enumerate(paths):
        Image.new("RGB", (80, 60), (level(number),) * 3).save(path)
    keypoints = random.uniform(2, 58, (COUNT, 6, 3))
    keypoints[..., 2] = 2
    boxes = np.concatenate([random.uniform(10, 20, (COUNT, 2)), random.uniform(25, 30, (COUNT, 2))], axis=1)
    numbers, ones = np.arange(COUNT), np.ones(COUNT)
    return Samples(CARD, paths, boxes, keypoints, ones, numbers, numbers, ones, source="made here")


def level(number: int) -> int:
    return 10 + 20 * number


def numbers(crops) -> list[int]:
    """Who is in the middle of each crop."""
    middle = crops.numpy()[:, CROP[0] // 2, CROP[1] // 2, 0] * 255
    return np.rint((middle - 10) / 20).astype(int).tolist()


def assert_same(first, second):
    for one, other in zip(first, second, strict=True):
        for tensor, twin in zip(one, other, strict=True):
            np.testing.assert_array_equal(tensor, twin)
