"""`policy: learn` in a whole run: what it leaves, who is trained on when, resuming, devices."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tiny_runs import StopInSecondEpoch

from p2net_tf.augment.policies import Policy
from p2net_tf.augment.schedule import PolicySchedule
from p2net_tf.autopose.settings import SearchConfig
from p2net_tf.data.datasets import open_datasets
from p2net_tf.data.image_batches import WHOLE, InputShard
from p2net_tf.data.pipeline import TrainingBatch
from p2net_tf.data.samples import DataError
from p2net_tf.experiments.online_policy import OnlinePolicy
from p2net_tf.utils.yaml_files import ConfigError

LEARN = {
    "policy": "learn",
    "search": {
        "batch_size": 4, "chains_per_person": 2, "outer_fraction": 0.4,
        "online": {"every": 1, "join": 0.8},
    },
    "augment": {"flip_probability": 0.5},
}  # fmt: skip


def weights(network) -> list[np.ndarray]:
    return [np.asarray(weight) for weight in network.weights]


def contents(folder, name: str) -> bytes:
    return (folder / name).read_bytes()


@pytest.fixture(scope="module")
def straight(tiny, quick_train, tmp_path_factory):
    """`(folder, weights)` of an undisturbed run."""
    folder = tmp_path_factory.mktemp("runs") / "straight"
    return folder, weights(quick_train(tiny(**LEARN), folder))


@pytest.mark.slow
class TestRun:
    def test_leaves_what_was_learned(self, straight):
        folder, _ = straight
        assert len(Policy.load(folder / "policy_discrete.yaml").sub_policies) == 1
        schedule = PolicySchedule.load(folder)
        assert (schedule.draws, schedule.knots[-1].progress) == (2, pytest.approx(0.8, abs=0.07))
        with np.load(folder / "trajectory.npz") as file:
            tables = file["weights"]
        assert tables.shape[1:] == (1, 1, 11)
        assert np.ptp(tables[0]) == 0
        assert np.ptp(tables[-1]) > 0.01

    def test_goes_on_bit_by_bit(self, straight, tiny, quick_train, tmp_path):
        with pytest.raises(KeyboardInterrupt):
            quick_train(tiny(**LEARN), tmp_path, callbacks=[StopInSecondEpoch()])
        found = weights(quick_train(tiny(**LEARN), tmp_path, resume=True))
        for one, other in zip(found, straight[1], strict=True):
            np.testing.assert_array_equal(one, other)
        for name in ("policy.yaml", "policy_discrete.yaml"):
            assert contents(tmp_path, name) == contents(straight[0], name)
        with np.load(tmp_path / "trajectory.npz") as one, np.load(straight[0] / "trajectory.npz") as other:
            for name in one.files:
                np.testing.assert_array_equal(one[name], other[name])

    def test_is_replayed_on_other_data(self, straight, tiny, quick_train, rendered, tmp_path):
        """On the validation's people, with all of them from the start."""
        source = {"format": "coco", "root": str(rendered), "split": "validation"}
        config = tiny(policy=str(straight[0]), data={"train": [source], "validation": []})
        quick_train(config, tmp_path)
        assert contents(tmp_path, "policy.yaml") == contents(straight[0], "policy.yaml")

    def test_judges_by_a_set_of_its_own(self, tiny, quick_train, rendered, tmp_path):
        source = {"format": "coco", "root": str(rendered), "split": "validation"}
        config = tiny(**{**LEARN, "search": {**LEARN["search"], "outer": [source]}})
        quick_train(config, tmp_path)
        assert (tmp_path / "policy_discrete.yaml").is_file()


class TestWho:
    @pytest.fixture
    def online(self, tiny):
        config = tiny(**LEARN)
        samples, _ = open_datasets(config.data.train, config.data.skeleton, False)
        return OnlinePolicy.open(config, samples, False)[0]

    @pytest.mark.parametrize("replicas", [1, 2])
    def test_the_outer_people_join(self, online, replicas):
        """Ten epochs of two steps of 4: the first 16 batches are of the inner people alone."""
        shard = InputShard(0, 1, replicas)
        training = online.config.training.model_copy(update={"epochs": 10, "steps_per_epoch": 2})
        asked = []

        def batches_of(samples, store, first_index, shard):
            asked.append((len(samples), first_index))
            size = training.batch_size // shard.replicas
            rows = tf.data.Dataset.range(2**40).map(lambda i: i % len(samples)).batch(size)
            return rows.map(lambda rows: TrainingBatch(rows, rows, rows, rows + first_index))

        batches = online.batches(batches_of, None, training, 4, shard)
        rows = [batch.rows.numpy() for batch in batches.take(20 * replicas)]
        before, after = rows[: 15 * replicas], rows[15 * replicas :]
        assert asked == [(len(online.samples), 64), (len(online.inner), 4)]
        assert set(np.concatenate(before)) == set(online.inner)
        assert np.concatenate(after)[:4].tolist() == [0, 1, 2, 3]
        assert not set(online.inner) & set(online.outer)
        assert len(online.inner) + len(online.outer) == len(online.samples)

    def test_behind_the_join_there_is_everybody(self, online):
        asked = []
        training = online.config.training.model_copy(update={"epochs": 10, "steps_per_epoch": 2})
        online.batches(lambda *given: asked.append(given), None, training, 64, WHOLE)
        assert [(len(samples), first) for samples, _, first, _ in asked] == [(len(online.samples), 64)]

    def test_no_picture_is_in_both_parts(self, online):
        paths = [set(online.samples.image_paths[rows]) for rows in (online.inner, online.outer)]
        assert not paths[0] & paths[1]


class TestBadSettings:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"search": {"relaxation": "mixture"}}, "search.relaxation=expectation"),
            ({"training": {"precision": "mixed_float16"}}, "mixed_bfloat16"),
            ({"training": {"jit_compile": True}}, "training.jit_compile=false"),
        ],
    )
    def test_refused_before_there_is_a_folder(self, tiny, quick_train, tmp_path, changes, message):
        with pytest.raises(ConfigError, match=message):
            quick_train(tiny(**{**LEARN, **changes}), tmp_path / "run")
        assert not (tmp_path / "run").exists()

    def test_records_cannot_be_split(self, tiny):
        config = tiny(**LEARN)
        samples, _ = open_datasets(config.data.train, config.data.skeleton, False)
        from dataclasses import replace

        with pytest.raises(DataError, match="records are streamed"):
            OnlinePolicy.open(config, replace(samples, records=("a.tfrecord",)), False)

    def test_one_configuration_has_both_defaults(self):
        assert SearchConfig().outer_fraction is None


TWO_REPLICAS = """
    import json, sys
    from pathlib import Path
    import numpy as np
    from p2net_tf.training.strategy import make_strategy

    make_strategy(2)  # devices are fixed when TensorFlow starts
    from networks import two_convolutions_in_place_of_p2net
    from p2net_tf.config.experiment import ExperimentConfig
    from p2net_tf.experiments.training import train

    folder, sections = Path(sys.argv[1]), json.loads(sys.argv[2])
    ends = []
    with two_convolutions_in_place_of_p2net():
        for replicas in (1, 2):
            sections["training"] |= {"replicas": replicas}
            network = train(ExperimentConfig.model_validate(sections), folder / str(replicas))
            with np.load(folder / str(replicas) / "trajectory.npz") as file:
                ends.append([*map(np.asarray, network.weights), file["weights"], file["magnitudes"]])
    print(json.dumps([float(np.abs(a - b).max()) for a, b in zip(*ends)]))
"""


@pytest.mark.slow
def test_two_replicas_learn_as_one(tiny, tmp_path):
    """Weights, mixing weights and levels of the whole training."""
    training = {"batch_size": 4, "synchronized": None, "optimizer": "sgd", "learning_rate": 0.01}
    training.pop("synchronized")
    config = tiny(**{**LEARN, "training": training, "search": {**LEARN["search"], "inner_step": "sgd"}})
    here = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": f"{here.parent}:{here}"}
    command = [sys.executable, "-c", textwrap.dedent(TWO_REPLICAS), str(tmp_path)]
    document = json.dumps(config.model_dump(mode="json"))
    run = subprocess.run([*command, document], capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr[-3000:]
    differences = json.loads(run.stdout.splitlines()[-1])
    assert max(differences[:-2]) < 1e-4
    assert max(differences[-2:]) < 1e-3
