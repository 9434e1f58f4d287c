"""Faster R-CNN on ResNet-50-FPN: from a published state dict to a detector with the same boxes.

torchvision's code is the measure; detectron2's and mmdetection's weights come by its names
(`p2net_tf.convert.detector_names`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from p2net_tf.convert.assign import assign_tensors
from p2net_tf.convert.checkpoint import ConversionError, read_tensors
from p2net_tf.convert.convert import check_output, digest_of
from p2net_tf.convert.detector_names import as_torchvision
from p2net_tf.data.boxes.settings import PERSON
from p2net_tf.detection.card import DetectorCard
from p2net_tf.detection.coco_classes import COCO_80, COCO_91
from p2net_tf.detection.detector import NetworkDetector
from p2net_tf.detection.networks import FasterRCNN
from p2net_tf.models.summary import count_parameters
from p2net_tf.utils.console import progress
from p2net_tf.utils.paths import as_path

MODEL = "fasterrcnn_resnet50_fpn"
PUBLISHED_EPSILON, OUR_EPSILON = 0.0, 1e-5
"""Of batch normalization. torchvision sets that of its published file to 0 when it reads it; a state dict of
one's own training has 1e-5."""

_PUBLISHED_FILE = f"{MODEL}_coco"
_FIRST_DENSE = "roi_heads.box_head.fc6.weight"
_CLASSES = "roi_heads.box_predictor.cls_score.weight"
_POOLED = 7


@dataclass(frozen=True)
class DetectorConversion:
    """What was converted, into what, and from where it came.

    Attributes:
        sha256: of the checkpoint.
        classes: of the detector, one of them `person`.
        tensors: of the checkpoint that are in the network, all but counters.
    """

    source: str
    sha256: str
    model: str
    classes: tuple[str, ...]
    tensors: int
    parameters: int
    network_file: str

    def to_dict(self) -> dict:
        return asdict(self)

    def rows(self) -> dict[str, str]:
        """For a table."""
        return {
            "source": self.source,
            "sha256": self.sha256,
            "model": f"{self.model}, {len(self.classes)} classes",
            "tensors": f"{self.tensors}, all of them",
            "parameters": f"{self.parameters / 1e6:.1f} M",
            "written": self.network_file,
        }


def convert_detector(source: str | Path, out: str | Path, force: bool = False) -> DetectorConversion:
    """Writes the detector of a state dict of `fasterrcnn_resnet50_fpn` to the `.keras` file `out`.

    Args:
        force: write over a file that is there.

    Raises:
        ConversionError: it cannot be read, is another network, or there is a file already.
    """
    source, out = as_path(source, "source"), as_path(out, "out")
    check_output(out, force=force)
    with progress("converting, steps", total=2) as advance:
        detector = read_detector(source)
        advance()
        detector.save(out)
        advance()
    return DetectorConversion(
        source=source.name,
        sha256=digest_of(source),
        model=MODEL,
        classes=detector.card.classes,
        tensors=len(detector.network.weights),
        parameters=count_parameters(detector.network),
        network_file=str(out),
    )


def read_detector(
    source: str | Path, classes: Sequence[str] | None = None, norm_epsilon: float | None = None
) -> NetworkDetector:
    """The detector of a state dict of `fasterrcnn_resnet50_fpn`, whosever of the three.

    Args:
        source: `.pth`, `.pt`, `.tar` or `.safetensors`.
        classes: their names, without the background; None: COCO's, or `person` where there is one class.
        norm_epsilon: of its batch normalization; None: 0 for the published file, by its name, else 1e-5.

    Raises:
        ConversionError: it cannot be read, is another network, or the names do not fit its classes.
    """
    if norm_epsilon is None:
        published = Path(source).name.startswith(_PUBLISHED_FILE)
        norm_epsilon = PUBLISHED_EPSILON if published else OUR_EPSILON
    return detector_of_tensors(read_tensors(source), str(source), classes, norm_epsilon)


def detector_of_tensors(
    tensors: Mapping[str, np.ndarray],
    source: str,
    classes: Sequence[str] | None = None,
    norm_epsilon: float = OUR_EPSILON,
) -> NetworkDetector:
    """`read_detector` of named tensors; `source` names them in errors."""
    tensors, origin = as_torchvision(tensors)
    if _CLASSES not in tensors or _FIRST_DENSE not in tensors:
        raise ConversionError(
            f"{source}: has no {_CLASSES}; give a state dict of torchvision's fasterrcnn_resnet50_fpn, or of "
            "the same network of detectron2 or mmdetection"
        )
    names = _class_names(len(tensors[_CLASSES]) - 1, classes, source)
    network = FasterRCNN(num_classes=len(names), name=MODEL, **origin.arguments)
    assign_tensors(network, _as_ours(tensors, norm_epsilon))
    return NetworkDetector(network, DetectorCard(name=MODEL, classes=names, antialias=origin.antialias))


def _class_names(count: int, classes: Sequence[str] | None, source: str) -> tuple[str, ...]:
    if classes is None:
        known = {1: (PERSON,), len(COCO_80): COCO_80, len(COCO_91): COCO_91}
        if count not in known:
            raise ConversionError(f"{source}: has {count} classes; give their names, without the background")
        classes = known[count]
    if len(classes) != count or PERSON not in classes:
        raise ConversionError(
            f"{source}: has {count} classes, but got {len(classes)} names; give as many, one of them 'person'"
        )
    return tuple(classes)


def _as_ours(tensors: dict[str, np.ndarray], norm_epsilon: float) -> dict[str, np.ndarray]:
    """The same numbers where ours are laid out otherwise.

    The first dense layer reads `[h, w, C]`, theirs `[C, h, w]`; what their epsilon lacks goes into the
    variances.
    """
    tensors = dict(tensors)
    dense = tensors[_FIRST_DENSE]
    channels = dense.shape[1] // _POOLED**2
    dense = dense.reshape(len(dense), channels, _POOLED, _POOLED).transpose(0, 2, 3, 1)
    tensors[_FIRST_DENSE] = dense.reshape(len(dense), -1)
    for name in tensors:
        if name.endswith("running_var"):
            tensors[name] = tensors[name] + np.float32(norm_epsilon - OUR_EPSILON)
    return tensors
