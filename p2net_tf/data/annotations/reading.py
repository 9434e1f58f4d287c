"""How to read what annotation files do not agree on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

AREA_OF_BOX = 0.53
"""A person's segment fills about this much of its box (as Ultralytics scores, measured on COCO)."""
POINT_BOX = 64.0
"""Side in pixels of the box around keypoints without an extent."""
BoxForm = Literal["xywh", "xyxy", "cxcywh"]
"""What the four numbers of a box are: corner and size, two corners, or centre and size."""
Coordinates = Literal["pixels", "normalized", "percent", "thousandths", "declared"]
"""What x and y count: pixels of the picture file; its width and height as 1, 100 or 1000; or pixels of the
size that the image entry declares, where pictures were resized after they were labeled."""


@dataclass(frozen=True)
class Reading:
    """Choices of the user; None leaves one to the reader, and to the check whether the numbers agree.

    Attributes:
        category: name or id of the people's category; None takes those whose keypoints are the card's.
        coordinates: of keypoints, boxes and segments; None is `pixels`.
        boxes: what the four numbers of `bbox` are; None is `xywh`.
        detection_boxes: the same of detected boxes.
        detection_coordinates: of detected boxes; None is `coordinates`.
        area_of_box: a person's area as a fraction of its box, where neither `area` nor a segment says it.
        point_box: side in pixels of the box around keypoints without an extent, where there is no box.
    """

    category: str | int | None = None
    coordinates: Coordinates | None = None
    boxes: BoxForm | None = None
    detection_boxes: BoxForm | None = None
    detection_coordinates: Coordinates | None = None
    area_of_box: float = AREA_OF_BOX
    point_box: float = POINT_BOX

    @property
    def of_detections(self) -> Reading:
        """How the file of detected boxes is read."""
        coordinates = self.detection_coordinates or self.coordinates
        return replace(self, boxes=self.detection_boxes, coordinates=coordinates)

    @property
    def settled(self) -> frozenset[str]:
        """What of the labels' form the user has stated, which no check doubts."""
        stated = {"coordinates": self.coordinates, "boxes": self.boxes}
        return frozenset(name for name, choice in stated.items() if choice is not None)


USUAL = Reading()
