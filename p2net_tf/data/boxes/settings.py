"""One source of boxes, as a configuration names it."""

from __future__ import annotations

from typing import Literal

from p2net_tf.data.annotations.reading import Reading
from p2net_tf.data.settings import DataSource

PERSON = "person"
"""The class of people, whatever a set calls it."""
BoxFormat = Literal["coco", "voc", "yolo", "lsp", "lspet"]
"""How a set of boxes is laid out."""
Unlabeled = Literal["ignore", "background"]
"""What lies beside the one labeled person of a picture."""


class BoxDatasetConfig(DataSource):
    """One source of pictures with boxes around people, or other things.

    A picture without any box is kept: nothing is to be found there. `category` is the name or id of the class
    that is called `person` here; None takes those that are called so. `coordinates` and `boxes` are None for
    what the format says: corners in pixels for `voc`, centre and size as parts of the picture for `yolo`.
    """

    format: BoxFormat = "coco"
    """`coco`: any file of COCO's form with `bbox`; `voc`: Pascal VOC's XML files; `yolo`: text files, with
    their `data.yaml` as `annotations`; `lsp` and `lspet`: boxes around their keypoints."""
    first_pixel: Literal[0, 1] | None = None
    """voc: what the first column and row are called. None: 1, unless corners at 0 say otherwise."""
    unlabeled: Unlabeled = "ignore"
    """lsp, lspet: whether what lies beside the one labeled person does not count, or is background."""

    @property
    def reading(self) -> Reading:
        """How the annotations are read."""
        return Reading(self.category, self.coordinates, self.boxes)
