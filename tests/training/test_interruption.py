"""Runs that are killed, or asked to stop, end with the weights of an undisturbed one."""

import hashlib
import json
import os
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest

from p2net_tf.config.loading import dump_config
from p2net_tf.training.health import NotFiniteError
from p2net_tf.training.interruption import Interruption
from p2net_tf.utils.exceptions import Interrupted

STEPS = 3
"""Of an epoch of `config`."""


class At(keras.callbacks.Callback):
    """Does something after a training step of the whole run, or after its first validation."""

    def __init__(self, action, step=None):
        super().__init__()
        self._action, self._step, self._epoch = action, step, 0

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self._step == self._epoch * STEPS + batch + 1:
            self._action()

    def on_epoch_end(self, epoch, logs=None):
        if self._step is None:
            self._action()


def sha256(folder) -> str:
    """Of all weights of `last.keras`."""
    digest = hashlib.sha256()
    for weight in keras.models.load_model(folder / "last.keras").weights:
        digest.update(np.asarray(weight).tobytes())
    return digest.hexdigest()


def sigterm():
    os.kill(os.getpid(), signal.SIGTERM)


def crash():
    raise MemoryError


@pytest.fixture(scope="module")
def config(tiny):
    return tiny(training={"epochs": 3, "steps_per_epoch": STEPS, "checkpoint_every": 2})


@pytest.fixture(scope="module")
def straight(config, quick_train, tmp_path_factory):
    """The folder of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp("straight")
    quick_train(config, folder)
    return folder


@pytest.fixture
def train_with(config, quick_train, tmp_path):
    """A run with one more callback."""
    return lambda callback: quick_train(config, tmp_path, callbacks=[callback])


@pytest.fixture
def assert_ends_the_same(config, straight, quick_train, tmp_path):
    def check():
        quick_train(config, tmp_path, resume=True)
        assert sha256(tmp_path) == sha256(straight)
        assert (tmp_path / "history.csv").read_bytes() == (straight / "history.csv").read_bytes()

    return check


class TestInterruption:
    def test_a_signal_is_a_request(self):
        with Interruption("saved") as interruption:
            assert not interruption.requested
            sigterm()
            assert interruption.requested
            with pytest.raises(Interrupted, match="^saved$"):
                interruption.leave()

    def test_with_nothing_to_lose_it_ends_at_once(self):
        with Interruption("saved") as interruption:
            interruption.nothing_to_lose = True
            with pytest.raises(Interrupted):
                sigterm()

    def test_what_native_code_makes_of_it_is_an_interruption(self):
        """As of TensorFlow's callbacks while a graph is traced."""
        with pytest.raises(Interrupted, match="^saved$") as caught, Interruption("saved") as interruption:
            interruption.nothing_to_lose = True
            try:
                sigterm()
            except Interrupted as error:
                raise SystemError("<built-in> returned a result with an exception set") from error
        assert isinstance(caught.value.__cause__, SystemError)

    @pytest.mark.parametrize("nothing_to_lose", [False, True])
    def test_an_error_without_a_signal_stays_itself(self, nothing_to_lose):
        with pytest.raises(SystemError), Interruption("saved") as interruption:
            interruption.nothing_to_lose = nothing_to_lose
            raise SystemError

    def test_an_error_before_the_work_was_saved_stays_itself(self):
        with pytest.raises(MemoryError), Interruption("saved"):
            sigterm()
            raise MemoryError

    def test_puts_the_handler_before_back(self):
        before = signal.getsignal(signal.SIGTERM)
        with Interruption("saved"):
            assert signal.getsignal(signal.SIGTERM) != before
        assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.slow
class TestStopping:
    """Of two convolutions; `TestKilledProcesses` does it to a P2Net."""

    def test_sigterm_saves_at_the_next_step(self, train_with, assert_ends_the_same, tmp_path):
        with pytest.raises(Interrupted, match=rf"saved in {tmp_path}; resume it to go on"):
            train_with(At(sigterm, 1))
        newest = max(path.name for path in (tmp_path / "checkpoints").iterdir())
        assert newest == "step_000000002.npz"
        assert_ends_the_same()

    def test_sigterm_after_a_validation_ends_it_at_once(self, train_with, assert_ends_the_same, tmp_path):
        with pytest.raises(Interrupted):
            train_with(At(sigterm))
        assert not (tmp_path / "history.csv").exists()
        assert_ends_the_same()

    def test_a_crash_and_a_damaged_checkpoint(self, train_with, assert_ends_the_same, tmp_path):
        """Costs the steps since the checkpoint before that one."""
        with pytest.raises(MemoryError):
            train_with(At(crash, 7))
        newest = max((tmp_path / "checkpoints").iterdir())
        newest.write_bytes(newest.read_bytes()[:1000])
        assert_ends_the_same()


DRIVER = """
import os, sys
import keras
from p2net_tf.config.loading import load_config
from p2net_tf.experiments.training import train
from p2net_tf.utils.exceptions import Interrupted

config, folder, step, number, resume = sys.argv[1:]

class Kill(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.optimizer.iterations.numpy()) == int(step):
            os.kill(os.getpid(), int(number))

try:
    train(load_config(config), folder, resume=bool(resume), callbacks=[Kill()])
except Interrupted as stop:
    sys.exit(stop.EXIT_CODE)
"""


@pytest.mark.slow
@pytest.mark.long
class TestKilledProcesses:
    """A run of 40 steps in processes of its own, as a script of a user's would start it."""

    @pytest.fixture(scope="class")
    def command(self, tiny, tmp_path_factory):
        training = {"epochs": 4, "steps_per_epoch": 10, "checkpoint_every": 3, "deterministic": True}
        path = tmp_path_factory.mktemp("killed") / "config.yaml"
        dump_config(tiny(training=training), path)

        def run(folder, step, number, resume):
            arguments = [path, folder, step, int(number), "resume" if resume else ""]
            return subprocess.run(
                [sys.executable, "-c", DRIVER, *map(str, arguments)],
                capture_output=True,
                text=True,
            )

        return run

    @pytest.fixture(scope="class")
    def undisturbed(self, command, tmp_path_factory):
        folder = tmp_path_factory.mktemp("undisturbed") / "run"
        assert command(folder, 0, signal.SIGKILL, False).returncode == 0
        return folder

    @pytest.mark.parametrize(
        ("number", "count", "code"), [(signal.SIGKILL, 3, -9), (signal.SIGTERM, 1, Interrupted.EXIT_CODE)]
    )
    def test_end_with_the_same_weights(self, command, undisturbed, tmp_path, number, count, code):
        steps = sorted(np.random.default_rng(7).choice(np.arange(1, 40), count, replace=False))
        for place, step in enumerate(steps):
            done = command(tmp_path, step, number, resume=place > 0)
            assert done.returncode == code, done.stderr
        assert not (tmp_path / "last.keras").exists()
        done = command(tmp_path, 0, number, resume=True)
        assert done.returncode == 0, done.stderr
        assert sha256(tmp_path) == sha256(undisturbed)
        assert (tmp_path / "history.csv").read_bytes() == (undisturbed / "history.csv").read_bytes()


class TestHealth:
    @pytest.mark.slow
    def test_a_loss_that_is_not_finite_stops_and_names_the_persons(self, tiny, quick_train, tmp_path):
        """With a rate that is far too high. The checkpoint of the step before is good."""
        config = tiny(
            data={"validation": []},
            training={
                "epochs": 20,
                "learning_rate": 1e12,
                "optimizer": "sgd",
                "checkpoint_every": 1,
                "warmup_steps": 0,
            },
        )
        with pytest.raises(NotFiniteError, match=r"loss is not finite at step \d+; .*training.learning_rate"):
            quick_train(config, tmp_path)
        report = json.loads((tmp_path / "not_finite.json").read_text())
        newest = max((tmp_path / "checkpoints").iterdir())
        assert newest.name == f"step_{report['step'] - 1:09d}.npz"
        assert report["what"] == "the loss"
        assert report["learning_rate"] > 1e11
        assert len(report["samples"]) == 4
        assert all(os.path.isfile(person["image"]) for person in report["samples"])
        with np.load(newest) as arrays:
            weights = [arrays[name] for name in arrays.files if name.startswith("network/")]
        assert all(np.isfinite(weight).all() for weight in weights)
