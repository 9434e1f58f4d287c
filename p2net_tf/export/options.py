"""What an export may differ in from the run it is made of, beyond the overrides of its configuration."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Exif(StrEnum):
    """How a picture is seen whose EXIF header says that the camera was turned."""

    upright = "upright"
    """Turned as the header says: what people see, and what `p2net predict` does."""
    stored = "stored"
    """As its pixels are stored: what COCO, MPII and LSP were annotated on, and what `p2net evaluate` does."""


class Precision(StrEnum):
    float32 = "float32"
    bfloat16 = "bfloat16"
    """Convolutions in bfloat16, weights and heatmaps in float32."""


@dataclass(frozen=True)
class ExportOptions:
    """How a network is exported."""

    exif: Exif = Exif.upright
    precision: Precision = Precision.float32
    fold_batch_norm: bool = False
    """Merge batch normalizations into the convolutions before them."""
    batch: int = 1
    """Crops that a TFLite file takes at once; a SavedModel takes any number."""
    detector: str | None = None
    """A preset, run folder or `.keras` file of a detector, which a SavedModel then holds, too: its signatures
    `people` and `people_batched` find everybody."""
