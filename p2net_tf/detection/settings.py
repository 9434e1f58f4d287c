"""The `evaluation` section of a detector's configuration."""

from __future__ import annotations

from pydantic import PositiveInt

from p2net_tf.utils.yaml_files import Probability, Section


class DetectorEvaluationConfig(Section):
    score_threshold: Probability = 0.05
    """Boxes must score above it, to be scored and whenever the network is asked. It goes into the card."""
    likely_score: Probability | None = None
    """Boxes above it are looked at in pictures of one's own. It goes into the card. None: that of the highest
    F1 on the validation part, found when the training ends; 0.5 without one."""
    nms_threshold: Probability = 0.5
    """Largest overlap (IoU) of two boxes of one class."""
    max_detections: PositiveInt = 100
    """Boxes of a picture."""
    antialias: bool = True
    """Whether pictures are filtered before they are made smaller."""
