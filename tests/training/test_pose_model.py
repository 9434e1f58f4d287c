"""PoseModel: what it logs, what it minimizes, and that Keras' `fit`, callbacks and files work with it.

That replicas change nothing is tested in `test_strategy.py`.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from networks import tiny_network, two_convolutions

from p2net_tf.augment.layer import PolicyAugmentation
from p2net_tf.augment.policies import Policy, Stage
from p2net_tf.augment.schedule import Knot, PolicySchedule, Share
from p2net_tf.losses.heatmap import HeatmapLoss, OHKMLoss
from p2net_tf.training.pose_model import PoseModel
from p2net_tf.training.scoring import Scoring


def random_people(number: int, seed: int = 0, size: int = 32):
    """Crops and keypoints, a quarter of these without a label."""
    rng = np.random.default_rng(seed)
    crops = rng.uniform(size=(number, size, size, 3)).astype("float32")
    labels = rng.integers(0, 4, (number, 3, 1)) > 0
    keypoints = np.concatenate([rng.uniform(4, size - 4, (number, 3, 2)), 2 * labels], axis=-1)
    return crops, keypoints.astype("float32")


def batches(people, batch_size: int) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices(people).batch(batch_size)


def tiny_model(learning_rate: float = 0.0, eager: bool = True, **options) -> PoseModel:
    """One step costs less eagerly than the tracing of its graph would."""
    keras.utils.set_random_seed(0)
    model = PoseModel(tiny_network(input_size=(32, 32)), **options)
    model.compile(keras.optimizers.SGD(learning_rate), run_eagerly=eager)
    return model


def kernels_of(model) -> dict[str, np.ndarray]:
    return {w.path: w.numpy() for w in model.trainable_weights if w.path.endswith("kernel")}


@pytest.mark.slow
def test_the_logged_losses_are_those_of_the_losses():
    """One batch, learning rate 0: means over persons of L2 over the four outputs, of L2*, and their sum."""
    model = tiny_model(intermediate_weight=0.5, final_weight=2.0, sigma=1.5, ohkm=2)
    crops, keypoints = random_people(4)
    logs = {
        name: column[0]
        for name, column in model.fit(batches((crops, keypoints), 4), verbose=0).history.items()
    }
    maps = model.network(crops, training=True)
    parallel = np.mean([HeatmapLoss(1.5)(keypoints, maps[f"parallel_{s}"]) for s in (4, 8, 16, 32)])
    refine = float(OHKMLoss(2, sigma=1.5)(keypoints, maps["heatmaps"]))
    assert parallel > 0.1
    assert logs["intermediate_loss"] == pytest.approx(parallel, rel=1e-5)
    assert logs["final_loss"] == pytest.approx(refine, rel=1e-5)
    assert logs["loss"] == pytest.approx(0.5 * parallel + 2.0 * refine, rel=1e-5)


@pytest.mark.slow
def test_logs_are_means_over_persons_not_batches():
    """Six people in batches of four and two score as they do in one batch."""
    model = tiny_model()
    people = random_people(6)
    uneven, whole = (model.evaluate(batches(people, size), verbose=0, return_dict=True) for size in (4, 6))
    assert set(whole) == {"loss", "intermediate_loss", "final_loss", "accuracy"}
    assert uneven == pytest.approx(whole, rel=1e-5)


@pytest.mark.slow
def test_people_who_only_fill_a_batch_up_do_not_count():
    """Four people and two blank ones score as the four do alone, penalty included; so in a blank batch."""
    model = tiny_model(weight_decay=0.1)
    people = random_people(6)
    present = np.float32([1, 1, 0, 1, 0, 1])
    alone = tuple(part[present == 1] for part in people)
    filled = batches((*people, present), 6).concatenate(batches((*people, 0 * present), 6))
    expected = model.evaluate(batches(alone, 6), verbose=0, return_dict=True)
    assert Scoring(model, filled).score() == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_weight_decay_adds_its_share_to_the_gradient_of_kernels_alone():
    """One SGD step at rate 1 with and without decay differs by `weight_decay * kernel`, elsewhere by 0."""
    people = batches(random_people(4), 4)
    plain, decayed = tiny_model(1.0), tiny_model(1.0, weight_decay=0.1)
    before = [w.numpy() for w in plain.trainable_weights]
    kernels = [w.path.endswith("kernel") for w in plain.trainable_weights]
    logs = [model.fit(people, verbose=0).history for model in (plain, decayed)]
    for start, kernel, one, other in zip(
        before, kernels, plain.trainable_weights, decayed.trainable_weights, strict=True
    ):
        expected = 0.1 * start if kernel else np.zeros_like(start)
        np.testing.assert_allclose(one.numpy() - other.numpy(), expected, rtol=1e-3, atol=1e-5)
    penalty = 0.05 * sum(np.sum(w**2) for w, kernel in zip(before, kernels, strict=True) if kernel)
    assert logs[1]["loss"][0] - logs[0]["loss"][0] == pytest.approx(penalty, rel=1e-4)


def test_the_paper_keeps_10_of_17_hard_keypoints():
    assert PoseModel(tiny_network(17, (32, 32))).ohkm == 10
    assert PoseModel(tiny_network(17, (32, 32)), ohkm=3).final_loss.hard == 3


class TestAugmentation:
    DARK = Policy([[Stage("Brightness", 1, 0)]])
    """A tenth of the light."""

    @pytest.mark.slow
    def test_training_sees_augmented_crops_and_validation_plain_ones(self):
        crops, keypoints = random_people(4)
        people = batches((crops, keypoints), 4)

        def dark():
            return tiny_model(augmentation=PolicyAugmentation(self.DARK))

        def loss(model, people):
            return model.fit(people, verbose=0).history["loss"][0]

        found, darkened = loss(dark(), people), batches((0.1 * crops, keypoints), 4)
        assert found == pytest.approx(loss(tiny_model(), darkened), rel=1e-5)
        assert found != pytest.approx(loss(tiny_model(), people), rel=1e-3)
        scores = [model.evaluate(people, verbose=0, return_dict=True) for model in (dark(), tiny_model())]
        assert scores[0] == pytest.approx(scores[1], rel=1e-6)

    @pytest.mark.slow
    def test_keypoints_move_with_the_crops(self):
        """The labels of the loss are those of the augmented crop."""
        crops, keypoints = random_people(4)
        policy = Policy([[Stage("Rotate", 1, 8, 2)]])
        moved = tuple(part.numpy() for part in policy(crops, keypoints, (3, 0)))
        augmented = tiny_model(augmentation=PolicyAugmentation(policy, seed=3))
        found = augmented.fit(batches((crops, keypoints), 4), verbose=0).history
        expected = tiny_model().fit(batches(moved, 4), verbose=0).history
        assert found["loss"] == pytest.approx(expected["loss"], rel=1e-5)

    @pytest.mark.slow
    def test_a_file_keeps_policy_and_draws(self, tmp_path):
        policy = Policy([[Stage("Rotate", 0.5, 5, 5)], [Stage("Cutout", 1, 3)]], "mine", {"seed": 1})
        model = tiny_model(augmentation=PolicyAugmentation(policy, seed=3))
        people = random_people(4)
        model.fit(batches(people, 2), verbose=0)
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        assert loaded.augmentation.policy == policy
        third, expected = loaded.augmentation(people, training=True), policy(*people, (3, 2))
        for one, other in zip(third, expected, strict=True):
            np.testing.assert_array_equal(one, other)

    @pytest.mark.slow
    def test_a_schedule_follows_the_steps_of_fit_and_goes_on_from_a_file(self, tmp_path):
        """Losses are those of crops as dark as the step says: of 6 steps the first three become darker."""
        knots = [Knot(0, [Share("Brightness", 1, 5)]), Knot(0.5, [Share("Brightness", 1, 0)])]
        schedule = PolicySchedule(draws=1, knots=knots)
        crops, keypoints = random_people(4)

        class Losses(keras.callbacks.Callback):
            def __init__(self):
                super().__init__()
                self.found = []

            def on_train_batch_end(self, batch, logs=None):
                self.found.append(logs["loss"])

        def losses(model, crops, epochs):
            seen = Losses()
            model.fit(batches((crops, keypoints), 4), epochs=epochs, verbose=0, callbacks=[seen])
            return seen.found

        model = tiny_model(augmentation=PolicyAugmentation(schedule, steps=6))
        found = losses(model, crops, 2)
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        assert (loaded.augmentation.policy, loaded.augmentation.steps) == (schedule, 6)
        found += losses(loaded, crops, 2)
        expected = [losses(tiny_model(), crops * factor, 1)[0] for factor in (1, 0.7, 0.4, 0.1)]
        assert found == pytest.approx(expected, rel=1e-4)
        assert len({round(loss, 6) for loss in found}) == 4


@pytest.mark.slow
def test_fit_learns_and_calls_back(tmp_path):
    model = tiny_model(1e-3, eager=False)
    seen = []
    callbacks = [
        keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(sorted(logs))),
        keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", monitor="val_loss", save_best_only=True),
    ]
    people = batches(random_people(8), 4)
    history = model.fit(people, validation_data=people, epochs=4, verbose=0, callbacks=callbacks).history
    names = ["accuracy", "loss", "intermediate_loss", "final_loss"]
    assert seen == [sorted(names + [f"val_{name}" for name in names])] * 4
    assert history["loss"][-1] < history["loss"][0]
    best = keras.saving.load_model(tmp_path / "best.keras")
    found = best.evaluate(people, verbose=0, return_dict=True)["loss"]
    assert found == pytest.approx(min(history["val_loss"]), rel=1e-5)


def test_fit_traces_its_step_once():
    """TensorFlow would do it twice if the step made the variables of the optimizer."""
    traces = []

    class Counted(PoseModel):
        def train_step(self, data):
            traces.append(data)
            return super().train_step(data)

    model = Counted(two_convolutions(), ohkm=2)
    model.compile(keras.optimizers.Adam())
    model.fit(batches(random_people(8), 4), verbose=0)
    assert len(traces) == 1


@pytest.mark.slow
def test_a_file_gives_the_model_back(tmp_path):
    model = tiny_model(0.1, sigma=1.5, ohkm=2, intermediate_weight=0.5, final_weight=2.0, weight_decay=1e-4)
    crops, keypoints = random_people(4)
    model.fit(batches((crops, keypoints), 4), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    options = ("sigma", "ohkm", "intermediate_weight", "final_weight", "weight_decay")
    assert [getattr(loaded, name) for name in options] == [1.5, 2, 0.5, 2.0, 1e-4]
    before, after = model(crops), loaded(crops)
    for name in before:
        np.testing.assert_array_equal(after[name], before[name])
    for one, other in zip(kernels_of(model).values(), kernels_of(loaded).values(), strict=True):
        np.testing.assert_array_equal(other, one)


@pytest.mark.slow
def test_a_file_goes_on_training_where_the_model_stopped(tmp_path):
    """With `compile()` as it comes: the paper's schedule and the moments of Adam are in the file."""
    model = PoseModel(two_convolutions(), ohkm=2)
    model.compile()
    people = batches(random_people(8), 4)
    model.fit(people, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert int(loaded.optimizer.iterations) == 2
    assert float(loaded.optimizer.learning_rate) == float(model.optimizer.learning_rate)
    for one, other in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(other, one)
    for one in (model, loaded):
        one.fit(people, verbose=0)
    for one, other in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_allclose(other, one, atol=1e-6)
