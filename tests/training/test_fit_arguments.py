"""One table of what Keras' `fit` and `compile` take, each with what it does to a `PoseModel`."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from networks import two_convolutions

from p2net_tf.training.optimizers import LossScaleOptimizer
from p2net_tf.training.pose_model import PoseModel

callbacks = keras.callbacks
PEOPLE = 8


def people():
    rng = np.random.default_rng(0)
    keypoints = np.concatenate([rng.uniform(4, 28, (PEOPLE, 3, 2)), np.full((PEOPLE, 3, 1), 2)], axis=-1)
    return rng.uniform(size=(PEOPLE, 32, 32, 3)).astype("float32"), keypoints.astype("float32")


def batches(size: int = 4) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices(people()).batch(size)


def model_of(optimizer=None, kind=PoseModel, **arguments) -> PoseModel:
    keras.utils.set_random_seed(0)
    model = kind(two_convolutions(), ohkm=2)
    model.compile(optimizer or keras.optimizers.SGD(0.01), **{"run_eagerly": True, **arguments})
    return model


def values(model) -> list[np.ndarray]:
    return [weight.numpy() for weight in model.network.weights]


def assert_equal(one, other, tolerance: float = 0.0) -> None:
    for first, second in zip(one, other, strict=True):
        np.testing.assert_allclose(first, second, rtol=0, atol=tolerance)


@pytest.fixture(scope="module")
def eager() -> list[np.ndarray]:
    """The weights after two steps."""
    model = model_of()
    model.fit(batches(), verbose=0)
    return values(model)


class TestHowAStepIsRun:
    """The same two steps, whatever way they are run."""

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "arguments",
        [
            {"run_eagerly": False, "jit_compile": False},
            {"run_eagerly": False, "steps_per_execution": 2, "jit_compile": False},
            pytest.param({"run_eagerly": False, "jit_compile": True}, marks=pytest.mark.slow),
        ],
        ids=["graph", "steps_per_execution", "jit_compile"],
    )
    def test_gives_the_same_weights(self, eager, arguments):
        model = model_of(**arguments)
        model.fit(batches(), verbose=0)
        assert_equal(values(model), eager, 1e-6)
        assert int(model.optimizer.iterations) == 2

    def test_on_arrays(self, eager):
        model = model_of()
        model.fit(*people(), batch_size=4, shuffle=False, verbose=0)
        assert_equal(values(model), eager)

    def test_on_single_batches(self, eager):
        model = model_of()
        for crops, keypoints in batches():
            model.train_on_batch(crops, keypoints)
        assert_equal(values(model), eager)

    def test_in_a_train_step_of_a_sub_class(self, eager):
        class Counted(PoseModel):
            seen = 0

            def train_step(self, data):
                self.seen += 1
                return super().train_step(data) | {"seen": tf.constant(float(self.seen))}

        model = model_of(kind=Counted)
        history = model.fit(batches(), verbose=0).history
        assert_equal(values(model), eager)
        assert history["seen"] == [2.0]

    def test_in_a_train_step_written_anew(self):
        """As Keras' guide has it."""

        class Own(PoseModel):
            def train_step(self, data):
                crops, keypoints, _ = keras.utils.unpack_x_y_sample_weight(data)
                with tf.GradientTape() as tape:
                    loss = self.compute_loss(x=crops, y=keypoints, y_pred=self(crops, training=True))
                self.optimizer.apply(tape.gradient(loss, self.trainable_weights), self.trainable_weights)
                return self.compute_metrics(crops, keypoints, self(crops))

        model, usual = model_of(kind=Own), model_of()
        for one in (model, usual):
            one.train_on_batch(*people())
        assert_equal(values(model)[:1], values(usual)[:1], 1e-6)

    def test_with_gradients_accumulated(self):
        """Two batches are one update, along the mean."""
        model = model_of(keras.optimizers.SGD(0.01, gradient_accumulation_steps=2))
        before = values(model)[0]
        model.train_on_batch(*(part[:4] for part in people()))
        np.testing.assert_array_equal(values(model)[0], before)
        model.train_on_batch(*(part[4:] for part in people()))
        assert np.abs(values(model)[0] - before).max() > 0


class TestArguments:
    def test_initial_epoch(self):
        history = model_of().fit(batches(), initial_epoch=3, epochs=5, verbose=0)
        assert history.epoch == [3, 4]

    def test_steps_per_epoch(self):
        model = model_of()
        model.fit(batches().repeat(), steps_per_epoch=3, epochs=2, verbose=0)
        assert int(model.optimizer.iterations) == 6

    def test_validation_split_of_a_data_set_is_refused_by_keras(self):
        with pytest.raises(ValueError, match="`validation_split` is only supported for tensors or NumPy"):
            model_of().fit(batches(), validation_split=0.5, verbose=0)

    @pytest.mark.slow
    def test_validation_split_of_arrays(self):
        model = model_of()
        history = model.fit(*people(), validation_split=0.25, batch_size=6, verbose=0).history
        last = [part[6:] for part in people()]
        expected = model.evaluate(*last, verbose=0, return_dict=True)
        assert history["val_loss"][0] == pytest.approx(expected["loss"], rel=1e-6)

    def test_predict(self):
        model = model_of()
        found, expected = model.predict(people()[0], verbose=0), model.network(people()[0])
        for name, maps in expected.items():
            np.testing.assert_allclose(found[name], maps, atol=1e-6)


@pytest.mark.slow
class TestCallbacks:
    def test_learning_rate_scheduler(self):
        model = model_of()
        schedule = callbacks.LearningRateScheduler(lambda epoch: 0.1 / (epoch + 1))
        history = model.fit(batches(), epochs=2, verbose=0, callbacks=[schedule]).history
        np.testing.assert_allclose(history["learning_rate"], [0.1, 0.05], rtol=1e-6)

    def test_reduce_on_plateau(self):
        model = model_of(keras.optimizers.SGD(0.01))
        model.network.trainable = False  # a loss that stays
        model.compile(keras.optimizers.SGD(0.01), run_eagerly=True)
        reduce = callbacks.ReduceLROnPlateau(monitor="val_loss", factor=0.5, patience=1)
        options = {"validation_data": batches(), "callbacks": [reduce], "verbose": 0}
        with pytest.warns(UserWarning, match="any trainable weights"):
            model.fit(batches(), epochs=3, **options)
        assert float(model.optimizer.learning_rate) == pytest.approx(0.0025)

    def test_the_papers_schedule_cannot_be_set(self):
        model = model_of("paper")
        schedule = callbacks.LearningRateScheduler(lambda epoch: 0.1)
        with pytest.raises(TypeError, match="LearningRateSchedule"):
            model.fit(batches(), verbose=0, callbacks=[schedule])

    def test_terminate_on_nan(self):
        model = model_of()
        model.network.get_layer("heatmaps").bias.assign([np.nan] * 3)
        history = model.fit(batches(), epochs=3, verbose=0, callbacks=[callbacks.TerminateOnNaN()])
        assert history.epoch == [0]
        assert np.isnan(history.history["loss"][0])

    def test_early_stopping_gives_the_best_weights_back(self):
        model = model_of(keras.optimizers.SGD(1e4))  # every step makes it worse
        stop = callbacks.EarlyStopping(monitor="val_loss", patience=2, restore_best_weights=True)
        best = []
        keep = callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: best.append(values(model)))
        history = model.fit(batches(), epochs=9, validation_data=batches(), verbose=0, callbacks=[keep, stop])
        assert history.epoch == [0, 1, 2]
        assert_equal(values(model), best[0])

    def test_tensorboard_and_csv(self, tmp_path):
        kept = [
            callbacks.TensorBoard(tmp_path / "board", write_graph=False),
            callbacks.CSVLogger(tmp_path / "log.csv"),
        ]
        model_of().fit(batches(), verbose=0, callbacks=kept)
        assert list((tmp_path / "board/train").glob("events.*"))
        header = (tmp_path / "log.csv").read_text().splitlines()[0]
        assert header.startswith("epoch,accuracy,final_loss,intermediate_loss,loss")

    def test_backup_and_restore_goes_on(self, tmp_path):
        straight = model_of(keras.optimizers.Adam(0.01))
        straight.fit(batches(), epochs=3, verbose=0)

        def stop(epoch, logs):
            if epoch == 1:
                raise KeyboardInterrupt

        backup = lambda: callbacks.BackupAndRestore(tmp_path / "backup")  # noqa: E731
        stopped = model_of(keras.optimizers.Adam(0.01))
        with pytest.raises(KeyboardInterrupt):
            stopped.fit(
                batches(),
                epochs=3,
                verbose=0,
                callbacks=[backup(), callbacks.LambdaCallback(on_epoch_begin=stop)],
            )
        resumed = model_of(keras.optimizers.Adam(0.01))
        resumed.fit(batches(), epochs=3, verbose=0, callbacks=[backup()])
        assert_equal(values(resumed), values(straight), 1e-6)


class TestMixedPrecision:
    @pytest.fixture(params=["mixed_bfloat16", "mixed_float16"])
    def precision(self, request):
        keras.config.set_dtype_policy(request.param)
        yield request.param
        keras.config.set_dtype_policy("float32")

    @pytest.mark.slow
    def test_scales_the_loss_where_it_must_and_learns(self, precision):
        keras.utils.set_random_seed(0)
        model = PoseModel(two_convolutions(dtype=precision), ohkm=2)
        model.compile(keras.optimizers.SGD(0.01), run_eagerly=True)
        assert isinstance(model.optimizer, LossScaleOptimizer) == (precision == "mixed_float16")
        before = values(model)
        history = model.fit(batches(), epochs=4, verbose=0).history
        assert history["loss"][-1] < history["loss"][0]
        assert {value.dtype for value in values(model)} == {np.dtype("float32")}
        assert np.abs(values(model)[0] - before[0]).max() > 0

    def test_does_not_where_told_not_to(self):
        keras.config.set_dtype_policy("mixed_float16")
        model = PoseModel(two_convolutions(dtype="mixed_float16"))
        keras.config.set_dtype_policy("float32")
        model.compile(keras.optimizers.SGD(0.01), auto_scale_loss=False)
        assert type(model.optimizer) is keras.optimizers.SGD
