"""One-stage detector with focal loss (RetinaNet, Lin et al., ICCV 2017)."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import keras
from keras import ops

from p2net_tf.detection.networks import geometry
from p2net_tf.detection.networks.anchors import Anchors
from p2net_tf.detection.networks.backbones import build_backbone
from p2net_tf.detection.networks.box_coder import BoxCoder
from p2net_tf.detection.networks.detection_network import DECODE_SCOPE, DetectionNetwork, Truth, grids_of
from p2net_tf.detection.networks.matching import IGNORED, POSITIVE, Matcher
from p2net_tf.layers import BatchNormalization, FeaturePyramid
from p2net_tf.losses.boxes import mean_over, smooth_l1
from p2net_tf.losses.focal import ALPHA, GAMMA, FocalLoss

PRIOR = 0.01
"""Score of every anchor before training: else their sum drowns the few positives."""
ANCHOR_SIZE_OF_STRIDE = 4
SCALES = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))


@keras.saving.register_keras_serializable("p2net_tf")
class DenseHead(keras.layers.Layer):
    """Convolutions that say the same thing of every position of some maps.

    `[[B, h, w, C], ...] -> [B, sum(h * w) * A, outputs]`.

    Args:
        width: channels of the hidden 3x3 convolutions.
        depth: number of them.
        per_position: A, anchors of a position.
        outputs: numbers of an anchor.
        prior: where given, the sigmoid of what comes out before training.
        norm: batch normalization after every hidden convolution, as a network that starts from random weights
            needs it (He et al., ICCV 2019). Its statistics are of all maps together, since all have the same
            convolutions.
        synchronized: these statistics are of all replicas.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        per_position: int,
        outputs: int,
        prior: float | None = None,
        norm: bool = False,
        synchronized: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self._config = {
            "width": width,
            "depth": depth,
            "per_position": per_position,
            "outputs": outputs,
            "prior": prior,
            "norm": norm,
            "synchronized": synchronized,
        }
        small = keras.initializers.RandomNormal(stddev=0.01)
        bias = 0.0 if prior is None else -math.log((1 - prior) / prior)
        options = {"padding": "same", "dtype": self.dtype_policy}
        self.hidden = [
            keras.layers.Conv2D(
                width, 3, kernel_initializer="he_normal", use_bias=not norm, name=f"hidden_{n}", **options
            )
            for n in range(1, depth + 1)
        ]
        self.norms = [
            BatchNormalization(synchronized=synchronized, dtype=self.dtype_policy, name=f"norm_{n}")
            for n in range(1, depth + 1 if norm else 1)
        ]
        self.output_conv = keras.layers.Conv2D(
            per_position * outputs,
            3,
            kernel_initializer=small,
            bias_initializer=keras.initializers.Constant(bias),
            name="output",
            **options,
        )

    def build(self, input_shape):
        shape = input_shape[0]  # of one map: all have as many channels
        for conv in [*self.hidden, self.output_conv]:
            conv.build(shape)
            shape = conv.compute_output_shape(shape)
        for norm in self.norms:
            norm.build((None, None, 1, self._config["width"]))
        self.built = True

    def call(self, inputs, training=None):
        maps = list(inputs)
        for number, conv in enumerate(self.hidden):
            maps = [conv(x) for x in maps]
            if self.norms:
                maps = _on_all(self.norms[number], maps, training)
            maps = [ops.relu(x) for x in maps]
        answers = [_rows(self.output_conv(x), self._config["outputs"]) for x in maps]
        return ops.cast(ops.concatenate(answers, axis=1), "float32")

    def compute_output_shape(self, input_shape):
        sides = [shape[1:3] for shape in input_shape]
        known = all(side for pair in sides for side in pair)
        positions = sum(height * width for height, width in sides) if known else None
        count = positions and positions * self._config["per_position"]
        return (input_shape[0][0], count, self._config["outputs"])

    def get_config(self):
        return {**super().get_config(), **self._config}


def _rows(x, width: int):
    """`[B, h, w, n * width] -> [B, h * w * n, width]`."""
    return ops.reshape(x, (ops.shape(x)[0], -1, width))


def _on_all(norm: BatchNormalization, maps: list, training) -> list:
    """The maps, normalized by statistics of the positions of all."""
    flat = ops.concatenate([_rows(x, x.shape[-1]) for x in maps], axis=1)
    flat = norm(flat[:, :, None], training=training)[:, :, 0]
    counts = [ops.shape(x)[1] * ops.shape(x)[2] for x in maps]
    found, start = [], 0
    for x, count in zip(maps, counts, strict=True):
        found.append(ops.reshape(flat[:, start : start + count], ops.shape(x)))
        start += count
    return found


@keras.saving.register_keras_serializable("p2net_tf")
class OneStageDetector(DetectionNetwork):
    """Backbone, feature pyramid, and at every anchor scores of all classes and deltas.

    Args:
        backbone: a name of `p2net_tf.detection.networks.backbones`.
        pyramid_width: channels of the pyramid and of the heads.
        head_depth: hidden convolutions of each head.
        head_norm: see `DenseHead`; RetinaNet has none.
        first_level: the backbone's maps from this one on, 0 for stride 4; RetinaNet takes 1.
        top: see `FeaturePyramid`; RetinaNet has `convolutions`.
        anchor_sizes: of each map, in pixels; None: 4 times its stride, as RetinaNet's.
        scales: factors of these sizes.
        ratios: heights divided by widths.
        small_width, small_blocks: of the small backbones.
        stride_in_1x1: see `ResidualBlock`.
        alpha, gamma: of the focal loss.
        options: see `DetectionNetwork`.
    """

    loss_names = ("class_loss", "box_loss")

    def __init__(
        self,
        backbone: str = "resnet50",
        pyramid_width: int = 256,
        head_depth: int = 4,
        head_norm: bool = False,
        first_level: int = 1,
        top: str | None = "convolutions",
        anchor_sizes=None,
        scales=SCALES,
        ratios=(0.5, 1.0, 2.0),
        small_width: int = 32,
        small_blocks: int = 2,
        stride_in_1x1: bool = False,
        alpha: float = ALPHA,
        gamma: float = GAMMA,
        **options,
    ):
        super().__init__(**options)
        self._arguments |= {
            "backbone": backbone,
            "pyramid_width": pyramid_width,
            "head_depth": head_depth,
            "head_norm": head_norm,
            "first_level": first_level,
            "top": top,
            "anchor_sizes": anchor_sizes and list(anchor_sizes),
            "scales": list(scales),
            "ratios": list(ratios),
            "small_width": small_width,
            "small_blocks": small_blocks,
            "stride_in_1x1": stride_in_1x1,
            "alpha": alpha,
            "gamma": gamma,
        }
        self.backbone, strides, channels = build_backbone(
            backbone, small_width, small_blocks, stride_in_1x1, **self.layer_options
        )
        self.stride = strides[-1]
        self.first_level = first_level
        self._channels = channels[first_level:]
        self.pyramid = FeaturePyramid(
            pyramid_width, strides[first_level:], top, name="pyramid", dtype=self.layer_options["dtype"]
        )
        sizes = anchor_sizes or [ANCHOR_SIZE_OF_STRIDE * stride for stride in self.pyramid.output_strides]
        self.anchors = Anchors(
            self.pyramid.output_strides,
            tuple(tuple(size * scale for scale in scales) for size in sizes),
            tuple(ratios),
        )
        count = self.anchors.per_position
        head = partial(DenseHead, pyramid_width, head_depth, count, norm=head_norm, **self.layer_options)
        self.class_head = head(self.num_classes, prior=PRIOR, name="class_head")
        self.box_head = head(4, name="box_head")
        self.coder = BoxCoder()
        self.matcher = Matcher(high=0.5, low=0.4, keeps_best=True)
        self.focal_loss = FocalLoss(alpha, gamma, reduction=None)
        self.build((None, None, None, 3))

    def build(self, input_shape):
        self.backbone.build((None, None, None, 3))
        self.pyramid.build([(None, None, None, channels) for channels in self._channels])
        width = self._arguments["pyramid_width"]
        for head in (self.class_head, self.box_head):
            head.build([(None, None, None, width)])
        self.built = True

    def call(self, images, sizes=None, training=None):
        logits, deltas, anchors = self._predicted(images, training)
        with keras.name_scope(DECODE_SCOPE):
            boxes = self.coder.decode(deltas, anchors)
            return self.detections(boxes, ops.sigmoid(logits), self._sizes(images, sizes))

    def losses_of(self, images, truth: Truth, sizes=None, uniform: Callable | None = None, training=True):
        logits, deltas, anchors = self._predicted(images, training)
        index, labels = truth.matched_by(self.matcher, anchors)
        positive = labels == POSITIVE
        classes = ops.where(positive, geometry.rows(truth.classes, index), -1)
        target = ops.one_hot(classes, self.num_classes)  # of -1: zeros
        target = ops.where((labels == IGNORED)[..., None], -1.0, target)
        distance = smooth_l1(self.coder.encode(geometry.rows(truth.boxes, index), anchors), deltas, beta=0)
        return {
            "class_loss": self.focal_loss(target, logits),
            "box_loss": mean_over(distance, positive),
        }

    def _predicted(self, images, training):
        """`(logits [B, A, K], deltas [B, A, 4], anchors [1, A, 4])` of all maps."""
        training = self._norm_training(training)
        features = self.backbone(self.normalize(images), training=training)
        maps = self.pyramid(features[self.first_level :])
        logits = self.class_head(maps, training=training)
        deltas = self.box_head(maps, training=training)
        return logits, deltas, ops.concatenate(self.anchors(grids_of(maps)), axis=0)[None]
