"""One source of boxes, as a configuration names it."""

from __future__ import annotations

from typing import Literal

from p2net_tf.data.annotations.reading import Reading
from p2net_tf.data.settings import DataSource


class BoxDatasetConfig(DataSource):
    """One source of pictures with boxes around people, or other things.

    `split`, `annotations` and `boxes` mean for `coco` what they mean for sets of people. A picture without
    any box is kept: nothing is to be found there. `category` is the name or id of the class that is called
    `person` here; None takes those that are called so.
    """

    format: Literal["coco"] = "coco"

    @property
    def reading(self) -> Reading:
        """How the annotations are read."""
        return Reading(self.category, self.coordinates, self.boxes)
