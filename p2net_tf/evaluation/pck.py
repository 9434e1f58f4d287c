"""PCK (Leeds Sports Pose) and PCKh (MPII): the share of keypoints that lie close enough to the truth.

A keypoint is hit when `distance / reference <= threshold`: a ratio in float64 and an inclusive
comparison, as in `computePCK` of the MPII evaluation kit, bearpaw's `eval_PCKh.py` and HRNet's
`mpii.py`. Distances are differences, so any coordinate convention may be used as long as truth and
prediction share it (both 1-based in the stored files, both continuous in `Samples`).
HRNet reads "PCKh@0.1" off row 11 of a 0.00, 0.01, ... grid, which is 0.11; here 0.1 means 0.1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from p2net_tf.data.samples import DataError, Samples
from p2net_tf.keypoints.visibility import NOT_LABELED
from p2net_tf.skeletons.skeleton import Skeleton

PCK_THRESHOLD = 0.2
PCKH_THRESHOLD = 0.5

HEAD_SIZE_FACTOR = 0.6
"""`SC_BIAS` of the MPII evaluation kit: head size = 0.6 x diagonal of the head box."""

TORSO = ("left_shoulder", "right_hip")
"""LSP's reference length of PCK, where a card names none."""
_NOT_COUNTED_IN_PCKH = ("pelvis", "thorax")
_LIMB_GROUPS = ("Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle")
_HEAD_OF_LSP = ("neck", "head_top")
_HEAD = ("head_top", "nose", "left_eye", "right_eye", "left_ear", "right_ear")


@dataclass(frozen=True)
class PckResult:
    """Rates in percent at one threshold; NaN where no keypoint counts.

    Attributes:
        metric: `PCK` or `PCKh`.
        threshold: largest distance of a hit, in reference lengths.
        per_keypoint: rate of every counted keypoint.
        per_group: plain mean of the rates of the group's keypoints (Head, Shoulder, ... Ankle).
        counts: number of labeled keypoints behind each rate of `per_keypoint`.
        mean: plain mean of `per_keypoint`.
        weighted_mean: all hits over all counted keypoints; HRNet prints it as `Mean`.
        persons: number of persons that were given.
        skipped: rows of the persons without a usable reference length; none of their keypoints counts.
        missing: counted keypoints without a (finite) prediction, each a miss.
        diagnostics: sentences, each on what was read in another form than usual.
    """

    metric: str
    threshold: float
    per_keypoint: dict[str, float]
    per_group: dict[str, float]
    counts: dict[str, int]
    mean: float
    weighted_mean: float
    persons: int
    skipped: tuple[int, ...] = ()
    missing: int = 0
    diagnostics: tuple[str, ...] = ()

    @property
    def total(self) -> float:
        """The headline number: `weighted_mean`."""
        return self.weighted_mean

    @property
    def name(self) -> str:
        return f"{self.metric}@{self.threshold:g}"

    def to_dict(self) -> dict:
        """Everything as plain JSON types; None stands for NaN."""
        return {
            "metric": self.metric,
            "threshold": self.threshold,
            "total": _or_none(self.total),
            "mean": _or_none(self.mean),
            "weighted_mean": _or_none(self.weighted_mean),
            "per_group": {name: _or_none(rate) for name, rate in self.per_group.items()},
            "per_keypoint": {name: _or_none(rate) for name, rate in self.per_keypoint.items()},
            "counts": dict(self.counts),
            "persons": self.persons,
            "skipped": list(self.skipped),
            "missing": self.missing,
            "diagnostics": list(self.diagnostics),
        }


@dataclass(frozen=True)
class PckCurve:
    """`weighted_mean` over thresholds, and its area (trapezoids) over the range, both in percent."""

    metric: str
    thresholds: np.ndarray
    rates: np.ndarray
    auc: float


@dataclass(frozen=True)
class KeypointErrors:
    """Distances in reference lengths, from which results at any threshold are read.

    Attributes:
        metric: `PCK` or `PCKh`.
        keypoints: K names.
        groups: group name to the names of its keypoints.
        errors: `[N, K]` float64; NaN where the keypoint does not count, infinite where the
            prediction is missing.
        skipped: rows of the persons without a usable reference length.
        diagnostics: of every result.
    """

    metric: str
    keypoints: tuple[str, ...]
    groups: dict[str, tuple[str, ...]]
    errors: np.ndarray
    skipped: tuple[int, ...]
    diagnostics: tuple[str, ...] = ()

    def at(self, threshold: float) -> PckResult:
        """The result at one threshold, in reference lengths."""
        counts = np.count_nonzero(~np.isnan(self.errors), axis=0)
        hits = np.count_nonzero(self.errors <= threshold, axis=0)
        rates = {name: _percent(h, n) for name, h, n in zip(self.keypoints, hits, counts, strict=True)}
        rates = {name: rates[name] for name in rates if name not in self._uncounted}
        return PckResult(
            metric=self.metric,
            threshold=float(threshold),
            per_keypoint=rates,
            per_group={name: _mean(rates[k] for k in members) for name, members in self.groups.items()},
            counts={k: int(n) for k, n in zip(self.keypoints, counts, strict=True) if k in rates},
            mean=_mean(rates.values()),
            weighted_mean=_percent(hits.sum(), counts.sum()),
            persons=len(self.errors),
            skipped=self.skipped,
            missing=int(np.count_nonzero(np.isinf(self.errors))),
            diagnostics=self.diagnostics,
        )

    def curve(self, thresholds=None) -> PckCurve:
        """Rates over increasing `thresholds`; by default 0, 0.01, ... 0.5 as in the MPII evaluation kit."""
        thresholds = np.arange(51) / 100 if thresholds is None else np.asarray(thresholds, np.float64)
        if thresholds.size < 2 or np.any(np.diff(thresholds) <= 0):
            raise ValueError("a curve needs two or more increasing thresholds")
        errors = np.sort(self.errors[~np.isnan(self.errors)])
        hits = np.searchsorted(errors, thresholds, side="right")
        rates = 100.0 * hits / errors.size if errors.size else np.full(thresholds.shape, math.nan)
        area = np.sum(np.diff(thresholds) * (rates[1:] + rates[:-1]) / 2)
        return PckCurve(self.metric, thresholds, rates, float(area / (thresholds[-1] - thresholds[0])))

    @property
    def _uncounted(self) -> tuple[str, ...]:
        return _NOT_COUNTED_IN_PCKH if self.metric == "PCKh" else ()


def lsp_errors(predictions, truth) -> KeypointErrors:
    """Person-centric LSP; reference length = left shoulder to right hip of the truth.

    Args:
        predictions: `[N, 14, 2]` pixels, NaN where missing.
        truth: `[N, 14, 2]` pixels in the same convention; occluded keypoints count too.

    Raises:
        DataError: the shapes differ.
    """
    truth = np.asarray(truth, np.float64)[..., :2]
    return torso_errors(predictions, truth, np.isfinite(truth).all(-1), Skeleton.load("lsp14"))


def mpii_errors(predictions, truth, missing, head_boxes) -> KeypointErrors:
    """MPII's PCKh; pelvis and thorax do not count.

    Args:
        predictions: `[N, 16, 2]` pixels, NaN where missing.
        truth: `[N, 16, 2]` pixels in the same convention.
        missing: `[N, 16]` nonzero where the truth has no label (`jnt_missing`).
        head_boxes: `[N, 2, 2]` two opposite corners (x, y) of the head box (`headboxes_src`).

    Raises:
        DataError: the shapes differ.
    """
    labeled = np.asarray(missing) == 0
    return head_errors(predictions, truth, labeled, head_sizes(head_boxes), Skeleton.load("mpii16"))


def head_sizes(head_boxes) -> np.ndarray:
    """`[N]` reference lengths of PCKh from `[N, 2, 2]` corners, in pixels."""
    corners = np.asarray(head_boxes, np.float64)
    return HEAD_SIZE_FACTOR * np.linalg.norm(corners[:, 1] - corners[:, 0], axis=-1)


def reference_of(skeleton: Skeleton, reference: Sequence[str] | None = None) -> tuple[str, str]:
    """The two keypoints whose distance PCK divides by: those given, else the card's, else LSP's torso.

    Raises:
        DataError: not two keypoints of the card.
    """
    names = tuple(reference or skeleton.pck_reference or TORSO)
    absent = [name for name in names if name not in skeleton.keypoints]
    if absent:
        raise DataError(
            f"PCK's reference length needs {' and '.join(names)}, the card '{skeleton.name}' has no "
            f"{' and no '.join(absent)}; write `pck_reference: [NAME, NAME]` on the card, or score this "
            "skeleton with OKS (evaluation.metric=oks_ap)"
        )
    if len(names) != 2 or names[0] == names[1]:
        raise DataError(
            f"PCK's reference length '{','.join(names)}': give two keypoints, such as {','.join(TORSO)}"
        )
    return names


def torso_lengths(samples: Samples) -> np.ndarray:
    """`[N]` reference lengths of PCK in pixels; 0 where an end has no label."""
    truth, labeled = samples.keypoints[..., :2], samples.keypoints[..., 2] > NOT_LABELED
    return _reference_lengths(truth, labeled, samples.skeleton, reference_of(samples.skeleton))


def torso_errors(
    predictions, truth, labeled, skeleton: Skeleton, reference: Sequence[str] | None = None
) -> KeypointErrors:
    """PCK's errors for any card that has the keypoints of the reference length.

    Args:
        predictions: `[N, K, 2]` pixels, NaN where missing.
        truth: `[N, K, 2]` pixels in the same convention.
        labeled: `[N, K]`; both ends of the reference must be labeled for a person to count.
        reference: names of its ends, see `reference_of`.

    Raises:
        DataError: no such keypoints, or the shapes differ.
    """
    names = reference_of(skeleton, reference)
    truth, labeled = np.asarray(truth, np.float64), np.asarray(labeled, bool)
    _check_shape("true keypoints", truth, (len(truth), skeleton.num_keypoints, 2), skeleton)
    lengths = _reference_lengths(truth, labeled, skeleton, names)
    return _keypoint_errors("PCK", predictions, truth, labeled, lengths, skeleton)


def head_errors(predictions, truth, labeled, sizes, skeleton: Skeleton) -> KeypointErrors:
    """PCKh's errors with `[N]` head sizes in pixels; a size of zero or NaN takes the person out."""
    return _keypoint_errors("PCKh", predictions, truth, labeled, sizes, skeleton)


def pck_from_samples(samples: Samples, predictions, threshold: float = PCK_THRESHOLD) -> PckResult:
    """PCK of `[N, K, 2]` predictions in the continuous image pixels of `samples`.

    Raises:
        DataError: the predictions do not fit the samples, or the card has no torso.
    """
    truth, labeled = samples.keypoints[..., :2], samples.keypoints[..., 2] > NOT_LABELED
    return torso_errors(predictions, truth, labeled, samples.skeleton).at(threshold)


def pckh_from_samples(samples: Samples, predictions, sizes, threshold: float = PCKH_THRESHOLD) -> PckResult:
    """PCKh of `[N, K, 2]` predictions with the `[N]` head sizes in pixels (`head_sizes`).

    Raises:
        DataError: predictions or sizes do not fit the samples.
    """
    truth, labeled = samples.keypoints[..., :2], samples.keypoints[..., 2] > NOT_LABELED
    return head_errors(predictions, truth, labeled, sizes, samples.skeleton).at(threshold)


def keypoint_groups(skeleton: Skeleton) -> dict[str, tuple[str, ...]]:
    """The columns of the published tables: Head, Shoulder, Elbow, Wrist, Hip, Knee, Ankle.

    LSP's Head is neck and head top together, MPII's is the head top alone.
    """
    head = _HEAD_OF_LSP if skeleton.name == "lsp14" else _HEAD
    groups = {"Head": tuple(name for name in skeleton.keypoints if name in head)}
    for group in _LIMB_GROUPS:
        groups[group] = tuple(n for n in skeleton.keypoints if n.endswith(group.lower()))
    return {group: members for group, members in groups.items() if members}


def _reference_lengths(truth, labeled, skeleton: Skeleton, names: tuple[str, str]) -> np.ndarray:
    truth = np.asarray(truth, np.float64)
    one, other = (skeleton.index(name) for name in names)
    lengths = np.linalg.norm(truth[:, one] - truth[:, other], axis=-1)
    return np.where(labeled[:, one] & labeled[:, other], lengths, 0)


def _keypoint_errors(metric, predictions, truth, labeled, reference, skeleton) -> KeypointErrors:
    # float64 before the difference: stored predictions may be uint8, where 3 - 5 is 254.
    predictions, truth = np.asarray(predictions, np.float64), np.asarray(truth, np.float64)
    labeled, reference = np.asarray(labeled, bool), np.asarray(reference, np.float64)
    persons = (len(truth), skeleton.num_keypoints)
    _check_shape("predictions", predictions, (*persons, 2), skeleton)
    _check_shape("labels", labeled, persons, skeleton)
    _check_shape("reference lengths", reference, persons[:1], skeleton)
    usable = np.isfinite(reference) & (reference > 0)
    with np.errstate(over="ignore", invalid="ignore"):  # which is a miss
        distances = np.linalg.norm(predictions - truth, axis=-1) / np.where(usable, reference, 1)[:, None]
    distances = np.where(np.isfinite(distances), distances, np.inf)
    counted = labeled & usable[:, None] & np.isfinite(truth).all(-1)
    if metric == "PCKh":
        counted &= ~np.isin(skeleton.keypoints, _NOT_COUNTED_IN_PCKH)
    return KeypointErrors(
        metric=metric,
        keypoints=skeleton.keypoints,
        groups=keypoint_groups(skeleton),
        errors=np.where(counted, distances, np.nan),
        skipped=tuple(int(row) for row in np.flatnonzero(~usable)),
    )


def _check_shape(name: str, array: np.ndarray, shape: tuple, skeleton: Skeleton):
    if array.shape != shape:
        raise DataError(
            f"{name} have the shape {array.shape}, expected {shape} for {shape[0]} persons with the "
            f"{skeleton.num_keypoints} keypoints of '{skeleton.name}'; give one row per person, in order"
        )


def _percent(hits, count) -> float:
    return float(100.0 * hits / count) if count else math.nan


def _mean(rates) -> float:
    known = [rate for rate in rates if not math.isnan(rate)]
    return sum(known) / len(known) if known else math.nan


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
