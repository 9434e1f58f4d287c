"""The `evaluation` section of a configuration."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt

from p2net_tf.inference.settings import TestRecipe
from p2net_tf.utils.yaml_files import Probability

COCO_PEOPLE = 20
"""Poses of a picture that COCO's own evaluation counts."""


class EvaluationConfig(TestRecipe):
    """The test recipe, and what is done with the poses that it gives."""

    max_people: PositiveInt = COCO_PEOPLE
    """oks_ap: poses of a picture that count, those of the highest scores; COCO counts 20. More for crowds."""
    metric: Literal["oks_ap", "pck", "pckh"] = "oks_ap"
    box_threshold: Probability = 0.0
    """Detected boxes with a lower score are not looked at (HRNet's `IMAGE_THRE`); annotated ones score 1."""
    nms: Literal["oks", "soft_oks"] | None = None
    """Suppression between persons of one image; for detector boxes."""
    nms_threshold: Probability = 0.9
