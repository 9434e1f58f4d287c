"""Copied weights give the features of the network they come from."""

import keras
import numpy as np
from layer_checks import randomize_weights

from p2net_tf.models import P2Net
from p2net_tf.models.pretrained import copy_application_weights, model_options


def test_features_are_those_of_keras_applications():
    """Random weights will do. Ours takes RGB in 0..1, theirs BGR around ImageNet's mean."""
    source = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(64, 64, 3))
    randomize_weights(source, np.random.default_rng(0))
    for weight in source.weights:
        if weight.name == "kernel":
            weight.assign(weight / np.sqrt(np.prod(weight.shape[:-1])) * 5)
    ends = [
        f"conv{stage}_block{blocks}_out" for stage, blocks in zip((2, 3, 4, 5), (3, 4, 6, 3), strict=True)
    ]
    theirs = keras.Model(source.input, [source.get_layer(name).output for name in ends])

    network = P2Net(3, (64, 64), backbone="resnet50", width=4, exchange_units=1, **model_options("resnet50"))
    backbone = network.get_layer("pyramid_net").backbone
    copy_application_weights(source, backbone)

    pixels = np.random.default_rng(1).integers(0, 256, (2, 64, 64, 3)).astype("float32")
    expected = theirs(keras.applications.resnet.preprocess_input(pixels.copy()), training=False)
    found = backbone(network.get_layer("normalize")(pixels / 255), training=False)
    for ours, wanted in zip(found, expected, strict=True):
        scale = np.abs(wanted).max()
        assert scale > 1e-3
        np.testing.assert_allclose(ours, wanted, rtol=1e-3, atol=1e-4 * scale)
