"""The `augment` section of a configuration."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

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


class SceneAugmentConfig(Section):
    """The augmentation of whole pictures with boxes: flip, scale, crop and colour."""

    flip_probability: Probability = 0.5
    scale: tuple[PositiveFloat, PositiveFloat] = (0.8, 1.25)
    """Smallest and largest factor on the size that a picture has at inference, drawn evenly on a logarithmic
    scale. Of a picture that becomes larger than the training canvas a random part is shown."""
    stretch: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Largest relative change of the width, and of the height the other way."""
    color: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Largest relative change of brightness, contrast and saturation."""
    visible_share: Probability = 0.3
    """Objects of which a crop shows less than this are neither found nor background, as crowds are."""

    smallest_side: PositiveFloat = 1.0
    """Pixels of the canvas. Objects with a shorter side count as crowds, too."""

    @field_validator("scale")
    @classmethod
    def _rises(cls, scale: tuple[float, float]) -> tuple[float, float]:
        if scale[0] > scale[1]:
            raise ValueError(f"{list(scale)} must rise: {[scale[1], scale[0]]}")
        return scale
