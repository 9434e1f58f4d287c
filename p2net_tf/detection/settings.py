"""The `evaluation` section of a detector's configuration."""

from __future__ import annotations

from pydantic import PositiveInt

from p2net_tf.utils.yaml_files import Probability, Section


class DetectorEvaluationConfig(Section):
    score_threshold: Probability = 0.05
    """Boxes must score above it, to be scored and whenever the network is asked. It goes into the card."""
    nms_threshold: Probability = 0.5
    """Largest overlap (IoU) of two boxes of one class."""
    max_detections: PositiveInt = 100
    """Boxes of a picture."""
    antialias: bool = True
    """Whether pictures are filtered before they are made smaller."""
