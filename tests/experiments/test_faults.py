"""Faults that are injected into whole runs: whatever happens, the folder is whole and the run goes on.

Writers fail at every one of their writes, disks are small, and signals come at any moment.
"""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress

import keras
import numpy as np
import pytest
from disks import small_file_system
from networks import two_convolutions_in_place_of_p2net

from p2net_tf.config.loading import dump_config, load_config
from p2net_tf.experiments.runs import run_experiment
from p2net_tf.export.saved_model import export_saved_model
from p2net_tf.inference.keras_file import open_network
from p2net_tf.training.callbacks import read_history
from p2net_tf.training.checkpoints import _read
from p2net_tf.utils import files
from p2net_tf.utils.console import messages
from p2net_tf.utils.exceptions import Interrupted, UserError
from p2net_tf.utils.files import WriteError, next_version

pytestmark = pytest.mark.slow


def assert_whole(folder) -> None:
    """Everything in a run folder can be read, and nothing is left of what was not finished."""
    for path in folder.rglob("*"):
        assert ".partial" not in path.name and ".damaged" not in path.name, path
        if path.suffix == ".keras":
            open_network(path)
        elif path.suffix == ".npz":
            assert _read(path)["step"] >= 0
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.name == "history.csv":
            assert read_history(path)
        elif path.suffix == ".yaml":
            load_config(path)
    assert not (folder / ".run.lock").exists()


def weights_in(folder) -> list[np.ndarray]:
    return [np.asarray(weight) for weight in keras.models.load_model(folder / "last.keras").weights]


def assert_same_run(folder, straight) -> None:
    for one, other in zip(weights_in(folder), weights_in(straight), strict=True):
        np.testing.assert_array_equal(one, other)
    assert (folder / "history.csv").read_bytes() == (straight / "history.csv").read_bytes()
    assert json.loads((folder / "report.json").read_text())["headline"].keys() == {"AP", "AP50", "AR"}


@pytest.fixture(scope="module")
def config(tiny, rendered):
    """Two epochs of three steps with validation, averaged weights and a test part."""
    test = [{"format": "coco", "root": str(rendered), "split": "validation"}]
    return tiny(data={"test": test}, training={"epochs": 2, "checkpoint_every": 2})


@pytest.fixture(scope="module")
def run(config):
    def run(folder, resume=False):
        with two_convolutions_in_place_of_p2net():
            return run_experiment(config, folder, resume=resume)

    return run


@pytest.fixture(scope="module")
def straight(run, tmp_path_factory):
    """A run that nothing happened to."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    run(folder)
    return folder


class Writes:
    """Counts what is written, each by its way onto the disk, and fails at one of them."""

    def __init__(self, monkeypatch, fails_at: int | None):
        self.count, self._fails_at, self._really = 0, fails_at, files._write_through
        monkeypatch.setattr(files, "_write_through", self)

    def __call__(self, path):
        self.count += 1
        if self.count == self._fails_at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._really(path)


@pytest.fixture(scope="module")
def number_of_writes(run, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        writes = Writes(patch, None)
        run(tmp_path_factory.mktemp("counted") / "run")
    return writes.count


class TestWritersThatFail:
    def test_at_every_write(self, run, straight, number_of_writes, tmp_path):
        """One after the other: the run is resumed, and fails at its next write, until there is none."""
        folder, failed = tmp_path / "run", 0
        assert number_of_writes > 12
        for attempt in range(1, number_of_writes + 1):
            shutil.rmtree(folder, ignore_errors=True)
            with pytest.MonkeyPatch.context() as patch:
                Writes(patch, attempt)
                with pytest.raises((WriteError, UserError)) as full:
                    run(folder)
            line = str(full.value)
            assert "\n" not in line and "cannot be written: No space left on device" in line, line
            assert "make room" in line and full.value.EXIT_CODE == 2
            if folder.exists():
                assert_whole(folder)
            failed += 1
            if attempt % 4 == 0:  # every one takes a run
                run(folder, resume=True)
                assert_same_run(folder, straight)
        assert failed == number_of_writes

    @pytest.mark.parametrize("fails_at", range(1, 6))
    def test_at_every_file_of_a_version(self, monkeypatch, tmp_path, fails_at):
        Writes(monkeypatch, fails_at)
        words = rf"^{tmp_path}: cannot be written: No space"
        with pytest.raises(WriteError, match=words), next_version(tmp_path) as scratch:
            for number in range(5):
                (scratch / f"{number}").write_text("x")
        assert os.listdir(tmp_path) == []


class TestSmallDisks:
    """As in the issue: whatever is free, one line, 2, and what was written is whole."""

    @contextmanager
    def filled(self, folder, free_kilobytes):
        """A disk on which another program leaves so much."""
        with small_file_system(folder, 64 * 1024):
            left = shutil.disk_usage(folder).free - free_kilobytes * 1024
            (folder / "filler").write_bytes(bytes(max(left, 0)))
            yield folder / "run"

    @pytest.mark.parametrize("kilobytes", [4, 40, 100, 180, 260, 400])
    def test_a_run(self, run, straight, tmp_path, kilobytes):
        with self.filled(tmp_path / "disk", kilobytes) as folder:
            with pytest.raises(UserError) as full:
                run(folder)
            line = str(full.value)
            assert "\n" not in line and str(folder) in line and full.value.EXIT_CODE == 2
            assert re.search(
                r"bytes are needed|bytes that were free|No space left on device for [\d,]+ bytes", line
            )
            if folder.exists():
                assert_whole(folder)
            (tmp_path / "disk" / "filler").unlink()
            run(folder, resume=True)
            assert_same_run(folder, straight)

    @pytest.mark.parametrize("kilobytes", [4, 60, 300])
    def test_an_export(self, straight, tmp_path, kilobytes):
        network, card = open_network(straight / "last.keras")
        with self.filled(tmp_path / "disk", kilobytes) as folder:
            with pytest.raises(WriteError, match=rf"^{folder}.*cannot be written: .*bytes"):
                export_saved_model(network, card, folder)
            assert not folder.exists() or os.listdir(folder) == []


DRIVER = """
import json, os, sys
sys.path[:0] = json.loads(sys.argv[1])
from networks import build_two_convolutions
from p2net_tf import cli
from p2net_tf.experiments import runs, training, worker

training.build_network = build_two_convolutions
for line in sys.stdin:  # processes with all imports done, which take seconds
    words, log = json.loads(line)
    child = os.fork()
    if not child:
        os.setsid()
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1), os.dup2(out, 2)
        sys.argv = ["p2net", *words]
        try:
            cli.main()
        except SystemExit as end:
            sys.stdout.flush()
            os._exit(end.code if isinstance(end.code, int) else 0)
        os._exit(0)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class TestSignals:
    @pytest.fixture(scope="class")
    def start(self, config, tmp_path_factory):
        """`start(folder, resume)`: the number of a process that trains, and what waits for its end."""
        place = tmp_path_factory.mktemp("signals")
        dump_config(config, place / "config.yaml")
        paths = [os.path.dirname(os.path.dirname(__file__)), os.getcwd()]
        driver = subprocess.Popen(
            [sys.executable, "-c", DRIVER, json.dumps(paths)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

        def start(folder, resume):
            words = ["train", str(place / "config.yaml"), "--out", str(folder), *["--resume"] * resume]
            print(json.dumps([words, str(place / "log.txt")]), file=driver.stdin, flush=True)
            number = int(driver.stdout.readline())
            return number, lambda: (int(driver.stdout.readline()), (place / "log.txt").read_text())

        yield start
        driver.stdin.close()
        driver.wait()

    def test_at_thirty_random_moments(self, start, tmp_path):
        began = time.monotonic()
        _, wait = start(tmp_path / "straight", False)
        assert wait()[0] == 0
        length = time.monotonic() - began
        random = np.random.default_rng(16)
        moments = random.uniform(0.05, 1.1, 30) * length
        seen, folder, number_of_runs = set(), tmp_path / "run0", 0
        for place, moment in enumerate(moments):
            sent = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)[place % 3]
            process, wait = start(folder, folder.exists())
            time.sleep(moment)
            with suppress(ProcessLookupError):  # it was done before
                os.kill(process, sent)
            code, log = wait()
            seen.add((sent, code))
            lines = [line for line in log.splitlines() if line.startswith(("error", "stopped", "Aborted"))]
            assert "Traceback" not in log, log
            if code == 0:  # it was done before
                assert_same_run(folder, tmp_path / "straight")
                number_of_runs += 1
                folder = tmp_path / f"run{number_of_runs}"
                continue
            allowed = {
                signal.SIGKILL: {-signal.SIGKILL},
                signal.SIGTERM: {Interrupted.EXIT_CODE, -signal.SIGTERM},
                signal.SIGINT: {1, 130, -signal.SIGINT},
            }
            assert code in allowed[sent], (sent, code, log)
            if code == Interrupted.EXIT_CODE:
                assert lines == [f"stopped saved in {folder}; resume it to go on"]
            with pytest.raises(ProcessLookupError):  # and nobody of its session
                os.killpg(process, 0)
        assert (signal.SIGTERM, Interrupted.EXIT_CODE) in seen
        _, wait = start(folder, folder.exists())
        code, log = wait()
        assert code == 0, log
        assert_same_run(folder, tmp_path / "straight")
        assert_whole(folder)


class TestFinishedRunsThatLostAFile:
    """A power cut after the last epoch: resuming ends as before, and says what became of it."""

    @pytest.fixture
    def folder(self, straight, tmp_path):
        return shutil.copytree(straight, tmp_path / "run")

    @pytest.mark.parametrize("name", ["history.csv", "best.keras"])
    def test_it_is_set_aside(self, run, folder, name):
        (folder / name).write_bytes((folder / name).read_bytes()[:-40])
        with messages.capture() as said:
            report = run(folder, resume=True)
        assert set(report["headline"]) == {"AP", "AP50", "AR"}
        assert f"damaged {folder / name} (" in said.get() and (folder / f"{name}.damaged").is_file()

    def test_a_file_in_place_of_a_folder(self, run, folder):
        shutil.rmtree(folder / "tensorboard")
        (folder / "tensorboard").write_text("")
        with pytest.raises(WriteError, match="tensorboard: cannot be written: Not a directory"):
            run(folder, resume=True)

    def test_a_name_that_is_no_utf_8(self, run, tmp_path):
        folder = tmp_path / os.fsdecode(b"run\xff")
        with pytest.raises(WriteError, match=r"run\\xff: is no UTF-8, which TensorFlow wants"):
            run(folder)
        assert not folder.exists()
