"""Whole searches on a few rendered people: what they leave, that they repeat and resume, what they refuse."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import yaml
from networks import two_convolutions_in_place_of_p2net
from typer.testing import CliRunner

from p2net_tf.augment.policies import Policy
from p2net_tf.autopose.expectation_step import ExpectationSearcher
from p2net_tf.autopose.settings import SearchConfig
from p2net_tf.autopose.space import SearchError
from p2net_tf.cli import app
from p2net_tf.config.experiment import ExperimentConfig
from p2net_tf.config.loading import load_config
from p2net_tf.config.networks import build_network
from p2net_tf.data.samples import DataError
from p2net_tf.data.synthetic.render import SceneOptions, write_synthetic
from p2net_tf.experiments import pose_training
from p2net_tf.experiments import training as trainer
from p2net_tf.experiments.search import _check_batches, build_searcher, run_search, search_cost
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.utils.console import be_quiet

STEPS, WARM_UP = 5, 2
FILES = (
    "config.yaml", "policy.yaml", "problems.json", "report.json", "sheet.jpg", "state.npz", "tensorboard",
    "trajectory.npz", "weights.png",
)  # fmt: skip


@pytest.fixture(scope="session")
def rendered(tmp_path_factory):
    root = tmp_path_factory.mktemp("rendered")
    write_synthetic(root, 24, seed=1, split="train", options=SceneOptions(64, 64, max_persons=2))
    return root


def make_config(root, seed: int = 0, **search) -> ExperimentConfig:
    """A search of seconds; validation and test data do not exist, and nobody misses them."""
    people = {"format": "coco", "root": str(root), "split": "train"}
    nowhere = {"format": "coco", "root": str(root / "nowhere"), "split": "test"}
    settings = {
        "sub_policies": 2, "stages": 1, "operations": ["Identity", "Rotate", "Brightness"],
        "warmup_steps": WARM_UP, "steps": STEPS, "batch_size": 8, "gap_steps": 2, "checkpoint_every": 2,
        "log_every": 2,
    }  # fmt: skip
    return ExperimentConfig.model_validate(
        {
            "name": "tiny",
            "seed": seed,
            "data": {"train": [people], "validation": [nowhere], "test": [nowhere]},
            "model": {
                "backbone": "small", "input_size": (32, 32), "width": 4, "backbone_width": 4,
                "exchange_units": 1, "refine_bottlenecks": (0, 0, 0, 1),
            },
            "loss": {"sigma": 1.0, "ohkm": 8},
            "training": {"batch_size": 8, "learning_rate": 1e-3},
            "search": {**settings, **search},
        }
    )  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def quick():
    """What takes the time of a short search is tracing P2Net; `test_p2net` does that once."""
    with two_convolutions_in_place_of_p2net():
        yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="module")
def finished(rendered, tmp_path_factory):
    """`(folder, report)` of an undisturbed search."""
    folder = tmp_path_factory.mktemp("searches") / "finished"
    return folder, run_search(make_config(rendered), folder, command="p2net search tiny")


def trajectory(folder) -> dict[str, np.ndarray]:
    with np.load(folder / "trajectory.npz") as arrays:
        return dict(arrays)


def assert_same_search(folder, other):
    assert (folder / "policy.yaml").read_bytes() == (other / "policy.yaml").read_bytes()
    first, second = trajectory(folder), trajectory(other)
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


@pytest.mark.slow
class TestFinished:
    def test_files(self, finished):
        folder, report = finished
        report = json.loads(json.dumps(report, default=float))
        assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
        assert json.loads((folder / "report.json").read_text()) == report
        assert any((folder / "tensorboard").iterdir())

    def test_trajectory(self, finished):
        arrays = trajectory(finished[0])
        assert arrays["operations"].tolist() == ["Identity", "Rotate", "Brightness"]
        for name in ("weights", "probabilities", "magnitudes", "spreads"):
            assert arrays[name].shape == (STEPS, 2, 1, 3)
        np.testing.assert_allclose(arrays["weights"].sum(axis=-1), 1, rtol=1e-5)
        assert (arrays["noise"] > 0).all() and np.isfinite(arrays["inner_loss"]).all()

    def test_policy(self, finished):
        folder, report = finished
        policy = Policy.load(folder)
        assert (len(policy.sub_policies), policy.stages, policy.name) == (2, 1, "tiny")
        assert policy.provenance["steps"] == STEPS and policy.provenance["seed"] == 0
        written = [[stage.model_dump() for stage in stages] for stages in policy.sub_policies]
        assert written == report["policy"]
        assert report["discretisation"]["steps"] == 2

    def test_cost(self, finished):
        """2 steps of warm-up, and 5 that are worth 2.8 each; with half an outer batch, 2.35 each."""
        assert finished[1]["gradient_steps"] == 16
        half = SearchConfig(warmup_steps=2, steps=5, batch_size=8, outer_batch_size=4)
        assert search_cost(half) == 14  # 13.75

    @pytest.mark.slow
    def test_trains(self, finished, tmp_path):
        config = make_config(Path(load_config(finished[0] / "config.yaml").data.train[0].root))
        changes = {"policy": str(finished[0]), "data": config.data.model_copy(update={"validation": []})}
        changes["training"] = config.training.model_copy(update={"epochs": 1, "steps_per_epoch": 1})
        trainer.train(config.model_copy(update=changes), tmp_path / "run")
        copy = (tmp_path / "run" / "policy.yaml").read_bytes()
        assert copy == (finished[0] / "policy.yaml").read_bytes()

    @pytest.mark.slow
    def test_same_seed_same_policy(self, finished, rendered, tmp_path):
        """`test_interrupted` repeats the search, too."""
        run_search(make_config(rendered), tmp_path / "again")
        assert_same_search(tmp_path / "again", finished[0])

    def test_another_seed_another_trajectory(self, finished, rendered, tmp_path):
        run_search(make_config(rendered, seed=1, gap_steps=0), tmp_path / "other")
        assert (trajectory(tmp_path / "other")["weights"] != trajectory(finished[0])["weights"]).any()


@pytest.mark.slow
class TestResume:
    @pytest.mark.parametrize(
        "stop", [pytest.param(0, marks=pytest.mark.slow), 3], ids=["after the warm-up", "in the search"]
    )
    def test_interrupted(self, finished, rendered, tmp_path, monkeypatch, stop):
        step, config = ExpectationSearcher.search_step, make_config(rendered, gap_steps=0)

        def interrupted(searcher, inner, outer, number):
            if number == stop:
                raise KeyboardInterrupt
            return step(searcher, inner, outer, number)

        with monkeypatch.context() as patch:
            patch.setattr(ExpectationSearcher, "search_step", interrupted)
            with pytest.raises(KeyboardInterrupt):
                run_search(config, tmp_path / "stopped")
        assert not (tmp_path / "stopped" / "policy.yaml").exists()
        with np.load(tmp_path / "stopped" / "state.npz") as state:
            assert int(state["warm"]) == WARM_UP and (len(state["weights"]) if stop else 0) == stop // 2 * 2
        run_search(config, tmp_path / "stopped", resume=True)
        assert_same_search(tmp_path / "stopped", finished[0])

    @pytest.mark.slow
    def test_killed(self, finished, rendered, tmp_path):
        folder = tmp_path / "killed"
        code = """
            import sys, time
            from pathlib import Path
            import test_search as t
            step = t.ExpectationSearcher.search_step

            def slowly(searcher, *arguments):
                time.sleep(1.0)
                return step(searcher, *arguments)

            t.ExpectationSearcher.search_step = slowly
            with t.two_convolutions_in_place_of_p2net():
                t.run_search(t.make_config(Path(sys.argv[1])), sys.argv[2])
        """
        here = Path(__file__).parent
        paths = f"{here.parents[1]}:{here.parent}:{here}"
        command = [sys.executable, "-c", textwrap.dedent(code), str(rendered), str(folder)]
        process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": paths})
        until = time.monotonic() + 300
        while not self.steps_in(folder) and time.monotonic() < until and process.poll() is None:
            time.sleep(0.1)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not (folder / "policy.yaml").exists() and self.steps_in(folder) in (2, 4)
        run_search(make_config(rendered), folder, resume=True)
        assert_same_search(folder, finished[0])

    @staticmethod
    def steps_in(folder) -> int:
        if not (folder / "state.npz").is_file():
            return 0
        with np.load(folder / "state.npz") as state:
            return len(state["weights"]) if "weights" in state else 0

    def test_another_search_is_not_written_over(self, finished, rendered):
        with pytest.raises(SearchError, match="holds a search already; resume it"):
            run_search(make_config(rendered), finished[0])

    def test_another_configuration_is_not_continued(self, finished, rendered):
        before = (finished[0] / "config.yaml").read_bytes()
        with pytest.raises(SearchError, match="begun with another configuration"):
            run_search(make_config(rendered, zeta=2e-3), finished[0], resume=True)
        assert (finished[0] / "config.yaml").read_bytes() == before

    def test_a_search_that_never_began_leaves_the_folder_free(self, tmp_path):
        with pytest.raises(DataError):
            run_search(make_config(tmp_path / "nowhere"), tmp_path / "out")
        assert not (tmp_path / "out" / "config.yaml").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("warm_up", "where"), [(2, "warm-up step 2"), (0, "search step [12]")])
def test_a_loss_that_is_not_finite(rendered, tmp_path, warm_up, where):
    config = make_config(rendered, weights_learning_rate=1e30, warmup_steps=warm_up)
    with pytest.raises(SearchError, match=f"not finite at {where}.*lower search.weights_learning_rate"):
        run_search(config, tmp_path / "out")


def test_training_settings_that_a_search_does_not_follow():
    """Its steps are updates of its own batch, at the rate that training has."""
    config = make_config(Path())
    changes = {"accumulate": 4, "batch_size": 8, "learning_rate": 0.01, "learning_rate_batch": 16}

    def searcher(**changes):
        training = config.training.model_copy(update=changes)
        return build_searcher(config.model_copy(update={"training": training}), Skeleton.load("coco17"))

    optimizer = searcher(**changes).model.optimizer
    assert optimizer.gradient_accumulation_steps is None
    assert float(optimizer.learning_rate) == pytest.approx(0.02)
    with pytest.raises(SearchError, match="mixed_float16.*set training.precision=float32"):
        searcher(precision="mixed_float16")


@pytest.mark.parametrize(
    ("search", "replicas", "message"),
    [
        ({"batch_size": 9}, 2, "batch_size: 9 people cannot be split over 2 replicas"),
        ({"outer_batch_size": 9}, 2, "outer_batch_size: 9 people"),
        ({"batch_size": 16, "outer_batch_size": 30}, 2, "outer_batch_size: 25 people"),
        ({"batch_size": 12}, 2, "12 crops are 3 people"),
        ({"batch_size": 3}, 1, "3 crops are 0 people"),
    ],
)
def test_batches_that_cannot_be_split(search, replicas, message):
    with pytest.raises(SearchError, match=message):
        _check_batches(make_config(Path(), **search).search, replicas, inner=100, outer=25)
    _check_batches(make_config(Path(), batch_size=16).search, 2, inner=100, outer=100)


@pytest.mark.slow
def test_mixture_writes_plain_json(rendered, tmp_path):
    """There is no estimate of its noise, and JSON has no NaN."""
    changes = {"relaxation": "mixture", "steps": 2, "operations": ["Identity", "Rotate"]}
    run_search(make_config(rendered, **changes), tmp_path / "out")
    report = json.loads((tmp_path / "out" / "report.json").read_text(), parse_constant=pytest.fail)
    assert report["noise"] is None


@pytest.mark.slow
def test_command_line_prints_one_document(rendered, tmp_path):
    file = tmp_path / "tiny.yaml"
    settings = make_config(rendered, steps=1, warmup_steps=0, gap_steps=0).model_dump(mode="json")
    file.write_text(yaml.safe_dump(settings))
    result = CliRunner().invoke(app, ["search", str(file), "--out", str(tmp_path / "out"), "--json"])
    be_quiet(False)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["title"] == "tiny" and report["discretisation"]["gap"] == 0
    assert set(report["mean_weights"]) == {"Identity", "Rotate", "Brightness"}


@pytest.mark.slow
def test_p2net(rendered, tmp_path, monkeypatch):
    """The whole of it on the network of the paper, twice."""
    monkeypatch.setattr(pose_training, "build_network", build_network)
    config = make_config(rendered)
    config = config.model_copy(update={"model": config.model.model_copy(update={"input_size": (64, 64)})})
    for name in ("one", "two"):
        run_search(config, tmp_path / name)
    assert_same_search(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize(("operation", "magnitude"), [("Brightness", "[0,1]"), ("Rotate", "[6.7,10]")])
def test_planted_operation_is_found(tmp_path, monkeypatch, operation, magnitude):
    monkeypatch.setattr(pose_training, "build_network", build_network)
    overrides = [
        f"search.plant.operation={operation}",
        f"search.plant.magnitude={magnitude}",
        f"data.train.0.root={tmp_path / 'people'}",
    ]
    file = Path(__file__).parents[2] / "configs" / "planted_search.yaml"
    report = run_search(load_config(file, overrides), tmp_path / "out")
    assert next(iter(report["mean_weights"])) == operation
