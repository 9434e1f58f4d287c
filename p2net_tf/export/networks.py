"""The network as it is exported: in another precision, with its batch normalizations folded."""

from __future__ import annotations

import keras

from p2net_tf.export.options import ExportOptions, Precision
from p2net_tf.layers import NormalizedConvolution
from p2net_tf.layers.compat import sublayers
from p2net_tf.models import PoseNetwork
from p2net_tf.utils.exceptions import UserError


def network_to_export(network: keras.Model, options: ExportOptions) -> keras.Model:
    """`network` itself, or the copy of it that `options` ask for.

    Raises:
        UserError: a copy of a network that is not one of `p2net_tf.models`.
    """
    if not isinstance(network, PoseNetwork):
        if options.precision is Precision.float32 and not options.fold_batch_norm:
            return network
        raise UserError(
            f"'{network.name}' is exported as it is: another precision, and folding batch normalization, are "
            "for the networks of p2net_tf.models"
        )
    policy = "mixed_bfloat16" if options.precision is Precision.bfloat16 else "float32"
    if network.get_config()["dtype"] == policy and not options.fold_batch_norm:
        return network
    copy = type(network).from_config({**network.get_config(), "dtype": policy})
    copy.set_weights(network.get_weights())
    return fold_batch_norm(copy) if options.fold_batch_norm else copy


def fold_batch_norm(network: keras.Model) -> keras.Model:
    """Merges every batch normalization of `network` that stands behind a convolution into it, in place.

    Those in front of one, which the Stacked Hourglass has, stay: between the two is a ReLU.
    """
    for layer in sublayers(network):
        if isinstance(layer, NormalizedConvolution):
            layer.fold()
    return network
