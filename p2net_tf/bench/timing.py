"""What measurements have in common."""

from __future__ import annotations

import numpy as np


def quartiles(values: np.ndarray) -> dict[str, float]:
    lower, median, upper = np.percentile(values, [25, 50, 75])
    return {"median": float(median), "lower": float(lower), "upper": float(upper)}


def milliseconds(seconds: dict) -> tuple[str, str]:
    """Median and the range between the quartiles, as words."""
    lower, upper = (1000 * seconds[name] for name in ("lower", "upper"))
    return f"{1000 * seconds['median']:.0f}", f"{lower:.0f}-{upper:.0f}"
