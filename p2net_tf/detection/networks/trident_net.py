"""TridentNet (Li et al., ICCV 2019): Faster R-CNN on C4, one branch for each size of objects."""

from __future__ import annotations

from types import SimpleNamespace

import keras
from keras import ops

from p2net_tf.detection.networks import geometry
from p2net_tf.detection.networks.anchors import Anchors
from p2net_tf.detection.networks.box_head import StageHead
from p2net_tf.detection.networks.detection_network import Truth
from p2net_tf.detection.networks.two_stage import TwoStageDetector
from p2net_tf.models.backbones import RESNETS, ResNetSpec
from p2net_tf.models.trident import DILATIONS, TridentResNet

VALID_RANGES = ((0.0, 90.0), (30.0, 160.0), (90.0, 1e5))
"""Square roots of the areas, in pixels, of what each branch answers for: as published, for pictures
whose shorter side has 800."""
STRIDE = 16


@keras.saving.register_keras_serializable("p2net_tf")
class TridentNet(TwoStageDetector):
    """ResNet to C4 with trident blocks at its end, region proposals, RoIAlign and C5 as the head.

    In training the three branches see the same pictures, and each learns from the objects of its range alone;
    weights are shared. At inference the middle branch works alone, at the cost of a plain network.

    Args:
        backbone: a ResNet of bottlenecks.
        trident_blocks: at the end of C4; 0: the plain network, with as many parameters.
        small_width: where it is given, channels at stride 4, a quarter of it inside of the bottlenecks, of a
            ResNet of two blocks a stage in place of `backbone`.
        valid_ranges: the least and the largest root of the area, in pixels, of the objects that each of the
            three branches learns from. The middle one works alone at inference: where pictures are not of
            the published size, or where it must know every size, say so here.
        anchor_sizes: in pixels.
        stride_in_1x1: see `ResidualBlock`.
        options: see `TwoStageDetector` and `DetectionNetwork`.
    """

    stride = STRIDE

    def __init__(
        self,
        backbone: str = "resnet101",
        trident_blocks: int = 10,
        small_width: int | None = None,
        valid_ranges=VALID_RANGES,
        anchor_sizes=(32, 64, 128, 256, 512),
        stride_in_1x1: bool = False,
        **options,
    ):
        super().__init__(**options)
        self._arguments |= {
            "backbone": backbone,
            "trident_blocks": trident_blocks,
            "small_width": small_width,
            "valid_ranges": [list(valid) for valid in valid_ranges],
            "anchor_sizes": list(anchor_sizes),
            "stride_in_1x1": stride_in_1x1,
        }
        self.trident_blocks = trident_blocks
        self.valid_ranges = valid_ranges
        if len(valid_ranges) != len(DILATIONS):
            raise ValueError(
                f"valid_ranges has {len(valid_ranges)} pairs; there are {len(DILATIONS)} branches"
            )
        spec = _small(small_width) if small_width else RESNETS[backbone]
        self.backbone = TridentResNet(
            spec, trident_blocks, stride_in_1x1, name=backbone, **self.layer_options
        )
        self.add_stages(
            channels=spec.channels[2],
            anchors=Anchors((STRIDE,), (tuple(anchor_sizes),)),
            pooled=14,
            pooled_strides=(STRIDE,),
            head=StageHead(self.num_classes, spec, stride_in_1x1, name="head", **self.layer_options),
        )
        self.build((None, None, None, 3))

    @property
    def resnet(self) -> SimpleNamespace:
        """The `stem` and the four `stages` of the ResNet that backbone and head are parts of."""
        return SimpleNamespace(stem=self.backbone.stem, stages=[*self.backbone.stages, self.head.blocks])

    def build(self, input_shape):
        self.backbone.build((None, None, None, 3))
        self.build_stages()

    def features(self, images, training: bool) -> list:
        return [self.backbone(images, training=training)]

    def training_features(self, images, training: bool) -> list:
        return [self.backbone(images, training=training, branches=bool(self.trident_blocks))]

    def training_truth(self, truth: Truth) -> Truth:
        """The truth of each branch, one behind the other."""
        if not self.trident_blocks:
            return truth
        root = ops.sqrt(ops.maximum(geometry.area(truth.boxes), 0.0))
        unfit = [ops.logical_or(root < low, root > high) for low, high in self.valid_ranges]
        times = len(DILATIONS)
        return Truth(
            ops.concatenate([truth.boxes] * times, axis=0),
            ops.concatenate([truth.classes] * times, axis=0),
            ops.concatenate([truth.crowd] * times, axis=0),
            ops.concatenate(unfit, axis=0),
        )

    def training_sizes(self, sizes):
        return ops.concatenate([sizes] * len(DILATIONS), axis=0) if self.trident_blocks else sizes

    def losses_of(self, images, truth: Truth, **options):
        losses = super().losses_of(images, truth, **options)
        if not self.trident_blocks:
            return losses
        return {
            name: ops.mean(ops.reshape(loss, (len(DILATIONS), -1)), axis=0) for name, loss in losses.items()
        }


def _small(width: int) -> ResNetSpec:
    inner = width // 4
    return ResNetSpec((2, 2, 3, 2), (inner, 2 * inner, 4 * inner, 4 * inner))
