"""Multiply-adds, of every network, by TensorFlow's own count of the graph that runs."""

import keras
import pytest
import tensorflow as tf
from networks import TINY_OPTIONS
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from p2net_tf.models import NETWORKS
from p2net_tf.models.summary import count_multiply_adds

SIZE = (64, 128)  # At no stride a side is odd: TensorFlow would pad a dilated convolution for it.
CONVOLUTIONS = ("Conv2D", "Conv2DBackpropInput")  # the second: transposed ones


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY_OPTIONS)
def test_as_many_as_the_graph_does(name):
    network = NETWORKS[name](3, SIZE, **TINY_OPTIONS[name])
    operations = profiled(network)
    done = sum(operations.get(kind, 0) for kind in CONVOLUTIONS) / 2
    assert sum(count_multiply_adds(network).values()) == done


def profiled(network: keras.Model) -> dict[str, int]:
    """Additions and multiplications by kind of operation: TensorFlow's profiler on the frozen graph."""
    function = tf.function(lambda crops: network(crops, training=False), autograph=False)
    traced = function.get_concrete_function(tf.TensorSpec((1, *SIZE, 3)))
    graph = convert_variables_to_constants_v2(traced).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder
    found = tf.compat.v1.profiler.profile(
        graph, cmd="op", options=options(options.float_operation()).with_empty_output().build()
    )
    operations = {}
    while found.children:  # a chain, one kind of operation behind the other
        (found,) = found.children
        operations[found.name] = found.float_ops
    return operations
