"""What is measured where no data are needed: people that are nothing but noise, and the facts of a network.

No cost of a network depends on what is in a picture.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from p2net_tf.config.experiment import ExperimentConfig
from p2net_tf.models.summary import summarize


def noise_people(people: int, keypoints: int, size: tuple[int, int]) -> tuple[tf.Tensor, tf.Tensor]:
    """`(crops [B, H, W, 3], keypoints [B, K, 3])`, all keypoints visible."""
    random, (height, width) = np.random.default_rng(people), size
    crops = random.uniform(0, 1, (people, height, width, 3))
    places = random.uniform(0, (width, height, 0), (people, keypoints, 3)) + (0, 0, 2)
    return tf.constant(crops, tf.float32), tf.constant(places, tf.float32)


def describe_network(config: ExperimentConfig, network) -> dict:
    """The `model` section, and the size of what it builds."""
    size = summarize(network)
    facts = {name: size[name] for name in ("parameters", "multiply_adds")}
    return {**config.model.model_dump(mode="json"), **facts}
