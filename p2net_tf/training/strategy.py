"""Which devices a training runs on, and how Keras' `fit` runs on those of several hosts.

The batch of the configuration is the global one: replicas share it out, their gradients are summed and their
batch statistics synchronized, so a training does not depend on their number.
"""

from __future__ import annotations

import contextlib

import tensorflow as tf

from p2net_tf.data.image_batches import InputShard
from p2net_tf.training.cluster import worker_of
from p2net_tf.utils.compat import FitHooks
from p2net_tf.utils.exceptions import UserError
from p2net_tf.utils.tf_config import Worker, read_cluster


class StrategyError(UserError):
    """Devices that are not there or do not fit the configuration; the message names the field and remedy."""


def make_strategy(
    replicas: int | None = None, kind: str = "auto", tpu: str | None = None
) -> tf.distribute.Strategy:
    """The strategy of a `TrainingConfig`; must be made before TensorFlow runs anything in this process.

    Args:
        replicas: devices to mirror the model on, of every worker; None takes every GPU, or the one CPU.
        kind: `one_device`, `mirrored`, `multi_worker` (`TF_CONFIG` names the workers) or `tpu`. `auto` is
            multi_worker where there are several workers, else mirrored where there are several devices.
        tpu: address of the TPU; None asks the environment, `local` takes the one of this machine.

    Raises:
        ClusterError: a `TF_CONFIG` that cannot be used.
        StrategyError: devices that are not there, or a `kind` that contradicts the other settings.
    """
    if kind == "tpu":
        return _tpu_strategy(tpu)
    worker = read_cluster()
    if kind == "multi_worker" or (kind == "auto" and worker.count > 1):
        return _multi_worker_strategy(worker, replicas)
    if worker.count > 1:
        raise StrategyError(
            f"training.strategy={kind} trains on one host, but TF_CONFIG names {worker.count} workers; "
            "take training.strategy=auto, or unset TF_CONFIG"
        )
    if kind == "one_device":
        if replicas not in (None, 1):
            raise StrategyError(
                f"training.strategy=one_device has 1 replica, but training.replicas={replicas}; "
                "leave one of them out"
            )
        replicas = 1
    return one_host_strategy(replicas, always_mirror=kind == "mirrored")


def one_host_strategy(replicas: int | None = None, always_mirror: bool = False) -> tf.distribute.Strategy:
    """Mirrors the model on `replicas` devices of this host; None takes every GPU, or the one CPU.

    Without enough GPUs the replicas are logical CPUs, which must be configured before TensorFlow first
    touches a device: of use in tests, not for speed.

    Args:
        always_mirror: a `MirroredStrategy` even for one device.

    Raises:
        StrategyError: fewer devices than replicas.
    """
    gpus = tf.config.list_physical_devices("GPU")
    wanted = replicas or max(1, len(gpus))
    if wanted == 1 and not always_mirror:
        return tf.distribute.get_strategy()
    if len(gpus) >= wanted:
        return tf.distribute.MirroredStrategy([f"GPU:{i}" for i in range(wanted)])
    cpu = tf.config.list_physical_devices("CPU")[0]
    # Devices that are already in use cannot be changed any more; they may be enough.
    with contextlib.suppress(RuntimeError):
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * wanted)
    available = len(tf.config.list_logical_devices("CPU"))
    if available < wanted:
        raise StrategyError(
            f"training.replicas={wanted}, but there are {len(gpus)} GPUs and {available} logical CPUs; "
            f"set training.replicas={max(1, len(gpus), available)}"
        )
    return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(wanted)])


def check_batch_size(batch_size: int, replicas: int) -> None:
    """Raises:
    StrategyError: a global batch of `batch_size` persons cannot be shared out evenly.
    """
    if batch_size % replicas:
        below = batch_size // replicas * replicas
        nearest = f"{below} or {below + replicas}" if below else f"{replicas}"
        raise StrategyError(
            f"training.batch_size={batch_size} does not divide by the {replicas} replicas; "
            f"set training.batch_size={nearest}"
        )


def shard_of(context: tf.distribute.InputContext) -> InputShard:
    """The part of every global batch that an input pipeline of a strategy loads."""
    pipelines = context.num_input_pipelines
    return InputShard(context.input_pipeline_id, pipelines, context.num_replicas_in_sync // pipelines)


class FitsOnSeveralWorkers(FitHooks):
    """Mixed into a `keras.Model` that is built already, lets `fit` and `evaluate` run on several workers.

    Keras 3 fails there (keras#20585) for two reasons. To build the model it averages a distributed batch into
    one, which such a strategy cannot, and needs it for nothing but the shapes. And it averages the logs of a
    step along their first axis, which scalars do not have.

    On any number of workers the variables of the optimizer are made before the first step: TensorFlow traces
    a function twice that makes variables.
    """

    def prepare_first_step(self):
        if self.optimizer is not None and not self.optimizer.built:
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)
        return not _has_several_workers(self.distribute_strategy)

    def adapt_step(self, step):
        if not _has_several_workers(self.distribute_strategy):
            return step
        return lambda data: {name: value[None] for name, value in step(data).items()}


def _has_several_workers(strategy: tf.distribute.Strategy) -> bool:
    return worker_of(strategy).count > 1


def _multi_worker_strategy(worker: Worker, replicas: int | None) -> tf.distribute.Strategy:
    if worker.count == 1:
        raise StrategyError(
            "training.strategy=multi_worker needs the environment variable TF_CONFIG with at least two "
            "workers (docs/scaling.md); for one host take training.strategy=auto"
        )
    gpus = tf.config.list_physical_devices("GPU")
    if replicas and replicas > max(1, len(gpus)):
        raise StrategyError(
            f"training.replicas={replicas}, but worker {worker.index} has {len(gpus)} GPUs; "
            f"set training.replicas={max(1, len(gpus))} (it counts those of every worker)"
        )
    try:
        if replicas and gpus:
            tf.config.set_visible_devices(gpus[:replicas], "GPU")
        return tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:  # of those who write code, not of users
        raise RuntimeError("make the strategy before TensorFlow runs anything in this process") from error


def _tpu_strategy(address: str | None) -> tf.distribute.Strategy:
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(address)
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    except (ValueError, RuntimeError, OSError, tf.errors.OpError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StrategyError(
            f"training.strategy=tpu: no TPU at training.tpu={address} ({reason}); set training.tpu to its "
            "name or grpc:// address, or to `local` on a TPU VM, or take training.strategy=auto"
        ) from error
