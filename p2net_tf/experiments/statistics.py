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
_AFFORDABLE = 10
"""Seeds that a difference worth mentioning must not take more of to be seen."""
_MOST = 1000
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
        `mean`; `standard_error` of the mean (None for one pair); `pairs`; `within_noise`: False where a
        paired t-test at 5 % tells the arms apart, True where it would take more than 10 seeds to do so, None
        where these seeds are too few to say; and then `seeds_to_tell`, how many would pass the test if mean
        and spread stayed (else None). Of two differences the spread is hardly known, so two seeds are always
        too few to say that a difference is noise.
    """
    pairs = [a - b for a, b in zip(values, reference, strict=True) if a is not None and b is not None]
    if not pairs:
        return None
    mean, count = float(np.mean(pairs)), len(pairs)
    found = {
        "mean": mean,
        "standard_error": None,
        "pairs": count,
        "within_noise": None,
        "seeds_to_tell": None,
    }
    if count < 2:
        return found
    spread = float(np.std(pairs, ddof=1))
    needed = _seeds_to_tell(mean, spread)
    found["standard_error"] = spread / math.sqrt(count)
    found["within_noise"] = needed is None or needed > count
    if found["within_noise"] and needed is not None and (needed <= _AFFORDABLE or count == 2):
        return {**found, "within_noise": None, "seeds_to_tell": needed}
    return found


def noise_bound(pairs: int) -> float:
    """Standard errors up to which a difference may be noise: 12.7 of two pairs, 4.3 of three (Student)."""
    return float(stats.t.ppf((1 + _CONFIDENCE) / 2, pairs - 1))


def describe_difference(found: dict | None) -> str:
    """What `difference` found in words: `+0.0120 ± 0.0050, better`.

    Or worse, within noise, `2 seeds cannot tell, 7 could`, one pair, or `-`.
    """
    if found is None:
        return "-"
    if found["standard_error"] is None:
        return f"{found['mean']:+.4f}, one pair"
    if found["within_noise"] is None:
        verdict = f"{found['pairs']} seeds cannot tell, {found['seeds_to_tell']} could"
    else:
        verdict = "within noise" if found["within_noise"] else "better" if found["mean"] > 0 else "worse"
    return f"{found['mean']:+.4f} ± {found['standard_error']:.4f}, {verdict}"


def noise_notes(differences: Sequence[dict | None], reference: str) -> list[str]:
    """The rule behind the words of `describe_difference`, and how many seeds to take; none for one pair."""
    found = [each for each in differences if each]
    pairs = max((each["pairs"] for each in found), default=0)
    if pairs < 2:
        return []
    notes = [
        f"Difference: mean of the differences to {reference} under the same seed, and its standard error. "
        f"Better or worse: more than {noise_bound(pairs):.1f} standard errors, below which {_CONFIDENCE:.0%} "
        f"of the differences between equal arms are with {pairs} pairs. Within noise: {_AFFORDABLE} seeds of "
        "the same mean and spread would not tell either."
    ]
    if needed := max((each["seeds_to_tell"] or 0 for each in found), default=0):
        notes.append(
            f"{pairs} seeds are too few for some differences of this size and spread; take {needed}."
        )
    return notes


def _seeds_to_tell(mean: float, spread: float) -> int | None:
    """The fewest seeds whose t-test calls such a difference one; None where a thousand do not."""
    fitting = (n for n in range(2, _MOST) if abs(mean) >= noise_bound(n) * spread / math.sqrt(n))
    return next(fitting, None) if mean else None
