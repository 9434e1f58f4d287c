"""The same steps of a detector on 1 and on 2 replicas; prints what they did as JSON."""

import json
import sys

import keras
import numpy as np
import tensorflow as tf
from detector_batches import detector_batch
from tiny_detectors import tiny_detector

from p2net_tf.detection.card import DetectorCard
from p2net_tf.training import optimizers
from p2net_tf.training.detection_model import DetectionModel
from p2net_tf.training.strategy import one_host_strategy

STEPS = 3


def trained(name: str, strategy: tf.distribute.Strategy) -> dict:
    """Logs, weights and how far they moved."""
    keras.utils.set_random_seed(1)
    with strategy.scope():
        network = tiny_detector(name, synchronized_batch_norm=True)
        model = DetectionModel(network, DetectorCard(), weight_decay=0.01)
        # Keras' own optimizers add up no shares under `strategy.run`; these do.
        model.compile(optimizers.SGD(0.02, momentum=0.9))
        model.optimizer.build(model.trainable_variables)
    before = flat(network.trainable_weights)
    replicas = strategy.num_replicas_in_sync

    @tf.function
    def step(data):
        strategy.run(model.train_step, (data,))

    for number in range(STEPS):
        images, truth = detector_batch(4, seed=number)
        dataset = tf.data.Dataset.from_tensor_slices((images, truth)).batch(4)
        if replicas > 1:
            dataset = strategy.experimental_distribute_dataset(dataset)
        step(next(iter(dataset)))
    after = flat(network.trainable_weights)
    logs = {name: float(value) for name, value in model.get_metrics_result().items()}
    return {"logs": logs, "weights": after.tolist(), "moved": float(np.abs(after - before).max())}


def flat(variables) -> np.ndarray:
    return np.concatenate([np.ravel(variable.numpy()) for variable in variables])


if __name__ == "__main__":
    several = one_host_strategy(2)
    print(json.dumps([trained(sys.argv[1], strategy) for strategy in (one_host_strategy(1), several)]))
