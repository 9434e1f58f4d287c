"""The layers that networks are built of, one file per mechanism."""

from p2net_tf.layers.attention import AttentionPartialModule
from p2net_tf.layers.convolution import ConvNorm, NormalizedConvolution
from p2net_tf.layers.deconvolution import DeconvNorm
from p2net_tf.layers.dilated import DilatedBottleneck
from p2net_tf.layers.exchange import ExchangeUnit
from p2net_tf.layers.feature_pyramid import FeaturePyramid
from p2net_tf.layers.normalization import BatchNormalization
from p2net_tf.layers.preactivation import PreActivationBottleneck
from p2net_tf.layers.resampling import BilinearUpsampling, NearestUpsampling

__all__ = [
    "AttentionPartialModule",
    "BatchNormalization",
    "BilinearUpsampling",
    "ConvNorm",
    "DeconvNorm",
    "DilatedBottleneck",
    "ExchangeUnit",
    "FeaturePyramid",
    "NearestUpsampling",
    "NormalizedConvolution",
    "PreActivationBottleneck",
]
