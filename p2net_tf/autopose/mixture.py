"""Equation 6 to the letter: stage after stage, a crop becomes the average of what all operations make of it.

A sub-policy is a row of N stages, and a stage mixes O candidate operations o with weights p = softmax(alpha),
probabilities of application P and magnitude levels M:

    x  ->  sum over o of p_o [P_o o(x; M_o) + (1 - P_o) x]

An average of images that lie differently has an average for its label: each candidate moves keypoints of its
own, and the target is the same average of the candidates' heatmaps and of their visibilities. After N stages
a keypoint may have come by any sequence of geometric operations, `(G + 1) ** N` *hypotheses* (G of the O
operations move keypoints; all that leave them where they are count as one).

Everything is differentiable in alpha, P and M at second order (`p2net_tf.autopose.hypergradient`), but
Equalize and Solarize, whose gradient is a stand-in by design (`p2net_tf.augment.operations`).
"""

from __future__ import annotations

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from p2net_tf.augment import stateless_random
from p2net_tf.augment.operations import LEVELS, OPERATIONS
from p2net_tf.augment.policies import Policy
from p2net_tf.autopose.space import SearchSpace, discretize
from p2net_tf.keypoints import heatmaps
from p2net_tf.losses.heatmap import HeatmapLoss, mean_loss
from p2net_tf.models.pose_network import HEATMAPS_OUTPUT

_OFF_CENTER = (0.4, 1.2)
"""Size of the first magnitude logits: levels 2.3 to 4.0 and 6.0 to 7.7."""
_ALPHA_NOISE = 1e-3
"""Standard deviation of the first alpha: so little that all operations weigh the same, but none ties."""
_SUB_POLICY_DRAW = 1 << 20
"""Apart from the draws of the stages, which count from 0; where `augment.policy` draws its sub-policy too."""


class Hypotheses(NamedTuple):
    """Where the keypoints of a mixture may be.

    Attributes:
        keypoints: `[B, S, K, 3]` in crop pixels, one set per sequence of geometric operations.
        weights: `[B, S]`, the sequence's share of the image; they sum to 1.
    """

    keypoints: tf.Tensor
    weights: tf.Tensor


class Mixture:
    """K sub-policies of N stages of mixed operations.

    Args:
        space: what is searched, K sub-policies of N stages and O candidates.
        seed: of the initial values.
        dtype: of the variables and of the crops.

    Attributes:
        alpha: `[K, N, O]` logits of the mixing weights, almost 0 at first.
        probability: `[K, N, O]` logits of the probabilities of application, 0 at first.
        magnitude: `[K, N, O]`; the level is `10 sigmoid(magnitude)`. The first levels lie around the middle,
            not on it: level 5 of Brightness and Sharpness changes nothing, so alpha would see no difference
            between them and Identity.
    """

    def __init__(self, space: SearchSpace, seed: int, dtype="float32"):
        self.space = space
        self.dtype = tf.as_dtype(dtype)
        rng = np.random.default_rng(seed)
        offsets = rng.uniform(*_OFF_CENTER, space.shape) * rng.choice([-1, 1], space.shape)
        self.alpha = self._variable("alpha", rng.normal(0, _ALPHA_NOISE, space.shape))
        self.probability = self._variable("probability", np.zeros(space.shape))
        self.magnitude = self._variable("magnitude", offsets)

    def _variable(self, name: str, values: np.ndarray) -> keras.Variable:
        return keras.Variable(values, dtype=self.dtype.name, name=name)

    @property
    def variables(self) -> list[keras.Variable]:
        return [self.alpha, self.probability, self.magnitude]

    def weights(self) -> tf.Tensor:
        """`[K, N, O]` mixing weights; they sum to 1 over the operations."""
        return tf.nn.softmax(self.alpha.value, axis=-1)

    def probabilities(self) -> tf.Tensor:
        """`[K, N, O]` probabilities of application, 0..1."""
        return tf.sigmoid(self.probability.value)

    def levels(self) -> tf.Tensor:
        """`[K, N, O]` magnitude levels, 0..10."""
        return LEVELS * tf.sigmoid(self.magnitude.value)

    def mix(self, crops, keypoints, seed) -> tuple[tf.Tensor, Hypotheses]:
        """Every sample draws one sub-policy and goes through its stages.

        A sample's operations of one stage share its draws: their sign, and where Cutout cuts. They are those
        of `augment.operations.apply_chain` with the same seed.

        Args:
            crops: `[B, H, W, 3]` float, 0..1.
            keypoints: `[B, K, 3]` in crop pixels.
            seed: `[2]` integers for the batch, or `[B, 2]`, one per sample.
        """
        crops = tf.cast(crops, self.dtype)
        batch = tf.shape(crops)[0]
        seeds = stateless_random.sample_seeds(seed, batch)
        chosen = self._draw(seeds)
        weights, probabilities, levels = (
            tf.gather(values, chosen) for values in (self.weights(), self.probabilities(), self.levels())
        )
        hypotheses = Hypotheses(tf.cast(keypoints, self.dtype)[:, None], tf.ones([batch, 1], self.dtype))
        for stage in range(self.space.stages):
            applied = weights[:, stage] * probabilities[:, stage]
            left = tf.reduce_sum(weights[:, stage] * (1.0 - probabilities[:, stage]), axis=-1)
            crops, hypotheses = self._stage(
                crops, hypotheses, applied, left, levels[:, stage], stateless_random.fold_in(seeds, stage)
            )
        return crops, hypotheses

    def _draw(self, seeds) -> tf.Tensor:
        """`[B]` sub-policies."""
        numbers = stateless_random.uniform(stateless_random.fold_in(seeds, _SUB_POLICY_DRAW), 1)
        return tf.cast(tf.reshape(numbers, [-1]) * self.space.sub_policies, tf.int32)

    def _stage(self, crops, hypotheses, applied, left, levels, seeds):
        """One stage; `applied [B, O]` weigh the operations, `left [B]` the crop as it is."""
        batch, sets, number = (tf.shape(hypotheses.keypoints)[0], *hypotheses.keypoints.shape[1:3])
        # An operation moves all hypotheses of a sample alike, so they may stand in one row.
        keypoints = tf.reshape(hypotheses.keypoints, [batch, sets * number, 3])
        mixed, stayed = crops * _per_image(left), left
        moved, shares = [], []
        for index, name in enumerate(self.space.operations):
            share = applied[:, index]
            image, places = OPERATIONS[name](crops, keypoints, levels[:, index], seeds, differentiable=True)
            mixed += image * _per_image(share)
            if OPERATIONS[name].geometric:
                moved.append(places)
                shares.append(share)
            else:
                stayed += share
        sets_now = sets * (1 + len(moved))
        spread = tf.stack([stayed, *shares], axis=1)
        every = tf.reshape(tf.stack([keypoints, *moved], axis=1), [batch, sets_now, number, 3])
        weights = tf.expand_dims(spread, 2) * tf.expand_dims(hypotheses.weights, 1)
        return mixed, Hypotheses(every, tf.reshape(weights, [batch, sets_now]))

    def loss(
        self,
        outputs: dict,
        hypotheses: Hypotheses,
        intermediate: HeatmapLoss,
        final: HeatmapLoss,
        intermediate_weight: float = 1.0,
        final_weight: float = 1.0,
    ) -> tf.Tensor:
        """What `PoseModel` minimises, without its weight decay, on the soft targets of a mixture.

        Args:
            outputs: heatmaps `[B, h, w, K]` by name, as P2Net gives them.
            hypotheses: of `mix`.
            intermediate, final: losses of the ParallelNet's heatmaps, averaged over them, and of `heatmaps`.

        Raises:
            ValueError: the two losses draw different targets.
        """
        if (intermediate.sigma, intermediate.stride) != (final.sigma, final.stride):
            raise ValueError("both losses must draw the same targets: give them one sigma and one stride")
        size = tuple(outputs[HEATMAPS_OUTPUT].shape[1:3])
        targets = soft_targets(hypotheses, size, final.sigma, final.stride)
        losses = [intermediate(targets, maps) for name, maps in outputs.items() if name != HEATMAPS_OUTPUT]
        final_loss = final(targets, outputs[HEATMAPS_OUTPUT])
        return intermediate_weight * mean_loss(losses, like=final_loss) + final_weight * final_loss

    def magnitudes(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Levels and their standard deviations, each `[K, N, O]`; a mixture has one level, so these are 0."""
        return self.levels(), tf.zeros_like(self.levels())

    def tables(self) -> tuple[tf.Tensor, ...]:
        """Weights, probabilities, levels and their standard deviations, each `[K, N, O]`."""
        return (self.weights(), self.probabilities(), *self.magnitudes())

    def discretize(self, name: str = "learned", provenance: dict | None = None) -> Policy:
        """The most likely operation of every stage, with its probability and level as learned."""
        return discretize(self.space, *self.tables(), name, provenance)


def soft_targets(hypotheses: Hypotheses, heatmap_size: tuple[int, int], sigma: float, stride: int):
    """The hypotheses' heatmaps and labels, averaged: what `losses.HeatmapLoss` takes for `y_true`.

    Returns:
        `(heatmaps [B, h, w, K], labels [B, K])`; a label is the weight of the hypotheses in which the
        keypoint is visible.
    """
    batch, sets, number = (tf.shape(hypotheses.keypoints)[0], *hypotheses.keypoints.shape[1:3])
    height, width = heatmap_size
    x, y, visibility = tf.unstack(tf.reshape(hypotheses.keypoints, [-1, number, 3]), axis=-1)
    # A Gaussian is the product of its two profiles, and a profile is a heatmap of one column or row with the
    # keypoint at its centre. No [B, S, h, w, K] has to exist.
    center = tf.fill(tf.shape(x), tf.constant(stride / 2, x.dtype))
    rows = heatmaps.encode(tf.stack([center, y, visibility], axis=-1), (height, 1), sigma, stride)
    columns = heatmaps.encode(tf.stack([x, center, visibility], axis=-1), (1, width), sigma, stride)
    rows = tf.reshape(rows, [batch, sets, height, number])
    columns = tf.reshape(columns, [batch, sets, width, number])
    weights = tf.cast(hypotheses.weights, rows.dtype)
    maps = tf.einsum("bs,bshk,bswk->bhwk", weights, rows, columns)
    visible = tf.cast(hypotheses.keypoints[..., 2] > 0, weights.dtype)
    return maps, tf.einsum("bs,bsk->bk", weights, visible)


def _per_image(values) -> tf.Tensor:
    return tf.reshape(values, [-1, 1, 1, 1])
