"""What every network from crops to heatmaps must do, in one routine."""

import keras
import numpy as np
from layer_checks import check_every_weight_learns, randomize_weights

from p2net_tf.export.networks import network_to_export
from p2net_tf.export.options import ExportOptions
from p2net_tf.layers import NormalizedConvolution
from p2net_tf.layers.compat import sublayers

CROPS = np.random.default_rng(1).uniform(size=(2, 64, 32, 3)).astype("float32")
KEYPOINTS = 5


def randomized(network):
    randomize_weights(network, np.random.default_rng(0), deep=True)
    return network


def check_network(kind, outputs, tmp_path, **options):
    """Builds a `kind` for `CROPS` with `options` and runs it through all checks below.

    Args:
        kind: a sub-class of `PoseNetwork`.
        outputs: names of its heatmaps, in order.
    """
    network = randomized(kind(KEYPOINTS, CROPS.shape[1:3], **options))
    _check_outputs(network, outputs)
    _check_file(network, tmp_path)
    _check_bfloat16(network)
    _check_folding(network)
    check_every_weight_learns(network, CROPS)


def _check_outputs(network, outputs):
    """All at stride 4, symbolic and eager alike."""
    shape = (CROPS.shape[1] // 4, CROPS.shape[2] // 4, KEYPOINTS)
    assert list(network.output) == list(outputs)
    assert [tuple(maps.shape) for maps in network.output.values()] == [(None, *shape)] * len(outputs)
    found = network(CROPS)
    assert {name: tuple(maps.shape) for name, maps in found.items()} == {n: (2, *shape) for n in outputs}


def _check_file(network, tmp_path):
    network.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    assert type(loaded) is type(network)
    assert loaded.get_config() == network.get_config()
    before, after = network(CROPS), loaded(CROPS)
    for name in before:
        np.testing.assert_array_equal(after[name], before[name])


def _check_bfloat16(network):
    """Float32 weights and heatmaps, and nearly the same values."""
    low = type(network)(**{**network.get_config(), "dtype": "mixed_bfloat16"})
    low.set_weights(network.get_weights())
    assert {weight.dtype for weight in low.weights} == {"float32"}
    exact, found = network(CROPS), low(CROPS)
    for name in exact:
        assert found[name].dtype == "float32"
        assert not np.array_equal(found[name], exact[name])
        np.testing.assert_allclose(found[name], exact[name], atol=0.05 * np.abs(exact[name]).max())


def _check_folding(network):
    """No normalization is left behind a convolution, and the values are the same."""
    folded = network_to_export(network, ExportOptions(fold_batch_norm=True))
    convolutions = [c for c in sublayers(folded) if isinstance(c, NormalizedConvolution)]
    assert {type(convolution.norm) for convolution in convolutions} == {keras.layers.Identity}
    exact, found = network(CROPS), folded(CROPS)
    for name in exact:
        np.testing.assert_allclose(found[name], exact[name], atol=1e-4 * np.abs(exact[name]).max())
