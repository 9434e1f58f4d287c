"""What every network from pictures to boxes must do."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from layer_checks import randomize_weights
from tiny_detectors import OPTIONS, tiny_detector

from p2net_tf.detection.networks import Truth
from p2net_tf.detection.networks.one_stage import DenseHead

ALIKE = set(OPTIONS) - {"detnet", "one_stage"}
"""Networks whose parts these two have, too."""
IMAGES = np.random.default_rng(0).uniform(size=(2, 64, 96, 3)).astype("float32")
SIZES = np.int32([[64, 96], [50, 70]])


def truth_of(boxes, classes=None, crowd=None) -> Truth:
    boxes = np.float32(boxes)
    classes = np.zeros(boxes.shape[:2], np.int32) if classes is None else np.int32(classes)
    crowd = np.zeros(boxes.shape[:2], bool) if crowd is None else np.bool_(crowd)
    return Truth(tf.constant(boxes), tf.constant(classes), tf.constant(crowd))


def random_network(name, **options):
    network = tiny_detector(name, score_threshold=0.0, **options)
    randomize_weights(network, np.random.default_rng(0), deep=True)
    return network


@pytest.mark.parametrize("classes", [1, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "name", ["detnet", "one_stage", *(pytest.param(n, marks=pytest.mark.slow) for n in sorted(ALIKE))]
)
def test_detections(name, classes, tmp_path):
    network = random_network(name, num_classes=classes)
    found = {key: np.asarray(value) for key, value in network(IMAGES, SIZES).items()}
    assert found["boxes"].shape == (2, 10, 4)
    assert found["valid"].any()
    for b, (height, width) in enumerate(SIZES):
        valid = found["valid"][b]
        boxes, scores = found["boxes"][b][valid], found["scores"][b][valid]
        assert (boxes >= 0).all() and (boxes <= [width, height, width, height]).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        assert (np.diff(scores) <= 0).all() and (scores > 0).all() and (scores <= 1).all()
        assert set(found["classes"][b][valid]) <= set(range(classes))
        assert (found["classes"][b][~valid] == -1).all()
    _check_file(network, found, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONS)
def test_sizes_may_be_unknown_until_a_picture_comes(name):
    network = random_network(name)
    found = network(IMAGES, SIZES)
    specs = [tf.TensorSpec((None, None, None, 3)), tf.TensorSpec((None, 2), tf.int32)]
    traced = tf.function(network, input_signature=specs)(IMAGES, SIZES)
    np.testing.assert_allclose(traced["boxes"], found["boxes"], atol=0.01)
    np.testing.assert_allclose(traced["scores"], found["scores"], atol=1e-4)


def _check_file(network, found, tmp_path):
    network.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    assert type(loaded) is type(network)
    assert loaded.get_config() == network.get_config()
    np.testing.assert_array_equal(loaded(IMAGES, SIZES)["boxes"], found["boxes"])


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONS)
def test_losses_fall_where_they_are_trained_on(name):
    """With a picture that holds a crowd beside a person, too; all weights but those of empty maps learn."""
    keras.utils.set_random_seed(0)
    network = tiny_detector(name)
    boxes = [[[10, 10, 40, 60], [50, 5, 80, 50]], [[0, 0, 60, 50], [0, 0, 0, 0]]]
    truth = truth_of(boxes, [[0, 0], [0, -1]], [[False, False], [True, False]])
    optimizer = keras.optimizers.Adam(0.002)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            losses = network.losses_of(IMAGES, truth, sizes=SIZES)
            loss = tf.reduce_mean(tf.add_n(list(losses.values())))
        gradients = tape.gradient(loss, network.trainable_variables)
        optimizer.apply(gradients, network.trainable_variables)
        return losses, loss, [tf.reduce_any(g != 0) for g in gradients]

    losses, first, learns = step()
    assert {tuple(loss.shape) for loss in losses.values()} == {(2,)}
    assert np.isfinite(first) and first > 0
    still = [w.path for w, moves in zip(network.trainable_variables, learns, strict=True) if not moves]
    assert not [path for path in still if "output_" not in path and "lateral" not in path]
    for _ in range(25):
        _, last, _ = step()
    assert last < 0.6 * first


def test_statistics_of_a_normalized_head_are_of_all_maps():
    """Against plain NumPy: one mean and variance over the positions of both maps."""
    random = np.random.default_rng(0)
    head = DenseHead(width=6, depth=1, per_position=2, outputs=3, norm=True)
    maps = [random.normal(size=(2, h, w, 5)).astype("float32") for h, w in ((4, 6), (2, 3))]
    head.build([x.shape for x in maps])
    randomize_weights(head, random)
    hidden = [np.asarray(head.hidden[0](x)) for x in maps]
    flat = np.concatenate([x.reshape(-1, 6) for x in hidden])
    gamma, beta, moving_mean, moving_variance = (np.asarray(w) for w in head.norms[0].weights)

    def expected(mean, variance):
        outputs = []
        for x in hidden:
            normed = (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta
            outputs.append(np.reshape(head.output_conv(np.maximum(normed, 0)), (2, -1, 3)))
        return np.concatenate(outputs, axis=1)

    stored = expected(moving_mean, moving_variance)
    np.testing.assert_allclose(head(maps, training=False), stored, rtol=1e-4, atol=1e-4)
    seen = expected(flat.mean(axis=0), flat.var(axis=0))
    np.testing.assert_allclose(head(maps, training=True), seen, rtol=1e-4, atol=1e-4)
    assert head.compute_output_shape([x.shape for x in maps]) == seen.shape
    np.testing.assert_allclose(
        head.norms[0].moving_mean, 0.9 * moving_mean + 0.1 * flat.mean(axis=0), rtol=1e-5, atol=1e-6
    )
