"""Faster R-CNN on a feature pyramid (Ren et al., NIPS 2015; Lin et al., CVPR 2017), also of DetNet's."""

from __future__ import annotations

import keras

from p2net_tf.detection.networks.anchors import Anchors
from p2net_tf.detection.networks.backbones import build_backbone
from p2net_tf.detection.networks.box_head import TwoLayerHead
from p2net_tf.detection.networks.two_stage import TwoStageDetector
from p2net_tf.layers import FeaturePyramid

ANCHOR_SIZES = (32, 64, 128, 256, 512)


@keras.saving.register_keras_serializable("p2net_tf")
class FasterRCNN(TwoStageDetector):
    """ResNet or DetNet, feature pyramid, region proposals, RoIAlign and a head of two dense layers.

    With a ResNet the pyramid has P2 to P6 at strides 4 to 64, with a DetNet P2 to P6 at strides 4, 8, 16, 16,
    16. Anchors of one size live on each; proposals are looked at on P2 to P5, or on DetNet's P2 to P4, of
    which the others keep the resolution.

    Args:
        backbone: a name of `p2net_tf.detection.networks.backbones`.
        pyramid_width: channels of the pyramid.
        head_width: of the two dense layers.
        small_width, small_blocks: of the small backbones.
        anchor_sizes: in pixels, of the five maps.
        stride_in_1x1, anchor_offset, rounded_anchors, aligned: what published weights were trained with; see
            `ResidualBlock`, `Anchors` and `roi_align`.
        options: see `TwoStageDetector` and `DetectionNetwork`.
    """

    def __init__(
        self,
        backbone: str = "resnet50",
        pyramid_width: int = 256,
        head_width: int = 1024,
        small_width: int = 32,
        small_blocks: int = 2,
        anchor_sizes=ANCHOR_SIZES,
        stride_in_1x1: bool = False,
        anchor_offset: float = 0.5,
        rounded_anchors: bool = False,
        **options,
    ):
        super().__init__(**options)
        self._arguments |= {
            "backbone": backbone,
            "pyramid_width": pyramid_width,
            "head_width": head_width,
            "small_width": small_width,
            "small_blocks": small_blocks,
            "anchor_sizes": list(anchor_sizes),
            "stride_in_1x1": stride_in_1x1,
            "anchor_offset": anchor_offset,
            "rounded_anchors": rounded_anchors,
        }
        self.backbone, strides, self._backbone_channels = build_backbone(
            backbone, small_width, small_blocks, stride_in_1x1, **self.layer_options
        )
        dtype = self.layer_options["dtype"]
        top = "pool" if len(strides) < len(anchor_sizes) else None
        self.pyramid = FeaturePyramid(pyramid_width, strides, top, dtype=dtype, name="pyramid")
        self.add_stages(
            channels=pyramid_width,
            anchors=Anchors(
                self.pyramid.output_strides,
                tuple((size,) for size in anchor_sizes),
                offset=anchor_offset,
                rounded=rounded_anchors,
            ),
            pooled=7,
            pooled_strides=tuple(dict.fromkeys(strides)),
            head=TwoLayerHead(self.num_classes, head_width, dtype=dtype, name="head"),
        )
        self.build((None, None, None, 3))

    def build(self, input_shape):
        self.backbone.build((None, None, None, 3))
        self.pyramid.build([(None, None, None, channels) for channels in self._backbone_channels])
        self.build_stages()

    def features(self, images, training: bool) -> list:
        return self.pyramid(self.backbone(images, training=training))
