"""Who is scored: the people of a data source that a network can be asked about, and those it must miss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from p2net_tf.data.check import check_samples, count_kinds, demand_usable, refuse_broken, unseen
from p2net_tf.data.datasets import pictures_of_rows, read_dataset
from p2net_tf.data.picture_check import KINDS as OF_PICTURES
from p2net_tf.data.published_boxes import as_published
from p2net_tf.data.samples import Problem, Samples
from p2net_tf.data.settings import DatasetConfig
from p2net_tf.evaluation.set_aside import SetAside
from p2net_tf.inference.card import InferenceCard


@dataclass(frozen=True)
class People(SetAside):
    """People, or detected boxes, of one data source.

    Attributes:
        samples: what a network is asked about.
        missed: people with right keypoints that nobody can look at, because their picture or box is missing
            or broken. They count as missed.
        problems: everything broken or suspicious.
        total: how many the source names, the broken ones included.
        skipped_images: ids of pictures whose people do not count, by wish of the caller.
    """

    samples: Samples
    missed: Samples
    problems: tuple[Problem, ...] = ()
    total: int = 0
    skipped_images: frozenset[int] = frozenset()

    @classmethod
    def of(cls, samples: Samples) -> People:
        """Samples that are known to be usable."""
        return cls(samples, samples.take([]), (), len(samples))

    @property
    def scored(self) -> str:
        """`162 of 205`."""
        return f"{len(self.samples)} of {self.total}"

    def to_dict(self) -> dict:
        """What was set aside, as plain JSON types."""
        return {
            "scored": len(self.samples),
            "of": self.total,
            "missed": len(self.missed),
            "skipped_images": len(self.skipped_images),
            "errors": len(self.errors),
            "kinds": count_kinds(self.errors),
        }

    def describe(self) -> str | None:
        """A line on what was set aside; None where nothing was."""
        fate = "they do not count" if self.skipped_images else f"{len(self.missed)} people count as missed"
        return self.describe_errors(self.scored, fate)


def select_people(samples: Samples, skip_missing: bool = False, strict: bool = False) -> People:
    """Checks `samples` and sets aside what is broken.

    Args:
        skip_missing: people whose picture is missing or broken do not count, instead of as missed.
        strict: broken items are refused.

    Raises:
        DataError: nothing usable, or anything broken and `strict`.
    """
    problems = check_samples(samples)
    refuse_broken(problems, strict)
    kept, missed = demand_usable(samples, problems), unseen(samples, problems)
    skipped = (
        frozenset(p.image_id for p in problems if p.kind in OF_PICTURES) if skip_missing else frozenset()
    )
    missed = missed.take(~np.isin(missed.image_ids, list(skipped)))
    return People(kept, missed, tuple(problems), len(samples) + _refused(samples.problems), skipped)


def open_people(
    source: DatasetConfig, card: InferenceCard, strict: bool = False, skip_missing: bool = False
) -> People:
    """The people of `source`, in boxes as the network of `card` is to see them.

    Raises:
        DataError: nothing usable, or anything broken and `strict`.
    """
    samples = read_dataset(source, card.skeleton)
    if source.detections is not None:
        samples = samples.with_problems([*samples.problems, *_compare_with_truth(samples, source)])
    people = select_people(samples, skip_missing, strict)
    if card.alignment == "pixel_index":
        people = replace(people, samples=as_published(people.samples, source))
    return people


def _compare_with_truth(detected: Samples, source: DatasetConfig) -> list[Problem]:
    """Lost pictures of people without a box, of which no sample tells."""
    truth = read_dataset(source.model_copy(update={"detections": None, "rows": None}), detected.skeleton)
    wanted = pictures_of_rows(source, detected.skeleton)
    unboxed = ~np.isin(truth.image_paths, detected.image_paths)
    if wanted is not None:
        unboxed &= np.asarray([given in wanted for given in truth.given_image_ids], bool)
    problems = check_samples(truth.take(unboxed).with_problems(())) if unboxed.any() else []
    return [problem for problem in problems if problem.kind in OF_PICTURES]


def _refused(problems: Sequence[Problem]) -> int:
    """Persons that the reader itself could not represent."""
    return len({(p.file, p.sample_id) for p in problems if p.severity == "error" and p.sample_id is not None})
