"""The paper's test recipe (section 4.1): crop, flip pass, Gaussian filter, quarter offset, pose score."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from p2net_tf.data.lost_pictures import naming_lost_pictures
from p2net_tf.data.pipeline import evaluation_dataset
from p2net_tf.data.samples import Samples
from p2net_tf.inference.card import InferenceCard
from p2net_tf.inference.settings import TestRecipe
from p2net_tf.keypoints import geometry, heatmaps
from p2net_tf.keypoints.alignment import ALIGNMENTS
from p2net_tf.models.pose_network import HEATMAPS_OUTPUT
from p2net_tf.utils.console import track

DECODE_SCOPE = "estimate_keypoints"
"""Name scope of what turns heatmaps into keypoints."""


@dataclass(frozen=True)
class Predictions:
    """Poses of N boxes.

    Attributes:
        keypoints: `[N, K, 2]` x, y in image pixels.
        keypoint_scores: `[N, K]` heights of the heatmaps.
        scores: `[N]` pose scores.
    """

    keypoints: np.ndarray
    keypoint_scores: np.ndarray
    scores: np.ndarray

    def take(self, rows) -> Predictions:
        return Predictions(self.keypoints[rows], self.keypoint_scores[rows], self.scores[rows])

    @property
    def scored_keypoints(self) -> np.ndarray:
        """`[N, K, 3]` x, y, score."""
        return np.concatenate([self.keypoints, self.keypoint_scores[..., None]], axis=-1)


def predict(network: keras.Model, samples: Samples, card: InferenceCard) -> Predictions:
    """Poses of `samples`, in their order; only their images and boxes are looked at.

    Args:
        network: `[B, H, W, 3] ->` dict of heatmaps with `heatmaps`.
        card: how it is to be asked.
    """
    step = make_predict_step(network, card)
    batch_size = card.recipe.batch_size
    batches = evaluation_dataset(
        samples, card.input_size, batch_size, card.box_padding, ALIGNMENTS[card.alignment]
    )
    parts = []
    with naming_lost_pictures(samples):
        for batch in track(batches, "predicting", total=-(-len(samples) // batch_size)):
            keypoints, keypoint_scores = step(batch["crops"], batch["matrices"])
            parts.append((keypoints.numpy(), keypoint_scores.numpy()))
    keypoints, keypoint_scores = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Predictions(keypoints, keypoint_scores, pose_scores(samples.scores, keypoint_scores, card.recipe))


def make_predict_step(network: keras.Model, card: InferenceCard):
    """A graph function `(crops [B, H, W, 3], matrices [B, 2, 3]) -> (keypoints in image pixels, scores)`.

    It is traced once: the last batch, which is smaller, does not wait for a graph of its own.
    """
    of_crops = tf.TensorSpec([None, *card.input_size, 3], tf.float32)

    @tf.function(input_signature=[of_crops, tf.TensorSpec([None, 2, 3], tf.float32)], autograph=False)
    def step(crops, matrices):
        keypoints, scores = estimate_keypoints(network, crops, card)
        return geometry.transform_points(keypoints, geometry.invert_affine(matrices)), scores

    return step


def make_heatmap_step(network: keras.Model, card: InferenceCard):
    """A graph function `crops [B, H, W, 3] -> [B, H / 4, W / 4, K]`: the heatmaps of the keypoints.

    They are averaged over the flip pass and filtered, as the recipe says, so the highest value of each is the
    score of its keypoint.
    """

    @tf.function(input_signature=[tf.TensorSpec([None, *card.input_size, 3], tf.float32)], autograph=False)
    def step(crops):
        maps = _averaged(_heatmaps(network, crops, card), card)
        return heatmaps.gaussian_filter(maps, card.recipe.filter_sigma)

    return step


def estimate_keypoints(network: keras.Model, crops, card: InferenceCard):
    """The recipe from crops `[B, H, W, 3]` to `(keypoints [B, K, 2] in crop pixels, scores [B, K])`."""
    maps = _heatmaps(network, crops, card)
    # The name tells exporters what is network and what comes after it.
    with tf.name_scope(DECODE_SCOPE):
        maps = _averaged(maps, card)
        return ALIGNMENTS[card.alignment].decode(maps, card.recipe.decode, card.recipe.filter_sigma)


def _heatmaps(network: keras.Model, crops, card: InferenceCard):
    """`[B, h, w, K]`, or `[2 * B, h, w, K]`, those of the mirrored crops behind, with a flip pass."""
    if card.recipe.flip_test:
        # One pass over both: an exported graph then holds the network once.
        crops = tf.concat([crops, tf.reverse(crops, axis=[2])], axis=0)
    return network(crops, training=False)[HEATMAPS_OUTPUT]


def _averaged(maps, card: InferenceCard):
    """`[B, h, w, K]` of what `_heatmaps` gives."""
    if not card.recipe.flip_test:
        return maps
    maps, mirrored = tf.split(maps, 2)
    return ALIGNMENTS[card.alignment].average_mirrored(maps, mirrored, card.skeleton.flip_permutation)


def pose_scores(box_scores, keypoint_scores, recipe: TestRecipe) -> np.ndarray:
    """`[N]` box score times the mean score of the keypoints above the threshold (all of them by default)."""
    return box_scores * np.asarray(mean_scores(keypoint_scores, recipe))


def mean_scores(keypoint_scores, recipe: TestRecipe):
    """`[N]` pose scores for boxes of score 1; also in a graph."""
    counted = ops.cast(keypoint_scores > recipe.keypoint_threshold, keypoint_scores.dtype)
    total = ops.sum(keypoint_scores * counted, axis=1)
    return total / ops.maximum(ops.sum(counted, axis=1), 1)
