"""A source whose boxes a detector finds, as one whose boxes a file holds."""

from __future__ import annotations

from p2net_tf.data.datasets import pictures_of
from p2net_tf.data.settings import DatasetConfig
from p2net_tf.detection.kept_boxes import kept_boxes
from p2net_tf.detection.opening import names_detector, open_detector
from p2net_tf.skeletons.skeleton import Skeleton


def with_boxes_of_detector(source: DatasetConfig, skeleton: Skeleton) -> DatasetConfig:
    """`source` with a file in `detections` where it names a detector, which is asked now, or was before.

    Raises:
        UserError: the detector cannot be opened.
        DataError: the source cannot be read.
        WriteError: the boxes cannot be kept.
    """
    if source.detections is None or not names_detector(source.detections):
        return source
    pictures, category = pictures_of(source, skeleton)
    detector = open_detector(source.detections)
    file = kept_boxes(detector, pictures, bool(source.exif_orientation), category)
    # Pixels of the pictures, whatever the labels count.
    read = {"detection_boxes": "xywh", "detection_coordinates": "pixels"}
    return source.model_copy(update={"detections": str(file), **read})
