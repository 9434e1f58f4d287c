"""What all networks from pictures to boxes have in common."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import keras
from keras import ops

from p2net_tf.detection.networks import geometry
from p2net_tf.detection.networks.nms import non_maximum_suppression
from p2net_tf.models.pose_network import IMAGENET_MEAN, IMAGENET_STD

DECODE_SCOPE = "decode_boxes"
"""Name scope of what turns the outputs of the last layers into boxes."""
_SMALLEST_SIDE = 1e-2
_NOTHING = -1.0
"""A score of what is no candidate."""


@dataclass(frozen=True)
class Truth:
    """What a batch of pictures holds, M boxes of each at most.

    Attributes:
        boxes: `[B, M, 4]` xyxy in pixels of the padded pictures.
        classes: `[B, M]` int32 from 0; -1 fills the list up.
        crowd: `[B, M]` bool: groups that are neither found nor background.
        unfit: `[B, M]` bool, or None: boxes that a branch of a TridentNet does not answer for.
    """

    boxes: object
    classes: object
    crowd: object
    unfit: object = None

    @property
    def present(self):
        return self.classes >= 0

    def matched_by(self, matcher, anchors):
        return matcher(anchors, self.boxes, self.present, self.crowd, self.unfit)


class DetectionNetwork(keras.Model):
    """From RGB pictures in 0..1 to boxes with scores.

    `call(images [B, H, W, 3], sizes [B, 2])` gives, best first and at most `max_detections` of each picture,
    `{boxes [B, n, 4], scores [B, n], classes [B, n], valid [B, n]}`: xyxy in pixels of the padded pictures,
    classes from 0. What is not `valid` fills up. `H` and `W` may be any multiples of `stride`. Pictures are
    padded at the right and bottom with `padding_value`, which normalizes to 0; `sizes` are their heights and
    widths without it, None where they have none.

    Args:
        num_classes: kinds of objects, background not counted.
        mean, std: per-channel normalisation; ImageNet's by default.
        synchronized_batch_norm: batch statistics over all replicas (TensorFlow backend).
        freeze_batch_norm: batch normalization keeps its statistics in training, as in fine-tuning with few
            pictures a batch.
        score_threshold: boxes must score above it.
        nms_threshold: largest overlap of two boxes of one class.
        max_detections: boxes of a picture.
        candidates: the best of this many are looked at before suppression.
        seed: of the random choices in training, where nobody gives the numbers.
    """

    stride = 32
    loss_names: tuple[str, ...] = ()
    """Of the parts that `losses_of` gives."""

    def __init__(
        self,
        num_classes: int = 1,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        synchronized_batch_norm: bool = False,
        freeze_batch_norm: bool = False,
        score_threshold: float = 0.05,
        nms_threshold: float = 0.5,
        max_detections: int = 100,
        candidates: int = 1000,
        seed: int = 0,
        dtype=None,
        **kwargs,
    ):
        super().__init__(dtype=dtype, **kwargs)
        self.num_classes = num_classes
        self.mean, self.std = tuple(mean), tuple(std)
        self.freeze_batch_norm = freeze_batch_norm
        self.score_threshold = score_threshold
        self.nms_threshold = nms_threshold
        self.max_detections = max_detections
        self.candidates = candidates
        self.layer_options = {"synchronized": synchronized_batch_norm, "dtype": dtype}
        scale, offset = [1 / s for s in std], [-m / s for m, s in zip(mean, std, strict=True)]
        self.normalize = keras.layers.Rescaling(scale, offset, dtype=dtype, name="normalize")
        self._uniform = functools.partial(keras.random.uniform, seed=keras.random.SeedGenerator(seed))
        self._arguments = {
            "num_classes": num_classes,
            "mean": list(mean),
            "std": list(std),
            "synchronized_batch_norm": synchronized_batch_norm,
            "freeze_batch_norm": freeze_batch_norm,
            "score_threshold": score_threshold,
            "nms_threshold": nms_threshold,
            "max_detections": max_detections,
            "candidates": candidates,
            "seed": seed,
            "dtype": self.dtype_policy.name,
            "name": self.name,
        }

    @property
    def padding_value(self) -> tuple[float, float, float]:
        """The colour, in 0..1, that pictures are padded with."""
        return self.mean

    def losses_of(self, images, truth: Truth, sizes=None, uniform: Callable | None = None, training=True):
        """`{name: [B]}`: the parts of the loss of each picture; their sum is trained on.

        Args:
            uniform: gives random numbers in 0..1 of a shape; None: Keras' own.
        """
        raise NotImplementedError

    def _sizes(self, images, sizes):
        if sizes is not None:
            return sizes
        batch, height, width = ops.shape(images)[:3]
        return ops.broadcast_to(ops.stack([height, width]), (batch, 2))

    def _norm_training(self, training) -> bool:
        return bool(training) and not self.freeze_batch_norm

    def detections(self, boxes, scores, sizes) -> dict:
        """The result of `call`.

        Args:
            boxes: `[B, A, 4]`, or `[B, A, num_classes, 4]` where each class has its own.
            scores: `[B, A, num_classes]` in 0..1.
        """
        count = ops.shape(scores)[1] * self.num_classes
        flat = ops.reshape(scores, (-1, count))
        best, index = ops.top_k(flat, at_most(self.candidates, count))
        per_class = len(boxes.shape) == 4
        boxes = ops.reshape(boxes, (-1, count, 4)) if per_class else boxes
        boxes = geometry.rows(boxes, index if per_class else index // self.num_classes)
        boxes = geometry.clip(ops.cast(boxes, "float32"), sizes)
        classes = ops.cast(index % self.num_classes, "int32")
        best = ops.where(has_sides(boxes, _SMALLEST_SIDE), ops.cast(best, "float32"), _NOTHING)
        kept, valid = non_maximum_suppression(
            boxes,
            best,
            self.max_detections,
            self.nms_threshold,
            self.score_threshold,
            groups=classes if self.num_classes > 1 else None,
        )
        return {
            "boxes": ops.where(valid[..., None], geometry.rows(boxes, kept), 0.0),
            "scores": ops.where(valid, geometry.rows(best, kept), 0.0),
            "classes": ops.where(valid, geometry.rows(classes, kept), -1),
            "valid": valid,
        }

    def get_config(self):
        return dict(self._arguments)

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**config)


def at_most(limit: int, count):
    """The smaller of the two; `count` may be a tensor."""
    return min(limit, count) if isinstance(count, int) else ops.minimum(limit, count)


def has_sides(boxes, smallest: float):
    """`[...]` whether both sides of `boxes [..., 4]` have `smallest` pixels."""
    return ops.all(boxes[..., 2:] - boxes[..., :2] >= smallest, axis=-1)


def grids_of(maps) -> list:
    """`(height, width)` of maps `[B, h, w, C]`."""
    return [tuple(ops.shape(x)[1:3]) for x in maps]
