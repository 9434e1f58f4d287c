"""What Keras users give to `compile` and `fit`, on 1 and 2 replicas: what `test_keras_habits.py` compares.

Devices are fixed when TensorFlow starts, so this is a program: it prints JSON, case -> replicas -> numbers.
"""

import json
import sys

import keras
import numpy as np
import tensorflow as tf

from p2net_tf.layers import BatchNormalization
from p2net_tf.losses import HeatmapLoss
from p2net_tf.training.pose_model import PoseModel

SIZE, KEYPOINTS, PEOPLE, BATCH = 16, 3, 8, 4


def per_person(keypoints, heatmaps):
    return tf.reduce_mean(tf.square(heatmaps - 1.0), axis=(1, 2, 3)) * keypoints[:, 0, 0]


def scalar(keypoints, heatmaps):
    return tf.reduce_mean(per_person(keypoints, heatmaps))


RANDOM = np.random.default_rng(0)
CROPS = RANDOM.uniform(size=(PEOPLE, SIZE, SIZE, 3)).astype("float32")
KEYPOINT_VALUES = RANDOM.uniform(1, SIZE - 1, (PEOPLE, KEYPOINTS, 3)).astype("float32")
OF_PERSONS = np.float32([0, 1, 2, 3, 0.5, 0, 0, 4])
OF_KEYPOINTS = RANDOM.uniform(0, 2, (PEOPLE, KEYPOINTS)).astype("float32")

CASES = {
    "plain": ({}, None, {}),
    "weights of persons": ({}, OF_PERSONS, {}),
    "weights of keypoints": ({}, OF_KEYPOINTS, {}),
    "a loss of persons": ({"loss": per_person, "loss_weights": {"heatmaps": 2.0}}, OF_PERSONS, {}),
    "a scalar loss": ({"loss": {"heatmaps": scalar}}, None, {}),
    "a summed loss": ({"loss": {"heatmaps": HeatmapLoss(reduction="sum")}}, None, {}),
    "metrics": ({"metrics": [per_person], "weighted_metrics": [per_person]}, OF_PERSONS, {}),
    "a kernel regularizer": ({}, None, {"kernel_regularizer": "l2"}),
    "an activity regularizer": ({}, None, {"activity_regularizer": "l2"}),
}
"""Name -> (arguments of `compile`, weights, arguments of the convolutions)."""


def network(**options) -> keras.Model:
    """The normalization stands between layers with losses of their own: there the replicas take turns."""
    crops = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Conv2D(4, 3, strides=4, padding="same", **options)(crops)
    x = BatchNormalization(synchronized=True)(x)
    heads = {name: keras.layers.Conv2D(KEYPOINTS, 1, **options)(x) for name in ("parallel_4", "heatmaps")}
    return keras.Model(crops, heads)


def trained(case: str, strategy: tf.distribute.Strategy) -> dict:
    arguments, weights, options = CASES[case]
    keras.utils.set_random_seed(1)
    with strategy.scope():
        model = PoseModel(network(**options), ohkm=2, weight_decay=1e-2)
        model.compile(keras.optimizers.SGD(0.05), **arguments)
    parts = (CROPS, KEYPOINT_VALUES) if weights is None else (CROPS, KEYPOINT_VALUES, weights)
    people = tf.data.Dataset.from_tensor_slices(parts).batch(BATCH, drop_remainder=True)
    logs = model.fit(people, epochs=2, validation_data=people, verbose=0).history
    flat = np.concatenate([np.ravel(weight.numpy()) for weight in model.network.weights])
    return {"logs": logs, "weights": flat.astype("float64").tolist()}


def main(*cases: str) -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategies = {1: tf.distribute.get_strategy(), 2: tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])}
    found = {
        case: {replicas: trained(case, strategy) for replicas, strategy in strategies.items()}
        for case in cases or CASES
    }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
