"""Ablations with trainings that take no time: resuming, failing, stopping, and being killed."""

import json
import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from p2net_tf.augment.policies import Policy, Stage
from p2net_tf.cli import app
from p2net_tf.config.loading import load_config
from p2net_tf.experiments import pool
from p2net_tf.experiments.ablation import run
from p2net_tf.experiments.ablation.run import ablate
from p2net_tf.experiments.cells import ExperimentError
from p2net_tf.experiments.pool import alone_in
from p2net_tf.utils.console import be_quiet
from p2net_tf.utils.exceptions import Interrupted
from tests.experiments.ablation.conftest import WORKER

AXES = ("loss.sigma=1,2", "model.exchange_units=1,3")
FILES = ("ablation.md", "ablation.csv", "ablation.png")
"""That are the same to the byte."""


@pytest.fixture
def go(config_file, tmp_path):
    """`go(folder, axes, seeds, ...)` with stand-ins; folders are below the test's own."""

    def call(folder="out", axes=AXES, seeds=(0, 1), overrides=(), **options):
        options = {"jobs": 2, "worker": WORKER, **options}
        return ablate(config_file, overrides, axes, seeds, tmp_path / folder, **options)

    return call


def trained(folder) -> list[str]:
    """Setting, seed and threads of what was begun since the last call, in order."""
    file = folder / "trained.txt"
    lines = file.read_text().splitlines() if file.exists() else []
    file.unlink(missing_ok=True)
    return sorted(lines)


def contents(folder) -> list[bytes]:
    return [(folder / name).read_bytes() for name in FILES]


class TestTrainings:
    def test_are_the_grid_under_every_seed(self, go, tmp_path):
        report = go()
        assert [line.rsplit(" ", 2)[0] for line in trained(tmp_path / "out")] == [
            f"loss.sigma={sigma},model.exchange_units={units} {seed}"
            for sigma in (1, 2)
            for units in (1, 3)
            for seed in (0, 1)
        ]
        # 0.5 + 0.01 sigma - 0.02 units + 0.001 seed units
        values = {entry["name"]: entry["values"] for entry in report["settings"]}
        assert values["loss.sigma=1, model.exchange_units=1"] == pytest.approx([0.49, 0.491])
        assert values["loss.sigma=2, model.exchange_units=3"] == pytest.approx([0.46, 0.463])
        effects = [effect["difference"]["mean"] for effect in report["effects"]]
        assert effects == pytest.approx([0.01, -0.04 + 0.001])
        assert json.loads((tmp_path / "out/ablation.json").read_text()) == report

    def test_find_their_configuration(self, go, tmp_path):
        go(seeds=[7], overrides=["training.epochs=3"])
        folder = tmp_path / "out/cells/loss.sigma=2,model.exchange_units=3/seed_7"
        config = load_config(folder / "config.yaml")
        assert (config.seed, config.loss.sigma, config.model.exchange_units) == (7, 2.0, 3)
        assert (config.training.epochs, config.name) == (3, "made_up")

    @pytest.mark.slow
    def test_the_baseline_may_be_another(self, go):
        report = go(seeds=[0], baseline=["loss.sigma=2"])
        assert report["baseline"] == "loss.sigma=2, model.exchange_units=1"
        assert report["effects"][0]["difference"]["mean"] == pytest.approx(-0.01)

    @pytest.mark.slow
    def test_the_threads_stay_whatever_runs_beside(self, go, tmp_path, monkeypatch):
        monkeypatch.setattr(pool, "usable_cores", lambda: 12)
        report = go(axes=AXES[:1], seeds=[0], jobs=2)
        assert {line.split()[2] for line in trained(tmp_path / "out")} == {"6"}
        assert "Threads of TensorFlow in every training: 6" in " ".join(report["notes"])
        go(axes=AXES[:1], seeds=[0, 1], jobs=1)
        assert {line.split()[2] for line in trained(tmp_path / "out")} == {"6"}
        go("by_default", axes=AXES[:1], seeds=[0, 1], jobs=None)  # 4 trainings at a time
        assert {line.split()[2] for line in trained(tmp_path / "by_default")} == {"3"}


class TestResuming:
    @pytest.mark.slow
    def test_finished_trainings_stay(self, go, tmp_path):
        go()
        before = contents(tmp_path / "out")
        trained(tmp_path / "out")
        go(jobs=1)
        assert trained(tmp_path / "out") == []
        assert contents(tmp_path / "out") == before

    @pytest.mark.slow
    def test_values_and_seeds_may_be_added(self, go, tmp_path):
        go()
        trained(tmp_path / "out")
        go(axes=["model.exchange_units=1,3", "loss.sigma=1,2,5"], seeds=[0, 1, 2])
        begun = [line.rsplit(" ", 2)[0] for line in trained(tmp_path / "out")]
        assert len(begun) == 18 - 8
        assert all("sigma=5" in line or line.endswith(" 2") for line in begun)

    def test_another_configuration_is_refused_by_its_sections(self, go, tmp_path):
        go(axes=AXES[:1], seeds=[0])
        with pytest.raises(ExperimentError) as caught:
            go(axes=AXES[:1], seeds=[0], overrides=["training.epochs=3"])
        lines = str(caught.value).splitlines()
        assert len(lines) == 2
        assert (
            "loss.sigma=1/seed_0 was made with another training; delete it, or take another folder"
            in lines[0]
        )
        # What no training reads may change.
        go(axes=AXES[:1], seeds=[0], overrides=["search.steps=3"])

    @pytest.mark.slow
    def test_another_policy_in_the_same_file_is_refused(self, go, tmp_path):
        policy, axes = (
            Policy([[Stage("Rotate", 0.5, 3)]], name="mine"),
            [f"augmentation=none,{tmp_path}/mine.yaml"],
        )
        policy.save(tmp_path / "mine.yaml")
        go(axes=axes, seeds=[0])
        config = load_config(tmp_path / "out/cells/augmentation=mine/seed_0/config.yaml")
        assert Policy.load(config.policy) == policy and "seed_0" in config.policy
        policy.model_copy(update={"name": "other"}).save(tmp_path / "mine.yaml")
        with pytest.raises(
            ExperimentError, match="^[^\n]*augmentation=mine/seed_0 was made with another policy"
        ):
            go(axes=axes, seeds=[0])


class TestFailures:
    def test_are_reported_and_the_others_go_on(self, go, tmp_path):
        report = go(axes=["loss.sigma=1,9,8"], seeds=[0, 1])
        fine, failed, killed = report["settings"]
        assert fine["values"] == pytest.approx([0.45, 0.453])  # with the three units of the configuration
        assert failed["failed"] == {"0": "its loss is not finite", "1": "its loss is not finite"}
        assert killed["failed"]["1"] == "its process ended by SIGKILL; see its log.txt"
        assert killed["difference"] is None
        assert "seed 0: its loss is not finite; seed 1" in (tmp_path / "out/ablation.md").read_text()

    def test_are_tried_again(self, go, tmp_path):
        go(axes=["loss.sigma=1,9"], seeds=[0])
        trained(tmp_path / "out")
        (tmp_path / "out/mended").touch()
        report = go(axes=["loss.sigma=1,9"], seeds=[0])
        assert [line.split()[0] for line in trained(tmp_path / "out")] == ["loss.sigma=9"]
        assert not any(entry["failed"] for entry in report["settings"])
        assert not list((tmp_path / "out").rglob("failed.txt"))

    @pytest.mark.parametrize(
        "options", [{"seeds": []}, {"seeds": [1, 1]}, {"jobs": 0}, {"axes": ["amp=on,off"]}]
    )
    def test_of_the_request_come_before_anything_is_done(self, go, tmp_path, options):
        with pytest.raises(ExperimentError):
            go(**options)
        assert not (tmp_path / "out").exists()


DRIVER = """
import sys
from p2net_tf.experiments.ablation.run import ablate
from p2net_tf.utils.exceptions import Interrupted
from tests.experiments.ablation.conftest import WORKER

try:
    axes = ["loss.sigma=1,2", "model.exchange_units=1,3"]
    ablate(sys.argv[1], [], axes, [0, 1], sys.argv[2], jobs=2, worker=WORKER)
except Interrupted as stop:
    print(stop)
    sys.exit(stop.EXIT_CODE)
"""


def await_trainings(folder, count):
    """Waits until so many have begun."""
    end = time.monotonic() + 60
    while len(list(folder.glob("cells/*/*/begun"))) < count:
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.slow
class TestStops:
    """Of an ablation in a process of its own, while its first two trainings are at work."""

    @pytest.fixture
    def start(self, config_file, tmp_path, processes):
        def call(stop) -> subprocess.Popen:
            (tmp_path / "out").mkdir()
            (tmp_path / "out/hang").touch()
            command = [sys.executable, "-c", DRIVER, str(config_file), str(tmp_path / "out")]
            processes.append(
                subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            )
            await_trainings(tmp_path / "out", 2)
            processes[0].send_signal(stop)
            said, _ = processes[0].communicate(timeout=60)
            (tmp_path / "out/hang").unlink()
            return processes[0].returncode, said

        return call

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_asked_to_stop_it_lets_its_trainings_save(self, go, start, tmp_path, number):
        code, said = start(number)
        assert code == Interrupted.EXIT_CODE
        assert said.strip() == f"all is saved in {tmp_path / 'out'}; the same command goes on"
        assert len(list((tmp_path / "out").glob("cells/*/*/saved"))) == 2
        assert not (tmp_path / "out/ablation.md").exists()

    def test_killed_it_takes_its_trainings_with_it(self, go, start, tmp_path):
        code, _ = start(signal.SIGKILL)
        assert code == -signal.SIGKILL
        with alone_in(tmp_path / "out"):  # free as soon as the last of them is gone
            pass
        assert not list((tmp_path / "out").glob("cells/*/*/saved"))
        trained(tmp_path / "out")
        go("out")
        assert len(trained(tmp_path / "out")) == 8
        go("undisturbed")
        assert contents(tmp_path / "out") == contents(tmp_path / "undisturbed")

    def test_a_training_stopped_by_somebody_else_stops_it(self, go, tmp_path):
        worker = (sys.executable, "-S", "-c", "import os, signal; os.kill(os.getpid(), signal.SIGTERM)")
        with pytest.raises(Interrupted, match="the same command goes on"):
            go(worker=worker)
        assert not list((tmp_path / "out").rglob("failed.txt"))


def test_two_ablations_do_not_share_a_folder(go, tmp_path, monkeypatch):
    monkeypatch.setattr("p2net_tf.experiments.pool._LOCK_SECONDS", 0.0)
    with (
        alone_in(tmp_path / "out"),
        pytest.raises(
            ExperimentError, match="another comparison is at work here; wait for it, or take another"
        ),
    ):
        go("out")


def test_every_training_has_a_gpu_of_its_own(go, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 5")
    worker = WORKER[-1] + "\n(folder / 'gpu').write_text(os.environ['CUDA_VISIBLE_DEVICES'])"
    go(axes=AXES[:1], seeds=[0], jobs=None, worker=(*WORKER[:-1], worker))
    assert {file.read_text() for file in (tmp_path / "out").rglob("gpu")} == {"2", "5"}


def test_the_command_line(monkeypatch, config_file, tmp_path):
    """What is typed reaches the ablation; the table is printed, and a failed training sets the exit code."""
    monkeypatch.setattr(run.ablate, "__kwdefaults__", {**run.ablate.__kwdefaults__, "worker": WORKER})

    def call(*options):
        arguments = ["ablate", config_file, "training.epochs=2", "--seeds", "2", "--out", tmp_path / "out"]
        result = CliRunner().invoke(app, [str(a) for a in (*arguments, *options)], env={"COLUMNS": "200"})
        be_quiet(False)
        return result

    result = call("--axis", "model.exchange_units=1,3", "--baseline", "model.exchange_units=3", "--jobs", "1")
    assert result.exit_code == 0, result.output
    assert len(trained(tmp_path / "out")) == 4
    for words in ("model.exchange_units", "baseline", "+0.0390 ± 0.0010", "better", "ablation.md"):
        assert words in result.stdout
    result = call("--axis", "loss.sigma=1,9", "--json")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert report["settings"][1]["failed"]["0"] == "its loss is not finite"
    assert report["circumstances"]["command"].split()[0] == "p2net"
    assert "Example:" in CliRunner().invoke(app, ["ablate", "--help"]).stdout
