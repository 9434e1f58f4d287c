"""Networks called line by line, where making their graphs would take longer than what they are wanted for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf


@contextmanager
def without_graphs(wanted: bool = True) -> Iterator[None]:
    """TensorFlow's functions run as they are written, and none is traced: for a single picture.

    A call of the small network takes ten times as long as its graph, 0.35 s on a processor, and the graph is
    made in 2.3 s. Not for threads beside this one, nor around pipelines of `tf.data`.

    Args:
        wanted: False changes nothing.
    """
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(wanted or before)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)
