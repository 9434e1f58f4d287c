"""The input pipeline on other machines, for hosts that cannot feed their accelerators: the tf.data service.

A dispatcher deals out pieces of the work to workers; the training sends them its pipeline as a graph and gets
batches back. Workers read the images themselves, so these lie at the same paths for all.
"""

from __future__ import annotations

import tensorflow as tf

from p2net_tf.utils.exceptions import UserError

PORT = 5050
"""Of the dispatcher."""
_SCHEME = "grpc"


def distribute(batches: tf.data.Dataset, service: str) -> tf.data.Dataset:
    """`batches` as the workers of a dispatcher make them, each element of its source by one of them.

    Args:
        service: `grpc://host:port`.

    Raises:
        UserError: an address of another form.
    """
    if not service.startswith(f"{_SCHEME}://"):
        raise UserError(f"data.service={service}: not the address of a dispatcher; write grpc://host:port")
    return batches.apply(
        tf.data.experimental.service.distribute(
            processing_mode=tf.data.experimental.service.ShardingPolicy.DYNAMIC, service=service
        )
    )


def start_dispatcher(port: int = PORT, folder: str | None = None):
    """A `DispatchServer` on all interfaces of this machine; it lives as long as the object does.

    Args:
        port: 0 takes a free one.
        folder: where it writes down what it knows, to go on after a restart; None forgets.
    """
    config = tf.data.experimental.service.DispatcherConfig(
        port=port, protocol=_SCHEME, work_dir=folder, fault_tolerant_mode=folder is not None
    )
    return tf.data.experimental.service.DispatchServer(config)


def start_worker(dispatcher: str, host: str = "localhost", port: int = 0):
    """A `WorkerServer` for a dispatcher, `host:port`; it lives as long as the object does.

    Args:
        host: name under which the training reaches this machine.
        port: 0 takes a free one.
    """
    config = tf.data.experimental.service.WorkerConfig(
        dispatcher_address=dispatcher, worker_address=f"{host}:%port%", port=port, protocol=_SCHEME
    )
    return tf.data.experimental.service.WorkerServer(config)
