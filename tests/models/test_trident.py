import numpy as np
import pytest
import tensorflow as tf
from layer_checks import check_layer, convolve, randomize_weights

from p2net_tf.models.backbones import ResidualBlock, ResNetSpec
from p2net_tf.models.trident import DILATIONS, TridentBlock, TridentResNet

INPUTS = np.random.default_rng(0).normal(size=(2, 12, 10, 16)).astype("float32")


@pytest.fixture
def block():
    block = TridentBlock(4)
    block.build(INPUTS.shape)
    randomize_weights(block, np.random.default_rng(1))
    return block


def test_block(tmp_path):
    check_layer(TridentBlock(4), (6, 5, 16), tmp_path)


def branches(block, training=False):
    stacked = np.concatenate([INPUTS] * 3)
    return tf.split(block(stacked, training=training, branches=True), 3)


def test_it_has_the_weights_of_the_block_that_it_replaces(block):
    plain = ResidualBlock(4)
    plain.build(INPUTS.shape)
    assert [w.shape for w in block.weights] == [w.shape for w in plain.weights]
    plain.set_weights(block.get_weights())
    np.testing.assert_allclose(branches(block)[0], plain(INPUTS), atol=1e-5)  # at dilation 1


def test_alone_it_is_the_middle_branch(block):
    small, middle, large = branches(block)
    np.testing.assert_allclose(block(INPUTS), middle, atol=1e-5)
    assert np.abs(middle - small).max() > 0.1 < np.abs(middle - large).max()


def test_branches_differ_in_the_dilation_of_one_convolution(block):
    reduce, conv, expand = block.convs
    x = reduce(INPUTS)
    for branch, rate in zip(branches(block), DILATIONS, strict=True):
        spread = convolve(np.asarray(x), np.asarray(conv.conv.kernel), dilation=rate)
        y = expand(conv.activate(conv.norm(spread.astype("float32"))))
        np.testing.assert_allclose(branch, np.maximum(y + INPUTS, 0), atol=1e-4)


def test_branches_share_their_weights(block):
    """The gradient of all is the sum of those of each."""
    kernel = block.convs[1].conv.kernel.value
    gradients = []
    for chosen in (DILATIONS, *[(rate,) for rate in DILATIONS]):
        with tf.GradientTape() as tape:
            outputs = branches(block)
            loss = sum(
                tf.reduce_sum(tf.square(outputs[number]))
                for number, rate in enumerate(DILATIONS)
                if rate in chosen
            )
        gradients.append(tape.gradient(loss, kernel).numpy())
    assert all(np.abs(gradient).max() > 0 for gradient in gradients)
    np.testing.assert_allclose(gradients[0], sum(gradients[1:]), rtol=1e-3, atol=1e-2)


def test_batch_statistics_are_those_of_all_branches_together(block):
    norm = block.convs[1].norm
    norm.moving_mean.assign(np.zeros(4))
    branches(block, training=True)
    hidden = np.asarray(block.convs[0](np.concatenate([INPUTS] * 3), training=True))
    kernel = np.asarray(block.convs[1].conv.kernel)
    spread = [
        convolve(part, kernel, dilation=r) for part, r in zip(np.split(hidden, 3), DILATIONS, strict=True)
    ]
    np.testing.assert_allclose(norm.moving_mean, 0.1 * np.mean(spread, axis=(0, 1, 2, 3)), atol=1e-4)


def test_a_block_that_cannot_have_branches():
    for options in ({"strides": 2}, {"bottleneck": False}):
        with pytest.raises(ValueError, match="bottleneck of stride 1"):
            TridentBlock(4, **options)


@pytest.mark.slow
def test_network(tmp_path):
    spec = ResNetSpec((1, 1, 3, 1), widths=(16, 16, 16, 16))
    check_layer(TridentResNet(spec, 2), (32, 32, 3), tmp_path)
    with pytest.raises(ValueError, match="2 blocks that keep their resolution"):
        TridentResNet(spec, 3)
