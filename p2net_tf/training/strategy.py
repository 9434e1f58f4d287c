"""Which devices a training runs on."""

from __future__ import annotations

import contextlib

import tensorflow as tf


def make_strategy(replicas: int | None = None) -> tf.distribute.Strategy:
    """Mirrors the model on `replicas` devices; None takes every GPU, or the one CPU.

    Without enough GPUs the replicas are logical CPUs, which must be configured before TensorFlow first
    touches a device: of use in tests, not for speed.

    Raises:
        ValueError: fewer devices than replicas.
    """
    gpus = tf.config.list_physical_devices("GPU")
    wanted = replicas or max(1, len(gpus))
    if wanted == 1:
        return tf.distribute.get_strategy()
    if len(gpus) >= wanted:
        return tf.distribute.MirroredStrategy([f"GPU:{i}" for i in range(wanted)])
    cpu = tf.config.list_physical_devices("CPU")[0]
    # Devices that are already in use cannot be changed any more; they may be enough.
    with contextlib.suppress(RuntimeError):
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * wanted)
    available = len(tf.config.list_logical_devices("CPU"))
    if available < wanted:
        raise ValueError(
            f"training.replicas={wanted}, but there are {len(gpus)} GPUs and {available} logical CPUs; "
            f"set training.replicas={max(1, len(gpus), available)}"
        )
    return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(wanted)])
