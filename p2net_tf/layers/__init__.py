"""The layers of the paper, one file per mechanism."""

from p2net_tf.layers.attention import AttentionPartialModule
from p2net_tf.layers.convolution import ConvNorm
from p2net_tf.layers.dilated import DilatedBottleneck
from p2net_tf.layers.exchange import ExchangeUnit
from p2net_tf.layers.normalization import BatchNormalization
from p2net_tf.layers.resampling import BilinearUpsampling

__all__ = [
    "AttentionPartialModule",
    "BatchNormalization",
    "BilinearUpsampling",
    "ConvNorm",
    "DilatedBottleneck",
    "ExchangeUnit",
]
