"""Scores over seeds: mean, spread, and differences paired by seed, with what counts as noise.

Values are fractions, higher is better. Lists follow the seeds, with None where a training failed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

_CONFIDENCE = 0.95
"""Share of the differences between equal arms that shall count as noise."""
SPREAD_NOTE = "Spread: sample standard deviation over the seeds."


def spread_of(values: Sequence[float | None]) -> dict:
    """`mean` and `spread`, the sample standard deviation, of the values there are; None for too few."""
    there = [value for value in values if value is not None]
    return {
        "mean": float(np.mean(there)) if there else None,
        "spread": float(np.std(there, ddof=1)) if len(there) > 1 else None,
    }


def difference(values: Sequence[float | None], reference: Sequence[float | None]) -> dict | None:
    """The difference to `reference`, paired by seed; None where no seed has both.

    Returns:
        `mean`, `standard_error` of the mean (None for one pair), `pairs`, and `within_noise`: whether a
        paired t-test at 5 % leaves it open that the arms are equal (None where nothing can tell).
    """
    pairs = [a - b for a, b in zip(values, reference, strict=True) if a is not None and b is not None]
    if not pairs:
        return None
    mean = float(np.mean(pairs))
    if len(pairs) < 2:
        return {"mean": mean, "standard_error": None, "pairs": 1, "within_noise": None}
    error = float(np.std(pairs, ddof=1) / math.sqrt(len(pairs)))
    # Arms that do the same differ by 0 with an error of 0.
    noise = abs(mean) < noise_bound(len(pairs)) * error or mean == 0
    return {"mean": mean, "standard_error": error, "pairs": len(pairs), "within_noise": noise}


def noise_bound(pairs: int) -> float:
    """Standard errors below which a difference counts as noise: 12.7 of two pairs, 4.3 of three (Student)."""
    return float(stats.t.ppf((1 + _CONFIDENCE) / 2, pairs - 1))


def describe_difference(found: dict | None) -> str:
    """What `difference` found in words: `+0.0120 ± 0.0050, better`; worse, within noise, one pair, or `-`."""
    if found is None:
        return "-"
    if found["standard_error"] is None:
        return f"{found['mean']:+.4f}, one pair"
    verdict = "within noise" if found["within_noise"] else "better" if found["mean"] > 0 else "worse"
    return f"{found['mean']:+.4f} ± {found['standard_error']:.4f}, {verdict}"


def noise_notes(differences: Sequence[dict | None], reference: str) -> list[str]:
    """The rule behind the words of `describe_difference`, in a sentence; none where no pairs are two."""
    pairs = max((found["pairs"] for found in differences if found), default=0)
    if pairs < 2:
        return []
    return [
        f"Difference: mean of the differences to {reference} under the same seed, and its standard error. "
        f"Within noise: smaller than {noise_bound(pairs):.1f} standard errors, as {_CONFIDENCE:.0%} of the "
        f"differences between equal arms are with {pairs} pairs."
    ]
