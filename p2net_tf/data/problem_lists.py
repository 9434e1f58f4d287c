"""Problems of single samples, one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from p2net_tf.data.samples import Problem, Samples


def listed(
    samples: Samples,
    mask: np.ndarray,
    severity: Literal["error", "warning", "note"],
    kind: str,
    detail: Callable[[int], str],
    remedy: str,
) -> list[Problem]:
    """One problem for each sample in `mask` (`[N]` bool); `detail` is a function of the row."""
    return [
        Problem(
            severity,
            kind,
            str(samples.image_paths[row]),
            detail(row),
            remedy,
            int(samples.ids[row]),
            int(samples.image_ids[row]),
        )
        for row in np.flatnonzero(mask)
    ]
