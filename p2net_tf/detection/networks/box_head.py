"""What is in a proposal, and where exactly: the second stage of Faster R-CNN."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

import keras
from keras import ops

from p2net_tf.detection.networks import geometry
from p2net_tf.detection.networks.box_coder import BoxCoder
from p2net_tf.detection.networks.detection_network import Truth, at_most
from p2net_tf.detection.networks.matching import IGNORED, POSITIVE, Matcher, sample
from p2net_tf.layers.sequence import call_in_sequence
from p2net_tf.losses.boxes import cross_entropy, mean_over, smooth_l1
from p2net_tf.models.backbones import ResNetSpec, resnet_stage

POSITIVE_SHARE = 0.25
"""At most, of the proposals that the losses look at."""
_BETA = 1 / 9
BACKGROUND = 0
"""Among the classes of the head; the others are counted from 1."""


class BoxHead(keras.layers.Layer):
    """From features of proposals `[B, R, h, w, C]` to `logits [B, R, 1 + K]` and `deltas [B, R, 1 + K, 4]`.

    Sub-classes make of `h * w` positions one vector of each proposal.

    Args:
        num_classes: K, background not counted.
    """

    def __init__(self, num_classes: int, **kwargs):
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.logits = self._dense(num_classes + 1, 0.01, "logits")
        self.deltas = self._dense(4 * (num_classes + 1), 0.001, "deltas")

    def _dense(self, units: int, deviation: float, name: str) -> keras.layers.Dense:
        initializer = keras.initializers.RandomNormal(stddev=deviation)
        return keras.layers.Dense(units, kernel_initializer=initializer, dtype=self.dtype_policy, name=name)

    def build_outputs(self, channels: int):
        self.logits.build((None, None, channels))
        self.deltas.build((None, None, channels))
        self.built = True

    def predicted(self, vectors):
        """`(logits, deltas)` of `[B, R, C]`."""
        batch, count = ops.shape(vectors)[:2]
        logits = ops.cast(self.logits(vectors), "float32")
        deltas = ops.cast(self.deltas(vectors), "float32")
        return logits, ops.reshape(deltas, (batch, count, self.num_classes + 1, 4))

    def compute_output_shape(self, input_shape):
        outputs = (*input_shape[:2], self.num_classes + 1)
        return outputs, (*outputs, 4)

    def get_config(self):
        return {**super().get_config(), "num_classes": self.num_classes}


@keras.saving.register_keras_serializable("p2net_tf")
class TwoLayerHead(BoxHead):
    """Two dense layers (Lin et al., CVPR 2017).

    Args:
        width: of both.
    """

    def __init__(self, num_classes: int, width: int = 1024, **kwargs):
        super().__init__(num_classes, **kwargs)
        self.width = width
        self.hidden = [
            keras.layers.Dense(width, activation="relu", dtype=self.dtype_policy, name=f"hidden_{number}")
            for number in (1, 2)
        ]

    def build(self, input_shape):
        _, _, height, width, channels = input_shape
        self.hidden[0].build((None, None, height * width * channels))
        self.hidden[1].build((None, None, self.width))
        self.build_outputs(self.width)

    def call(self, inputs):
        _, _, height, width, channels = inputs.shape
        batch, count = ops.shape(inputs)[:2]
        x = ops.reshape(inputs, (batch, count, height * width * channels))
        return self.predicted(call_in_sequence(self.hidden, x))

    def get_config(self):
        return {**super().get_config(), "width": self.width}


@keras.saving.register_keras_serializable("p2net_tf")
class StageHead(BoxHead):
    """The last stage of a ResNet on every proposal, then the mean over its positions (He et al., CVPR 2016).

    Args:
        spec: a `ResNetSpec` or its dict, whose C5 it is.
        stride_in_1x1: see `ResidualBlock`.
        synchronized: batch statistics over all replicas.
    """

    def __init__(
        self, num_classes: int, spec, stride_in_1x1: bool = False, synchronized: bool = False, **kwargs
    ):
        super().__init__(num_classes, **kwargs)
        self.spec = spec if isinstance(spec, ResNetSpec) else ResNetSpec(**spec)
        self.stride_in_1x1 = stride_in_1x1
        self.synchronized = synchronized
        self.blocks = resnet_stage(
            self.spec, 3, stride_in_1x1, synchronized=synchronized, dtype=self.dtype_policy
        )

    def build(self, input_shape):
        shape = (None, *input_shape[2:])
        for block in self.blocks:
            block.build(shape)
            shape = block.compute_output_shape(shape)
        self.build_outputs(shape[-1])

    def call(self, inputs, training=None):
        batch, count = ops.shape(inputs)[:2]
        x = ops.reshape(inputs, (batch * count, *inputs.shape[2:]))
        x = ops.mean(call_in_sequence(self.blocks, x, training), axis=(1, 2))
        return self.predicted(ops.reshape(x, (batch, count, x.shape[-1])))

    def get_config(self):
        return {
            **super().get_config(),
            "spec": asdict(self.spec),
            "stride_in_1x1": self.stride_in_1x1,
            "synchronized": self.synchronized,
        }


class BoxRules:
    """From proposals and what a head says of them to boxes of classes, and to the losses.

    Args:
        samples: proposals of a picture that the losses look at.
    """

    def __init__(self, samples: int = 512):
        self.samples = samples
        self.coder = BoxCoder((10.0, 10.0, 5.0, 5.0))
        self.matcher = Matcher(high=0.5, low=0.5)

    def decoded(self, logits, deltas, proposals, valid):
        """`(boxes [B, R, K, 4], scores [B, R, K])`, without the background; scores of nothing are 0."""
        scores = ops.softmax(logits, axis=-1)[..., BACKGROUND + 1 :]
        boxes = self.coder.decode(deltas[:, :, BACKGROUND + 1 :], proposals[:, :, None])
        return boxes, ops.where(valid[..., None], scores, 0.0)

    def sampled(self, proposals, valid, truth: Truth, uniform: Callable) -> dict:
        """A random choice of proposals with what they should give.

        True boxes are proposals, too, so that there are positives from the first step on.

        Returns:
            `{boxes [B, S, 4], chosen [B, S], classes [B, S], deltas [B, S, 4]}` with S = `samples`, or all
            proposals where they are fewer; `chosen` is False where a picture has fewer still.
        """
        proposals = ops.concatenate([proposals, truth.boxes], axis=1)
        usable = ops.logical_and(truth.present, ops.logical_not(truth.crowd))
        if truth.unfit is not None:
            usable = ops.logical_and(usable, ops.logical_not(truth.unfit))
        valid = ops.concatenate([valid, usable], axis=1)
        index, labels = truth.matched_by(self.matcher, proposals)
        labels = ops.where(valid, labels, IGNORED)
        chosen = sample(labels, self.samples, POSITIVE_SHARE, uniform)
        # Those that are chosen to the front; the list is as long in every picture, and no longer than it can
        # be: features of 512 boxes are gigabytes.
        first, places = ops.top_k(ops.cast(chosen, "int32"), at_most(self.samples, ops.shape(proposals)[1]))
        boxes, index = geometry.rows(proposals, places), geometry.rows(index, places)
        positive = geometry.rows(labels, places) == POSITIVE
        classes = geometry.rows(truth.classes, index) + 1
        deltas = self.coder.encode(geometry.rows(truth.boxes, index), boxes)
        found = {
            "boxes": boxes,
            "chosen": first > 0,
            "classes": ops.where(positive, classes, BACKGROUND),
            "deltas": deltas,
        }
        return {name: ops.stop_gradient(value) for name, value in found.items()}

    def losses(self, logits, deltas, sampled: dict) -> dict:
        """`{class_loss, box_loss}`, `[B]` each; `logits` and `deltas` are those of the sampled boxes."""
        classes = sampled["classes"]
        own = ops.take_along_axis(deltas, classes[:, :, None, None], axis=2)[:, :, 0]
        distance = smooth_l1(sampled["deltas"], own, _BETA)
        positive = ops.cast(classes > BACKGROUND, "float32")
        return {
            "class_loss": mean_over(cross_entropy(classes, logits), sampled["chosen"]),
            "box_loss": mean_over(distance * positive, sampled["chosen"]),
        }
