"""ImageNet weights in our backbones: feature by feature equal to the networks they come from.

All weights are random, so nothing is downloaded; biases and batch statistics are random too, because a
network fresh from its constructor has none that could be lost.
"""

import sys

import keras
import numpy as np
import pytest

from p2net_tf.config.model import P2NetConfig, SimpleBaselineConfig
from p2net_tf.config.networks import build_network
from p2net_tf.models import P2Net, pretrained
from p2net_tf.models.backbones import ResNet, ResNetSpec, backbone_spec

CROP = (64, 96)


def randomize(network: keras.Model) -> None:
    """He-scaled kernels, and every bias, scale, offset and statistic away from its neutral value."""
    rng = np.random.default_rng(0)
    for weight in network.weights:
        if len(weight.shape) == 4:
            values = rng.normal(0, np.sqrt(2 / np.prod(weight.shape[:3])), weight.shape)
        elif weight.path.endswith(("gamma", "moving_variance")):
            values = rng.uniform(0.5, 1.5, weight.shape)
        else:
            values = rng.normal(0, 0.3, weight.shape)
        weight.assign(values)


def crops() -> np.ndarray:
    return np.random.default_rng(1).random((2, *CROP, 3), np.float32)


def built(name: str, **options) -> ResNet:
    backbone = ResNet(backbone_spec(name, 8), **options)
    backbone.build((None, *CROP, 3))
    return backbone


def assert_equal_features(ours, theirs):
    assert len(ours) == len(theirs) == 4
    for name, one, other in zip(("C2", "C3", "C4", "C5"), ours, theirs, strict=True):
        one, other = np.asarray(one), np.asarray(other)
        assert np.abs(other).max() > 0.1, name
        assert np.abs(one - other).max() < 1e-4 * np.abs(other).max(), name


class TestApplications:
    @pytest.fixture(scope="class")
    def resnet50(self):
        network = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(*CROP, 3))
        randomize(network)
        return network

    @pytest.mark.slow
    def test_resnet50_through_the_normalization_of_p2net(self, resnet50):
        """Their input is BGR 0..255 without the mean, ours RGB 0..1 in front of `CAFFE_NORMALIZATION`."""
        options = pretrained.needed_arguments("resnet50", "imagenet")
        network = P2Net(5, CROP, "resnet50", width=4, exchange_units=1, **options)
        backbone = network.backbone
        pretrained.copy_application_weights(resnet50, backbone)

        caffe = keras.applications.resnet.preprocess_input(255 * crops())
        ends = [f"conv{stage}_block{blocks}_out" for stage, blocks in enumerate((3, 4, 6, 3), start=2)]
        theirs = keras.Model(resnet50.input, [resnet50.get_layer(name).output for name in ends])
        ours = backbone(network.get_layer("normalize")(crops()), training=False)
        assert_equal_features(ours, theirs(caffe, training=False))

    @pytest.mark.slow
    def test_simple_baseline_takes_them_by_its_configuration(self, resnet50, monkeypatch):
        """Downloads aside: into the backbone of whichever network has one, and with what they expect."""
        monkeypatch.setattr(keras.applications, "ResNet50", lambda **_: resnet50)
        config = SimpleBaselineConfig(backbone="resnet50", weights="imagenet", input_size=CROP, width=4)
        network = build_network(config, 5)
        assert network.get_config()["mean"] == pytest.approx([123.68 / 255, 116.779 / 255, 103.939 / 255])
        caffe = keras.applications.resnet.preprocess_input(255 * crops())
        last = keras.Model(resnet50.input, resnet50.get_layer("conv5_block3_out").output)
        ours = network.backbone(network.get_layer("normalize")(crops()), training=False)[-1]
        theirs = np.asarray(last(caffe, training=False))
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * np.abs(theirs).max())

    @pytest.mark.slow
    @pytest.mark.parametrize(("name", "blocks"), [("ResNet101", (3, 4, 23, 3)), ("ResNet152", (3, 8, 36, 3))])
    def test_the_deeper_ones(self, name, blocks):
        source = getattr(keras.applications, name)(include_top=False, weights=None, input_shape=(*CROP, 3))
        randomize(source)
        backbone = built(name.lower(), stride_in_1x1=True)
        pretrained.copy_application_weights(source, backbone)
        ends = [f"conv{stage}_block{count}_out" for stage, count in enumerate(blocks, start=2)]
        theirs = keras.Model(source.input, [source.get_layer(name).output for name in ends])
        ours = backbone(crops()[..., ::-1], training=False)
        assert_equal_features(ours, theirs(crops(), training=False))

    @pytest.mark.slow
    def test_another_network_is_refused(self, resnet50):
        with pytest.raises(
            ValueError, match=r"conv1_conv has a kernel \(7, 7, 3, 64\), ours is \(3, 3, 3, 8\)"
        ):
            pretrained.copy_application_weights(resnet50, built("small"))


def hub_resnet(filters: list[int], blocks: list[int], kind: str) -> keras.Model:
    """A ResNet of keras-hub, with random weights."""
    hub = pytest.importorskip("keras_hub", reason="the reference is keras-hub's (extra `hub`)")
    network = hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=filters,
        stackwise_num_blocks=blocks,
        stackwise_num_strides=[1, 2, 2, 2],
        block_type=kind,
    )
    randomize(network)
    return network


def hub_features(network: keras.Model) -> list:
    outputs = [network.pyramid_outputs[f"P{level}"] for level in (2, 3, 4, 5)]
    return keras.Model(network.input, outputs)(crops(), training=False)


@pytest.mark.slow
class TestHub:
    @pytest.fixture(scope="class")
    def resnet18(self):
        return hub_resnet([64, 128, 256, 512], [2, 2, 2, 2], "basic_block")

    def test_resnet18(self, resnet18):
        backbone = built("resnet18")
        pretrained.copy_hub_weights(resnet18, backbone)
        assert_equal_features(backbone(crops(), training=False), hub_features(resnet18))

    def test_bottlenecks(self):
        """Those of its ResNet-50 and deeper stride in their 3x3, as torchvision's do; here are few."""
        source = hub_resnet([64, 16, 16, 16], [2, 1, 1, 1], "bottleneck_block")
        backbone = ResNet(ResNetSpec((2, 1, 1, 1), (64, 16, 16, 16)))
        backbone.build((None, *CROP, 3))
        pretrained.copy_hub_weights(source, backbone)
        assert_equal_features(backbone(crops(), training=False), hub_features(source))

    def test_another_network_is_refused(self, resnet18):
        with pytest.raises(ValueError, match="has 20 convolutions, ours 53"):
            pretrained.copy_hub_weights(resnet18, built("resnet50"))


class TestOptions:
    @pytest.mark.parametrize("backbone", ["resnet50", "resnet101", "resnet152"])
    def test_applications_want_caffe_input_and_strides_in_1x1(self, backbone):
        options = pretrained.needed_arguments(backbone, "imagenet")
        assert options["stride_in_1x1"] is True
        # (1 - mean) / std is a white pixel: 255 minus the mean of its channel.
        white = [(1 - m) / s for m, s in zip(options["mean"], options["std"], strict=True)]
        assert white == pytest.approx([255 - 123.68, 255 - 116.779, 255 - 103.939])

    def test_keras_hub_wants_what_p2net_does_anyway(self):
        assert pretrained.needed_arguments("resnet18", "imagenet") == {}

    def test_nobody_publishes_the_small_one(self):
        with pytest.raises(pretrained.PretrainedError, match="no ImageNet weights for backbone 'small'"):
            pretrained.needed_arguments("small", "imagenet")

    @pytest.mark.slow
    def test_build_network_passes_them_on(self):
        config = P2NetConfig(backbone="resnet50", weights="imagenet", input_size=CROP, width=4)
        arguments = build_network(config, 5, download=False).get_config()
        assert arguments["stride_in_1x1"] is True
        assert arguments["mean"] == pytest.approx([123.68 / 255, 116.779 / 255, 103.939 / 255])
        plain = build_network(config.model_copy(update={"weights": None}), 5).get_config()
        assert (plain["stride_in_1x1"], plain["mean"]) == (False, [0.485, 0.456, 0.406])


def no_network(*_, **__):
    raise OSError("no route to host")


class TestWithoutNetwork:
    def test_applications(self, monkeypatch):
        monkeypatch.setattr(keras.applications, "ResNet101", no_network)
        with pytest.raises(pretrained.PretrainedError) as found:
            pretrained.load_imagenet_weights(None, "resnet101")
        message = str(found.value)
        assert message.startswith("cannot download the ImageNet weights of resnet101 (no route to host)")
        assert "~/.keras/models" in message
        assert "weights=None" in message

    def test_hub(self, monkeypatch):
        hub = pytest.importorskip("keras_hub", reason="ResNet-18's weights come from keras-hub (extra `hub`)")
        monkeypatch.setattr(hub.models.Backbone, "from_preset", no_network)
        expected = r"cannot download the preset resnet_18_imagenet \(no route to host\).*weights=None"
        with pytest.raises(pretrained.PretrainedError, match=expected):
            pretrained.load_imagenet_weights(None, "resnet18")

    def test_hub_not_installed(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "keras_hub", None)
        with pytest.raises(pretrained.PretrainedError, match=r"pip install 'p2net_tf\[hub\]'"):
            pretrained.load_imagenet_weights(None, "resnet18")

    def test_a_backbone_that_nobody_publishes(self):
        with pytest.raises(pretrained.PretrainedError, match="no ImageNet weights for backbone 'small'"):
            pretrained.load_imagenet_weights(None, "small")
