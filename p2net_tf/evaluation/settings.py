"""The `evaluation` section of a configuration."""

from __future__ import annotations

from typing import Literal

from p2net_tf.inference.settings import TestRecipe
from p2net_tf.utils.yaml_files import Probability


class EvaluationConfig(TestRecipe):
    """The test recipe, and what is done with the poses that it gives."""

    metric: Literal["oks_ap", "pck", "pckh"] = "oks_ap"
    box_threshold: Probability = 0.0
    """Detected boxes with a lower score are not looked at (HRNet's `IMAGE_THRE`); annotated ones score 1."""
    nms: Literal["oks", "soft_oks"] | None = None
    """Suppression between persons of one image; for detector boxes."""
    nms_threshold: Probability = 0.9
