"""The network as it is exported: in another precision, with its batch normalizations folded."""

from __future__ import annotations

import keras

from p2net_tf.export.options import ExportOptions
from p2net_tf.inference.choosing_precision import copy_in, network_in
from p2net_tf.layers import NormalizedConvolution
from p2net_tf.layers.compat import sublayers
from p2net_tf.models import PoseNetwork
from p2net_tf.utils.exceptions import UserError


def network_to_export(network: keras.Model, options: ExportOptions) -> keras.Model:
    """`network` itself, or the copy of it that `options` ask for; their precision is not `auto`.

    Raises:
        UserError: a copy of a network that is not one of `p2net_tf.models`.
    """
    if not options.fold_batch_norm:
        return network_in(network, options.precision)
    if not isinstance(network, PoseNetwork):
        raise UserError(
            f"'{network.name}' is exported as it is: folding batch normalization is for the networks of "
            "p2net_tf.models"
        )
    return fold_batch_norm(copy_in(network, options.precision))


def fold_batch_norm(network: keras.Model) -> keras.Model:
    """Merges every batch normalization of `network` that stands behind a convolution into it, in place.

    Those in front of one, which the Stacked Hourglass has, stay: between the two is a ReLU.
    """
    for layer in sublayers(network):
        if isinstance(layer, NormalizedConvolution):
            layer.fold()
    return network
