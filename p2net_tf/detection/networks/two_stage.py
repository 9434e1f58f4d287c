"""The two stages of Faster R-CNN (Ren et al., NIPS 2015), around any features."""

from __future__ import annotations

from collections.abc import Callable

import keras
from keras import ops

from p2net_tf.detection.networks.anchors import Anchors
from p2net_tf.detection.networks.box_head import BoxHead, BoxRules
from p2net_tf.detection.networks.detection_network import DECODE_SCOPE, DetectionNetwork, Truth
from p2net_tf.detection.networks.region_proposals import ProposalRules, RegionProposals
from p2net_tf.detection.networks.roi_align import roi_align


class TwoStageDetector(DetectionNetwork):
    """Proposes boxes by a small network on all features, and looks at the best of them again.

    Sub-classes give `features` and call `add_stages`.

    Args:
        proposals: boxes that are looked at again.
        training_candidates: anchors of each map that suppression looks at in training; at inference as many
            as `proposals`.
        box_samples: proposals of a picture that are looked at again in training.
        aligned: see `roi_align`.
        options: see `DetectionNetwork`.
    """

    loss_names = ("objectness_loss", "proposal_box_loss", "class_loss", "box_loss")

    def __init__(
        self,
        proposals: int = 1000,
        training_candidates: int = 2000,
        box_samples: int = 512,
        aligned: bool = True,
        **options,
    ):
        super().__init__(**{"candidates": 2048, **options})
        self.proposals = proposals
        self.training_candidates = training_candidates
        self.box_samples = box_samples
        self.aligned = aligned
        self._arguments |= {
            "proposals": proposals,
            "training_candidates": training_candidates,
            "box_samples": box_samples,
            "aligned": aligned,
        }

    def add_stages(
        self, channels: int, anchors: Anchors, pooled: int, pooled_strides: tuple[int, ...], head: BoxHead
    ):
        """What comes behind the features.

        Args:
            channels: of the features.
            pooled: positions of a proposal along each axis, for `head`.
            pooled_strides: of the first maps of `features`, which proposals are looked at on.
        """
        self.channels, self.pooled, self.pooled_strides = channels, pooled, pooled_strides
        self.rpn_rules, self.box_rules = ProposalRules(anchors), BoxRules(self.box_samples)
        dtype = self.layer_options["dtype"]
        self.rpn = RegionProposals(channels, anchors.per_position, dtype=dtype, name="rpn")
        self.head = head

    def features(self, images, training: bool) -> list:
        """Maps `[B, h, w, C]` of normalized `images`, finest first."""
        raise NotImplementedError

    def build_stages(self):
        maps = [(None, None, None, self.channels)] * len(self.rpn_rules.anchors.strides)
        self.rpn.build(maps)
        self.head.build((None, None, self.pooled, self.pooled, self.channels))
        self.built = True

    def call(self, images, sizes=None, training=None):
        sizes = self._sizes(images, sizes)
        maps = self.features(self.normalize(images), self._norm_training(training))
        proposals, valid = self._proposals(maps, sizes, self.proposals)
        logits, deltas = self._second_stage(maps, proposals, training)
        with keras.name_scope(DECODE_SCOPE):
            boxes, scores = self.box_rules.decoded(logits, deltas, proposals, valid)
            return self.detections(boxes, scores, sizes)

    def losses_of(self, images, truth: Truth, sizes=None, uniform: Callable | None = None, training=True):
        uniform = uniform or self._uniform
        sizes = self._sizes(images, sizes)
        maps = self.training_features(self.normalize(images), self._norm_training(training))
        truth, sizes = self.training_truth(truth), self.training_sizes(sizes)
        anchors = self.rpn_rules.of_maps(maps)
        objectness, deltas = self.rpn(maps)
        losses = self.rpn_rules.losses(anchors, objectness, deltas, truth, uniform)
        proposals, valid = self.rpn_rules.proposals(
            anchors, objectness, deltas, sizes, self.training_candidates, self.proposals
        )
        sampled = self.box_rules.sampled(proposals, valid, truth, uniform)
        logits, box_deltas = self._second_stage(maps, sampled["boxes"], training)
        return {**losses, **self.box_rules.losses(logits, box_deltas, sampled)}

    def training_features(self, images, training: bool) -> list:
        return self.features(images, training)

    def training_truth(self, truth: Truth) -> Truth:
        return truth

    def training_sizes(self, sizes):
        return sizes

    def _proposals(self, maps, sizes, count: int):
        objectness, deltas = self.rpn(maps)
        anchors = self.rpn_rules.of_maps(maps)
        return self.rpn_rules.proposals(anchors, objectness, deltas, sizes, count, count)

    def _second_stage(self, maps, boxes, training):
        pooled = roi_align(
            maps[: len(self.pooled_strides)],
            ops.stop_gradient(boxes),
            self.pooled_strides,
            self.pooled,
            aligned=self.aligned,
        )
        return self.head(pooled, training=self._norm_training(training))
