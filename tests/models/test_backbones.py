"""ResNets against the published numbers of parameters and multiply-adds."""

import keras
import numpy as np
import pytest

from p2net_tf.models.backbones import ResNet, backbone_spec
from p2net_tf.models.summary import count_multiply_adds, count_parameters

CLASSIFIER = 1000 + 1000 * 2048
"""Parameters of ImageNet's last layer behind a bottleneck ResNet."""


def backbone_model(name: str, size=(224, 224), **options) -> keras.Model:
    inputs = keras.Input((*size, 3))
    return keras.Model(inputs, ResNet(backbone_spec(name, 4), name="backbone", **options)(inputs))


@pytest.mark.parametrize(
    ("name", "parameters", "multiply_adds"),
    [
        ("resnet18", 11_689_512 - (1000 + 1000 * 512), 1.8e9),
        ("resnet50", 25_557_032 - CLASSIFIER, 3.8e9),
    ],
)
def test_size_is_the_published_one(name, parameters, multiply_adds):
    """Parameters: torchvision's table. Multiply-adds: He et al., Table 1, whose blocks stride in the 1x1."""
    model = backbone_model(name, stride_in_1x1=True)
    assert count_parameters(model) == parameters
    assert count_multiply_adds(model)["backbone"] == pytest.approx(multiply_adds, rel=0.02)


@pytest.mark.slow
def test_resnet152_has_the_published_parameters():
    assert count_parameters(backbone_model("resnet152", (32, 32))) == 60_192_808 - CLASSIFIER


@pytest.mark.parametrize(("name", "channels"), [("resnet18", (64, 128, 256, 512)), ("small", (4, 8, 16, 16))])
def test_features_have_strides_4_to_32(name, channels):
    model = backbone_model(name, (64, 96))
    features = model(np.zeros((1, 64, 96, 3), "float32"))
    found = [tuple(x.shape[1:]) for x in features]
    assert found == [(64 // s, 96 // s, c) for s, c in zip((4, 8, 16, 32), channels, strict=True)]
    assert [tuple(x.shape[1:]) for x in model.output] == found


def test_blocks_of_the_small_backbone():
    """Parameters by hand: 3x3 convolutions of equal width, each with two of its batch normalization."""
    one, three = (
        count_parameters(keras.Model(inputs, ResNet(backbone_spec("small", 4, blocks))(inputs)))
        for inputs, blocks in ((keras.Input((64, 64, 3)), 1), (keras.Input((64, 64, 3)), 3))
    )
    block = sum(2 * (9 * width * width + 2 * width) for width in (4, 8, 16, 16))
    assert three - one == 2 * block


def test_unknown_backbone():
    with pytest.raises(ValueError, match="unknown backbone 'vgg'; take one of resnet18"):
        backbone_spec("vgg")
