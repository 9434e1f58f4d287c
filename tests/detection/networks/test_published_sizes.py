"""Detectors have the parameters and multiply-adds of their papers, and torchvision's."""

import keras
import pytest

from p2net_tf.detection.networks import FasterRCNN, OneStageDetector, TridentNet
from p2net_tf.models.detnet import DETNET_59, DetNet
from p2net_tf.models.summary import count_multiply_adds, count_parameters

TORCHVISION_CLASSES = 90
"""Of COCO, without the background that torchvision counts as the first of 91."""


@pytest.fixture
def build():
    """Builds networks that have shapes, but no values, at a tenth of the time."""

    def build(kind, *arguments, **options) -> keras.layers.Layer:
        with keras.StatelessScope(initialize_variables=False):
            return kind(*arguments, **options)

    yield build
    # Else Keras gives all of them values at the end of its next scope.
    keras.utils.clear_session()


def without_normalization(network) -> int:
    """torchvision's batch normalization is frozen: its values are no parameters there."""
    norms = [weight for weight in network.trainable_weights if weight.name in ("gamma", "beta")]
    return count_parameters(network) - sum(weight.shape[0] for weight in norms)


def test_faster_rcnn(build):
    network = build(FasterRCNN, num_classes=TORCHVISION_CLASSES)
    assert without_normalization(network) == 41_755_286


def test_retinanet(build):
    """torchvision's has a channel for its background, too."""
    network = build(OneStageDetector, num_classes=TORCHVISION_CLASSES + 1)
    assert without_normalization(network) == 34_014_999


def test_detnet_59(build):
    """4.8 G multiply-adds at 224x224 with the classifier of ImageNet."""

    def model():
        inputs = keras.Input((224, 224, 3))
        return keras.Model(inputs, DetNet(DETNET_59)(inputs))

    network = build(model)
    assert sum(count_multiply_adds(network).values()) == pytest.approx(4.8e9, rel=0.02)
    assert count_parameters(network) / 1e6 == pytest.approx(17.35, abs=0.005)
    classifier = 1024 * 1000 + 1000
    assert (count_parameters(network) + classifier) / 1e6 == pytest.approx(18.37, abs=0.005)


@pytest.mark.parametrize("backbone", ["resnet50", "resnet101"])
def test_tridentnet_adds_nothing_to_its_baseline(build, backbone):
    blocks = {"resnet50": 5, "resnet101": 10}[backbone]
    baseline, trident = (build(TridentNet, backbone=backbone, trident_blocks=n) for n in (0, blocks))
    assert count_parameters(trident) == count_parameters(baseline) > 25e6
    assert [w.shape for w in trident.weights] == [w.shape for w in baseline.weights]
