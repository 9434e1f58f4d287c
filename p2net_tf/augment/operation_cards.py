"""What the operations of Table 1 are, in words and numbers; what they do is in `augment.operations`.

Whoever lists or reads policies needs no more than this, and waits for no TensorFlow.
"""

from __future__ import annotations

from dataclasses import dataclass

LEVELS = 10.0
"""The largest magnitude level."""


@dataclass(frozen=True)
class OperationCard:
    """One row of the table.

    Attributes:
        name: as in Table 1 of the paper.
        definition: what becomes of the image x (in 0..1) at value m.
        low, high: the value m at levels 0 and 10, in words.
        neutral: the level that changes nothing; None where there is none.
        keypoints: what becomes of them.
        source: where definition and range come from.
    """

    name: str
    definition: str
    low: str
    high: str
    neutral: float | None
    keypoints: str
    source: str

    @property
    def geometric(self) -> bool:
        """Whether it moves pixels, and keypoints with them."""
        return self.keypoints == _MOVED

    @property
    def has_level(self) -> bool:
        """Some have none, as `Equalize`."""
        return self.low != "-"


_MOVED = "moved with the pixels; visibility 0 outside the crop"
_KEPT = "unchanged"
_AUTOAUGMENT = "AutoAugment for detection (Zoph et al., ECCV 2020)"

_TABLE = (
    OperationCard("Identity", "x", "-", "-", 0.0, _KEPT, "ours: so that doing nothing can win"),
    OperationCard("TranslateX", "shift by m pixels to a random side", "0", "25 % of the width", 0.0, _MOVED,
                  f"{_AUTOAUGMENT}; range: ours, for person crops"),
    OperationCard("TranslateY", "shift by m pixels up or down", "0", "25 % of the height", 0.0, _MOVED,
                  f"{_AUTOAUGMENT}; range: ours, for person crops"),
    OperationCard("Rotate", "turn about the centre by m degrees to a random side", "0", "45", 0.0, _MOVED,
                  "paper, section 3.4: -45..45"),
    OperationCard("Equalize", "flatten the histogram of each channel", "-", "-", None, _KEPT,
                  f"{_AUTOAUGMENT}; PIL.ImageOps.equalize"),
    OperationCard("Solarize", "x where x < m, else 1 - x", "0 (all inverted)", "256 / 255 (none)", 10.0,
                  _KEPT, f"{_AUTOAUGMENT}; PIL.ImageOps.solarize"),
    OperationCard("SolarizeAdd", "x + m where x < 128 / 255, up to 1", "0", "110 / 255", 0.0, _KEPT,
                  _AUTOAUGMENT),
    OperationCard("Brightness", "m * x, up to 1", "0.1 (dark)", "1.9", 5.0, _KEPT, _AUTOAUGMENT),
    OperationCard("Sharpness", "b + m * (x - b), b a 3x3 blur; the outermost pixels stay", "0.1 (blurred)",
                  "1.9", 5.0, _KEPT, f"{_AUTOAUGMENT}; PIL.ImageEnhance.Sharpness"),
    OperationCard("Cutout", "one grey square of side m around a random point", "0",
                  "36 % of the shorter side", 0.0, f"{_KEPT}: what a square hides stays labeled",
                  "DeVries & Taylor, 2017; range: RandAugment's 80 of 224 pixels"),
    OperationCard("Scale", "resize about the centre by m, up or down at random", "1", "1.35, or 0.7", 0.0,
                  _MOVED, "paper, section 3.4: 0.7..1.35"),
)  # fmt: skip

OPERATION_CARDS: dict[str, OperationCard] = {row.name: row for row in _TABLE}
OPERATION_NAMES: tuple[str, ...] = tuple(OPERATION_CARDS)
