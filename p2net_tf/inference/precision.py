"""The precisions that a trained network can be run in; light, since the command line's options name them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from p2net_tf.utils.exceptions import UserError


class Precision(StrEnum):
    """What convolutions are computed in; weights, heatmaps and keypoints are float32 in any."""

    float32 = "float32"
    mixed_bfloat16 = "mixed_bfloat16"
    """Features and convolutions in bfloat16. Pays on processors and GPUs with instructions for it."""
    auto = "auto"
    """The faster one, by a short measurement on this machine (`choosing_precision`)."""

    @classmethod
    def named(cls, word: Precision | str) -> Precision:
        """
        Raises:
            UserError: there is none of this name.
        """
        try:
            return cls(word)
        except ValueError:
            raise UserError(f"no precision '{word}'; take one of {', '.join(cls)}") from None


@dataclass(frozen=True)
class PrecisionChoice:
    """What a network runs in, and why.

    Attributes:
        precision: `float32` or `mixed_bfloat16`.
        why: in a line.
        milliseconds: where it was measured, medians of a batch by its size and by precision.
    """

    precision: Precision
    why: str
    milliseconds: dict[int, dict[str, float]] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"precision {self.precision}: {self.why}"

    def to_dict(self) -> dict:
        """As plain JSON types."""
        return {"precision": self.precision.value, "why": self.why} | (
            {"milliseconds": {str(size): dict(found) for size, found in self.milliseconds.items()}}
            if self.milliseconds
            else {}
        )
