"""Left and right are told apart by the colour-blind, too."""

import cv2
import numpy as np
import pytest

from p2net_tf.skeletons.skeleton import Skeleton

SEEN_BY = {
    "all": np.eye(3),
    "protanopes": [
        [0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopes": [
        [0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopes": [
        [1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900],
    ],
}  # fmt: skip
"""Of linear RGB: Machado, Oliveira and Fernandes (IEEE TVCG 2009), severity 1."""
CLEAR = 25
"""Differences of CIE Lab from 2.3 on are just noticed."""


def lab(color, matrix) -> np.ndarray:
    level = np.float64(color) / 255
    linear = np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.matmul(matrix, linear), 0, 1)
    level = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
    return cv2.cvtColor(np.float32(level).reshape(1, 1, 3), cv2.COLOR_RGB2Lab)[0, 0]


@pytest.mark.parametrize("viewer", SEEN_BY)
@pytest.mark.parametrize("card", ["coco17", "lsp14", "mpii16"])
def test_arms_and_legs_of_the_left_look_otherwise_than_those_of_the_right(card, viewer):
    skeleton = Skeleton.load(card)
    color_at_end = {skeleton.keypoints[limb.end]: limb.color for limb in skeleton.limbs}
    for joint in ("elbow", "wrist", "knee", "ankle"):
        left, right = (lab(color_at_end[f"{side}_{joint}"], SEEN_BY[viewer]) for side in ("left", "right"))
        assert np.linalg.norm(left - right) >= CLEAR, joint
