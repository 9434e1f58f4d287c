"""The same updates on 1, 2 and 4 replicas; prints what they did to the weights as JSON.

A process of its own: logical devices are fixed when TensorFlow starts.
"""

import json
import sys

import keras
import numpy as np
import tensorflow as tf

from p2net_tf.training import optimizers
from p2net_tf.utils.compat import averages_of

SHARES = 4
"""Of a global batch: what each of four replicas adds to its gradient."""
# Keras rounds these numbers to float32, whatever the weights are; powers of two it cannot round.
_ADAM = {"beta_1": 1 - 2**-3, "beta_2": 1 - 2**-10, "use_ema": True}
CASES = {
    "sgd": {"momentum": 0.9},
    "sgd accumulating": {"momentum": 0.9, "gradient_accumulation_steps": 3},
    "rmsprop": {"rho": 1 - 2**-3, "epsilon": 2**-20},
    "adam": _ADAM,
    "adamw accumulating": {**_ADAM, "weight_decay": 0.125, "gradient_accumulation_steps": 3},
    "adam scaled": _ADAM,
    "sgd accumulating scaled": {"momentum": 0.9, "gradient_accumulation_steps": 3, "use_ema": True},
}
COMMON = {"learning_rate": 0.1, "global_clipnorm": 0.5, "ema_momentum": 0.75}
CLASSES = {"sgd": "SGD", "rmsprop": "RMSprop", "adam": "Adam", "adamw": "AdamW"}
OVERFLOWN, BATCHES = 2, 9
"""Batch whose last share is infinite where the loss is scaled, and how many batches there are."""


def start_values() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape) for shape in ((3, 4), (5,))]


def shares() -> list[np.ndarray]:
    """Per variable: the shares of the gradient `[BATCHES, SHARES, ...]`; lengths about the clip norm."""
    rng = np.random.default_rng(1)
    return [rng.normal(0, 0.1, (BATCHES, SHARES, *w.shape)) for w in start_values()]


def updated(case: str, strategy: tf.distribute.Strategy) -> dict:
    """Weights, averages and counts behind all batches."""
    scaled, replicas = case.endswith("scaled"), strategy.num_replicas_in_sync
    with strategy.scope():
        kernel, bias = start_values()
        # In float64: float32 rounds the bias correction of Adam's first steps to four digits.
        weights = [keras.Variable(kernel, dtype="float64", name="kernel")]
        weights += [keras.Variable(bias, dtype="float64", name="bias")]
        inner = optimizer = getattr(optimizers, CLASSES[case.split()[0]])(**COMMON, **CASES[case])
        if scaled:
            optimizer = optimizers.LossScaleOptimizer(inner, initial_scale=1024.0)
        optimizer.build(weights)

    @tf.function
    def step(given):
        def apply(gradients):
            scale = tf.cast(optimizer.scale_loss(tf.constant(1.0)), tf.float64)
            optimizer.apply_gradients([(g * scale, w) for g, w in zip(gradients, weights, strict=True)])

        strategy.run(apply, (given,))

    for batch in range(BATCHES):
        step(split([part[batch] for part in shares()], strategy, scaled and batch == OVERFLOWN))
    averages = [average for _, average in averages_of(inner)] if inner.use_ema else []
    return {
        "replicas": replicas,
        "weights": [w.numpy().tolist() for w in weights],
        "averages": [w.numpy().tolist() for w in averages],
        "on_every_replica": all(same_everywhere(v, strategy) for v in (*weights, *optimizer.variables)),
        "updates": int(optimizer.iterations.numpy()),
        "scale": float(optimizer.dynamic_scale.numpy()) if scaled else None,
    }


def split(parts: list[np.ndarray], strategy: tf.distribute.Strategy, overflow: bool):
    """Each replica's sum of its shares; with `overflow` the last share of all is infinite."""
    replicas = strategy.num_replicas_in_sync
    parts = [part.copy() for part in parts]
    if overflow:
        parts[0][-1] = np.inf
    sums = [part.reshape(replicas, SHARES // replicas, *part.shape[1:]).sum(axis=1) for part in parts]

    def of_replica(context):
        return [tf.constant(part[context.replica_id_in_sync_group]) for part in sums]

    return strategy.experimental_distribute_values_from_function(of_replica)


def same_everywhere(variable: keras.Variable, strategy: tf.distribute.Strategy) -> bool:
    first, *others = (copy.numpy() for copy in strategy.experimental_local_results(variable.value))
    return all(np.array_equal(first, other) for other in others)


def main():
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 4)
    # Two strategies of one process number their collectives alike; so the smaller one adds up without them.
    strategies = [
        tf.distribute.get_strategy(),
        tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], tf.distribute.ReductionToOneDevice()),
        tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(4)]),
    ]
    found = {case: [updated(case, strategy) for strategy in strategies] for case in CASES}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
