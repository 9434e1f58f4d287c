"""The `augment` section of a configuration."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveInt

from p2net_tf.utils.yaml_files import Probability, Section


class AugmentConfig(Section):
    """The hand-crafted baseline (the SimpleBaseline / HRNet recipe)."""

    scale: Annotated[float, Field(ge=0, lt=1)] = 0.35
    """Standard deviation of the factor on the window's size, clipped to once that: 0.35 spans 0.65..1.35."""
    rotation: Annotated[float, Field(ge=0, le=180)] = 45.0
    """Standard deviation of the rotation in degrees, clipped to twice the deviation."""
    rotation_probability: Probability = 0.6
    translation: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Largest shift of the window, as a fraction of its size."""
    flip_probability: Probability = 0.5
    half_body_probability: Probability = 0.3
    half_body_min_keypoints: PositiveInt = 8
    """Half-body crops are for people with more labeled keypoints than this."""
    color: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Largest relative change of brightness, contrast and saturation."""
