"""Which pictures of a data source a detector can be asked about, and whose objects it must miss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from p2net_tf.data.boxes.check import check_scenes, demand_usable_scenes, unseen_scenes
from p2net_tf.data.check import count_kinds, refuse_broken
from p2net_tf.data.samples import DataError, Problem
from p2net_tf.data.scenes import Scenes, concatenate
from p2net_tf.evaluation.set_aside import SetAside


@dataclass(frozen=True)
class ScoredScenes(SetAside):
    """Pictures of one data source.

    Attributes:
        scenes: what a detector is asked about.
        missed: pictures that nobody can look at, whose objects count as missed.
        problems: everything broken or suspicious.
        total: how many pictures the source names, the broken ones included.
        skipped: pictures whose objects do not count, by wish of the caller.
    """

    scenes: Scenes
    missed: Scenes
    problems: tuple[Problem, ...] = ()
    total: int = 0
    skipped: int = 0

    @classmethod
    def of(cls, scenes: Scenes) -> ScoredScenes:
        """Pictures that are known to be usable."""
        return cls(scenes, scenes.take([]), (), len(scenes))

    @property
    def everything(self) -> Scenes:
        """Those that are asked about, then those that count as missed."""
        return concatenate([self.scenes, self.missed])

    @property
    def scored(self) -> str:
        """`162 of 205`."""
        return f"{len(self.scenes)} of {self.total}"

    def to_dict(self) -> dict:
        """What was set aside, as plain JSON types."""
        return {
            "scored": len(self.scenes),
            "of": self.total,
            "missed": len(self.missed),
            "missed_objects": len(self.missed.owners),
            "skipped": self.skipped,
            "errors": len(self.errors),
            "kinds": count_kinds(self.errors),
        }

    def describe(self) -> str | None:
        """A line on what was set aside; None where nothing was."""
        fate = f"{len(self.missed.owners)} boxes of lost pictures count as missed"
        if self.skipped:
            fate = f"{self.skipped} lost pictures do not count"
        return self.describe_errors(f"{self.scored} pictures", fate)


def select_scenes(scenes: Scenes, skip_missing: bool = False, strict: bool = False) -> ScoredScenes:
    """Checks `scenes` and sets aside what is broken.

    Args:
        skip_missing: objects whose picture is missing or broken do not count, instead of as missed.
        strict: broken items are refused.

    Raises:
        DataError: nothing usable, or anything broken and `strict`.
    """
    problems = check_scenes(scenes)
    refuse_broken(problems, strict)
    kept, missed = demand_usable_scenes(scenes, problems), unseen_scenes(scenes, problems)
    skipped = len(missed) if skip_missing else 0
    missed = missed.take([]) if skip_missing else missed
    return ScoredScenes(kept, missed, tuple(problems), len(scenes), skipped)


def only_class(scenes: Scenes, name: str) -> Scenes:
    """The objects of one class; all pictures stay.

    Raises:
        DataError: there is no such class.
    """
    if name not in scenes.class_names:
        raise DataError(
            f"{scenes.source}: has no class '{name}', but {', '.join(scenes.class_names)}; read it with that "
            "class"
        )
    row = scenes.class_names.index(name)
    own = scenes.without_objects(scenes.classes != row)
    ids = scenes.category_ids[row : row + 1]
    return replace(own, class_names=(name,), category_ids=ids, classes=np.zeros(len(own.owners), np.int64))


def box_ground_truth(scenes: Scenes) -> dict:
    """`scenes` as COCO ground truth, with their own ids of images and classes."""
    ids, categories = image_ids_of(scenes), category_ids_of(scenes)
    sizes = zip(scenes.image_paths.tolist(), scenes.label_sizes.tolist(), strict=True)
    columns = zip(
        scenes.owners.tolist(),
        scenes.classes.tolist(),
        scenes.boxes.tolist(),
        scenes.areas.tolist(),
        scenes.crowds.tolist(),
        strict=True,
    )
    return {
        "images": [
            {"id": number, "file_name": path} | ({"width": width, "height": height} if width else {})
            for number, (path, (width, height)) in zip(ids, sizes, strict=True)
        ],
        "categories": [
            {"id": number, "name": name} for number, name in zip(categories, scenes.class_names, strict=True)
        ],
        "annotations": [
            {
                "id": place,
                "image_id": ids[owner],
                "category_id": categories[row],
                "bbox": box,
                "area": area,
                "iscrowd": int(crowd),
            }
            for place, (owner, row, box, area, crowd) in enumerate(columns, 1)
        ],
    }


def image_ids_of(scenes: Scenes) -> list[int | str]:
    """`[P]` the data set's own ids; places from 1 on where several sets were joined and share some."""
    given: Sequence[int | str] = scenes.given_image_ids
    return list(given) if len(set(given)) == len(given) else list(range(1, len(given) + 1))


def category_ids_of(scenes: Scenes) -> list[int | str]:
    """`[C]` the data set's own ids; places from 1 on where it has none."""
    return list(scenes.category_ids) or list(range(1, len(scenes.class_names) + 1))
