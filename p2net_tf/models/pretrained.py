"""ImageNet weights for the backbones: keras.applications' ResNet-50/101/152, keras-hub's ResNet-18.

Their networks differ from ours in two ways that are undone here exactly: a bias before a batch normalization
is taken off its moving mean, and keras.applications' BGR input becomes our RGB.
"""

from __future__ import annotations

import importlib

import keras
import numpy as np

from p2net_tf.layers import ConvNorm
from p2net_tf.models.backbones import ResNet

CAFFE_NORMALIZATION = {
    "mean": (123.68 / 255, 116.779 / 255, 103.939 / 255),
    "std": (1 / 255, 1 / 255, 1 / 255),
}
"""What keras.applications' ResNets expect: mean-free values 0..255 (BGR is folded into the kernel)."""

_APPLICATIONS = {"resnet50": "ResNet50", "resnet101": "ResNet101", "resnet152": "ResNet152"}
_HUB_PRESETS = {"resnet18": "resnet_18_imagenet"}


class PretrainedError(ValueError):
    """ImageNet weights that cannot be had; the message names the remedy."""


def needed_arguments(backbone: str, weights: str | None) -> dict:
    """Arguments of a network that the weights of its backbone need: none without weights.

    Raises:
        PretrainedError: nobody publishes such weights for this backbone.
    """
    if weights is None:
        return {}
    if weights != "imagenet":
        raise PretrainedError(
            f"weights are 'imagenet' or None, not '{weights}'; open files with PoseEstimator.load"
        )
    if backbone in _APPLICATIONS:
        return {"stride_in_1x1": True, **CAFFE_NORMALIZATION}
    if backbone in _HUB_PRESETS:
        return {}
    raise PretrainedError(f"no ImageNet weights for backbone '{backbone}'; take weights=None")


def load_imagenet_weights(backbone: ResNet, name: str) -> None:
    """Downloads (once) and copies the ImageNet weights of `name` into a built backbone.

    Raises:
        PretrainedError: the weights cannot be downloaded, or keras-hub is missing.
    """
    if name in _APPLICATIONS:
        copy_application_weights(_download_application(name), backbone)
    else:
        copy_hub_weights(_download_hub(name), backbone)


def _download_application(name: str) -> keras.Model:
    try:
        return getattr(keras.applications, _APPLICATIONS[name])(include_top=False, weights="imagenet")
    except Exception as error:  # every backend of the download has exceptions of its own
        raise PretrainedError(
            f"cannot download the ImageNet weights of {name} ({error}); connect this machine once, copy "
            "~/.keras/models from one that is, or train from random weights with weights=None"
        ) from error


def _download_hub(name: str) -> keras.Model:
    if name not in _HUB_PRESETS:
        raise PretrainedError(f"no ImageNet weights for backbone '{name}'; take weights=None")
    try:
        keras_hub = importlib.import_module("keras_hub")  # an extra
    except ImportError as error:
        raise PretrainedError(
            f"weights of {name} come from keras-hub: pip install 'p2net_tf[hub]'"
        ) from error
    try:
        return keras_hub.models.Backbone.from_preset(_HUB_PRESETS[name])
    except Exception as error:
        raise PretrainedError(
            f"cannot download the preset {_HUB_PRESETS[name]} ({error}); connect this machine once, "
            "or train from random weights with weights=None"
        ) from error


def copy_application_weights(source: keras.Model, backbone: ResNet) -> None:
    """Copies a `keras.applications` ResNet into ours, layer by layer in the order of both.

    Raises:
        ValueError: the networks are not the same.
    """
    stem = backbone.stem[0]
    _copy_pair(source.get_layer("conv1_conv"), source.get_layer("conv1_bn"), stem, flip_input=True)
    for stage, blocks in enumerate(backbone.stages, start=2):
        for number, block in enumerate(blocks, start=1):
            prefix = f"conv{stage}_block{number}"
            if block.shortcut is not None:
                _copy_pair(*_pair(source, f"{prefix}_0"), block.shortcut)
            for index, conv in enumerate(block.convs, start=1):
                _copy_pair(*_pair(source, f"{prefix}_{index}"), conv)


def _pair(source: keras.Model, prefix: str):
    return source.get_layer(f"{prefix}_conv"), source.get_layer(f"{prefix}_bn")


def _copy_pair(conv, norm, target: ConvNorm, flip_input: bool = False) -> None:
    kernel = np.asarray(conv.kernel)
    bias = np.asarray(conv.bias) if conv.use_bias else 0.0
    if flip_input:
        kernel = kernel[:, :, ::-1]
    if kernel.shape != tuple(target.conv.kernel.shape):
        raise ValueError(
            f"{conv.name} has a kernel {kernel.shape}, ours is {tuple(target.conv.kernel.shape)}"
        )
    target.conv.kernel.assign(kernel)
    target.norm.gamma.assign(norm.gamma)
    target.norm.beta.assign(norm.beta)
    target.norm.moving_mean.assign(np.asarray(norm.moving_mean) - bias)
    # The two epsilons differ by 2e-8 at most; folded into the variance the results are equal.
    target.norm.moving_variance.assign(np.asarray(norm.moving_variance) + norm.epsilon - target.norm.epsilon)


def copy_hub_weights(source: keras.Model, backbone: ResNet) -> None:
    """Copies a keras-hub ResNet backbone into ours, convolution by convolution."""
    convs = [layer for layer in source.layers if isinstance(layer, keras.layers.Conv2D)]
    norms = [layer for layer in source.layers if isinstance(layer, keras.layers.BatchNormalization)]
    norm_of = {id(norm.input): norm for norm in norms}
    targets = _in_hub_order(backbone)
    if len(convs) != len(targets) or len(norms) != len(targets):
        raise ValueError(f"{source.name} has {len(convs)} convolutions, ours {len(targets)}")
    by_name = {conv.name: conv for conv in convs}
    for name, target in targets.items():
        _copy_pair(by_name[name], norm_of[id(by_name[name].output)], target)


def _in_hub_order(backbone: ResNet) -> dict[str, ConvNorm]:
    """Our convolutions by the names that keras-hub gives theirs."""
    targets = {"conv1_conv": backbone.stem[0]}
    for stage, blocks in enumerate(backbone.stages):
        for number, block in enumerate(blocks):
            prefix = f"stack{stage}_block{number}"
            if block.shortcut is not None:
                targets[f"{prefix}_0_conv"] = block.shortcut
            for index, conv in enumerate(block.convs, start=1):
                targets[f"{prefix}_{index}_conv"] = conv
    return targets
