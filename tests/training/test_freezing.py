"""What is frozen stays frozen, wherever a network goes."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from networks import TINY_OPTIONS, tiny_network, two_convolutions

from p2net_tf.inference.card import InferenceCard
from p2net_tf.inference.keras_file import open_network, save_network
from p2net_tf.layers import ConvNorm, DilatedBottleneck
from p2net_tf.layers.compat import sublayers
from p2net_tf.layers.freezing import frozen_places
from p2net_tf.models import NETWORKS
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.training.pose_model import PoseModel

SKELETON = Skeleton.load("lsp14")


def flags(network) -> list[bool]:
    """Of every layer: batch normalizations look at their own."""
    return [layer.trainable for layer in sublayers(network)]


def of_weights(network) -> list[bool]:
    frozen = {id(weight) for weight in network.trainable_weights}
    return [id(weight) in frozen for weight in network.weights]


def partly_frozen(**options):
    """The backbone but for its first layer, a layer that `build` makes, and one deep inside another."""
    network = tiny_network(14, (32, 32), **options)
    network.backbone.trainable = False
    network.backbone.stem[0].trainable = True
    refine = network.get_layer("refine_net")
    refine.gather.project.norm.trainable = False
    refine.head.trainable = False
    assert 0 < sum(of_weights(network)) < len(network.trainable_weights) + len(network.non_trainable_weights)
    return network


def through_a_file(network, folder):
    network.save(folder / "network.keras")
    return keras.saving.load_model(folder / "network.keras")


def through_a_run_folder(network, folder):
    save_network(network, folder / "best.keras", InferenceCard.of(network, SKELETON))
    return open_network(folder / "best.keras")[0]


def through_a_file_of_the_model(network, folder):
    PoseModel(network, skeleton=SKELETON).save(folder / "model.keras")
    return keras.saving.load_model(folder / "model.keras").network


def through_its_configuration(network, folder):
    return type(network).from_config(network.get_config())


def through_a_clone(network, folder):
    return keras.models.clone_model(network)


def through_a_clone_of_the_model(network, folder):
    return keras.models.clone_model(PoseModel(network, skeleton=SKELETON)).network


WAYS = (
    through_a_file,
    through_a_run_folder,
    through_a_file_of_the_model,
    through_its_configuration,
    through_a_clone,
    through_a_clone_of_the_model,
)


@pytest.fixture(scope="module")
def network():
    return partly_frozen()


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_network_keeps_its_flags(network, way, tmp_path):
    found = way(network, tmp_path)
    assert of_weights(found) == of_weights(network)
    assert flags(found) == flags(network) or way is through_a_clone  # whose layers lie in another order
    assert sorted(flags(found)) == sorted(flags(network))


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_keeps_its_flags(name, tmp_path):
    network = NETWORKS[name](5, (64, 32), **TINY_OPTIONS[name])
    for layer in sublayers(network)[3::2]:
        layer.trainable = False
    for way in (through_a_file, through_a_clone):
        found = way(network, tmp_path)
        assert of_weights(found) == of_weights(network)
        norms = [
            [
                layer.trainable
                for layer in sublayers(one)
                if isinstance(layer, keras.layers.BatchNormalization)
            ]
            for one in (network, found)
        ]
        assert sorted(norms[0]) == sorted(norms[1])


def test_what_is_not_frozen_has_the_configuration_it_had():
    assert "frozen" not in tiny_network().get_config()
    assert "frozen" not in ConvNorm(4).get_config()


@pytest.mark.slow
def test_unfreezing_is_kept_too(network, tmp_path):
    found = through_its_configuration(network, tmp_path)
    found.trainable = True
    assert frozen_places(through_its_configuration(found, tmp_path)) == []


def test_a_layer_that_is_frozen_as_a_whole_freezes_what_build_makes():
    layer = DilatedBottleneck(4)
    layer.trainable = False
    copy = DilatedBottleneck.from_config(layer.get_config())
    copy.build((None, 8, 8, 3))
    assert copy.project is not None
    assert not any(part.trainable for part in sublayers(copy))


def people(number: int = 4):
    rng = np.random.default_rng(0)
    keypoints = np.concatenate([rng.uniform(4, 28, (number, 14, 2)), np.full((number, 14, 1), 2)], axis=-1)
    crops = rng.uniform(size=(number, 32, 32, 3)).astype("float32")
    return tf.data.Dataset.from_tensors((crops, keypoints.astype("float32")))


def frozen_model(network=None) -> PoseModel:
    """Everything but the heads."""
    network = network or two_convolutions(14)
    for layer in network.layers[:-2]:
        layer.trainable = False
    model = PoseModel(network, skeleton=SKELETON)
    model.compile(keras.optimizers.Adam(0.01), run_eagerly=True)
    return model


def values(variables) -> list[np.ndarray]:
    return [variable.numpy() for variable in variables]


class TestTraining:
    def test_moves_nothing_that_is_frozen(self):
        model = frozen_model()
        frozen, free = model.network.non_trainable_weights, model.network.trainable_weights
        assert (len(frozen), len(free)) == (5, 4)  # a kernel, four of the normalization; two heads
        before = values(frozen), values(free)
        model.fit(people(), verbose=0)
        for old, new in zip(before[0], values(frozen), strict=True):
            np.testing.assert_array_equal(new, old)
        assert all(np.abs(new - old).max() > 0 for old, new in zip(before[1], values(free), strict=True))

    def test_weight_decay_is_of_what_is_trained(self):
        model = PoseModel(frozen_model().network, weight_decay=0.2)
        heads = [model.network.get_layer(name).kernel for name in ("parallel_4", "heatmaps")]
        expected = 0.1 * sum(np.sum(kernel.numpy() ** 2) for kernel in heads)
        assert float(model.penalty()) == pytest.approx(expected, rel=1e-5)

    def test_goes_on_from_a_file_with_the_moments_of_adam(self, tmp_path):
        model = frozen_model()
        model.fit(people(), verbose=0)
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        assert len(loaded.trainable_variables) == 4
        for one, other in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
            np.testing.assert_array_equal(other, one)
        for one in (model, loaded):
            one.fit(people(), verbose=0)
        for one, other in zip(model.weights, loaded.weights, strict=True):
            np.testing.assert_allclose(other, one, atol=1e-6)

    def test_unfrozen_and_compiled_again_all_of_it_learns(self):
        model = frozen_model()
        model.fit(people(), verbose=0)
        model.trainable = True
        model.compile(keras.optimizers.Adam(1e-3), run_eagerly=True)
        before = values(model.network.weights)
        model.fit(people(), verbose=0)
        after = values(model.network.weights)
        assert all(np.abs(new - old).max() > 0 for old, new in zip(before, after, strict=True))

    @pytest.mark.parametrize("settings", [{}, {"weight_decay": 0.1}], ids=["plain", "weight decay"])
    def test_of_nothing_says_so_and_scores(self, settings):
        model = PoseModel(two_convolutions(14), **settings)
        model.network.trainable = False
        model.compile(keras.optimizers.Adam(0.01), run_eagerly=True)
        before = values(model.weights)
        with pytest.warns(UserWarning, match="The model does not have any trainable weights"):
            history = model.fit(people(), verbose=0).history
        assert history["loss"][0] > 0
        for old, new in zip(before, values(model.weights), strict=True):
            np.testing.assert_array_equal(new, old)
