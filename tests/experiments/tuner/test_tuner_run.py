"""The black-box search: its space, its failures, its resuming, its budget; alone and distributed."""

import csv
import importlib
import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter

import keras_tuner
import pytest
from typer.testing import CliRunner

from p2net_tf.augment.policies import Policy
from p2net_tf.autopose.space import SearchSpace, make_space
from p2net_tf.cli import app
from p2net_tf.config.experiment import ExperimentConfig
from p2net_tf.data.synthetic.render import SceneOptions, write_synthetic
from p2net_tf.experiments import cells
from p2net_tf.experiments.tuner import run as tuner
from p2net_tf.experiments.tuner.oracles import make_oracle
from p2net_tf.experiments.tuner.policy_tuner import PolicySpace, PolicyTuner
from p2net_tf.experiments.tuner.trial import TrialResult
from p2net_tf.utils.console import be_quiet
from p2net_tf.utils.exceptions import UserError

ALGORITHMS = ["random", "hyperband", "bayesian"]
TRIALS, STEPS = 4, 9


def configuration(**settings) -> ExperimentConfig:
    """Of a search over one sub-policy of two stages, without data: objectives stand in for trainings."""
    source = {"format": "coco", "root": "nowhere"}
    return ExperimentConfig.model_validate(
        {
            "name": "tiny",
            "seed": settings.pop("seed", 0),
            "data": {"train": [source]},
            "search": {"sub_policies": 1, "stages": 2},
            "tuner": {"trials": TRIALS, "steps_per_trial": STEPS, "initial_trials": 2, **settings},
        }
    )


class Objective:
    """A loss that follows from the policy; `break_at` maps a call's number to what it raises or returns."""

    def __init__(self, break_at=None):
        self.break_at = break_at or {}
        self.policies = []

    def __call__(self, policy, steps, on_step):
        self.policies.append(policy)
        broken = self.break_at.get(len(self.policies))
        if isinstance(broken, BaseException):
            raise broken
        for _ in range(steps):
            on_step()
        loss = sum(stage.magnitude + stage.probability for row in policy.sub_policies for stage in row)
        return TrialResult(loss if broken is None else broken, 0.5, 1.0, 0.1)


def run(folder, objective=None, resume=False, **settings):
    chosen = objective or Objective()
    return tuner.tune(configuration(**settings), folder, lambda: chosen, resume)


def rows(folder) -> list[dict]:
    with (folder / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def without_seconds(records):
    return [(r.trial, r.status, r.policy, r.steps, r.validation_loss) for r in records]


def statuses_of_keras_tuner(folder) -> Counter:
    files = (folder / "trials").glob("trial_*/trial.json")
    return Counter(json.loads(file.read_text())["status"] for file in files)


class TestSpace:
    def test_has_three_hyperparameters_per_stage_and_every_value_occurs(self):
        """K * N * (operation, probability in tenths, level): 18 of them for K = 3, N = 2."""
        space = PolicySpace(make_space(3, 2, None))
        hp = keras_tuner.HyperParameters()
        space.build(hp)
        assert len(hp.space) == 18
        drawn = {h.name: {h.random_sample(seed) for seed in range(400)} for h in hp.space[:3]}
        sizes = {name.rpartition("/")[2]: len(found) for name, found in drawn.items()}
        assert sizes == {"operation": 11, "probability_tenths": 11, "magnitude": 11}

    def test_values_become_a_policy(self):
        hp = keras_tuner.HyperParameters()
        space = PolicySpace(SearchSpace(1, 1, ("Identity", "Rotate")))
        space.build(hp)
        hp.values = {
            "sub_policy_0/stage_0/operation": "Rotate",
            "sub_policy_0/stage_0/probability_tenths": 7,
            "sub_policy_0/stage_0/magnitude": 10,
        }
        (((stage,),)) = space.build(hp).sub_policies
        assert (stage.operation, stage.probability, stage.magnitude) == ("Rotate", 0.7, 10.0)

    def test_the_number_of_stages_and_the_strength_are_searched(self):
        hp = keras_tuner.HyperParameters()
        space = PolicySpace(make_space(2, 4, None), (1, 4), strength=True)
        space.build(hp)
        assert len(hp.space) == 2 + 2 * 4 * 3
        drawn = {h.name: {h.random_sample(seed) for seed in range(200)} for h in hp.space[:2]}
        assert drawn == {"stages": {1, 2, 3, 4}, "strength_tenths": set(range(1, 11))}
        hp.values |= {"stages": 3, "strength_tenths": 5, "sub_policy_1/stage_2/probability_tenths": 9}
        policy = space.build(hp)
        assert policy.stages == 3
        assert policy.sub_policies[1][2].probability == 0.45

    def test_fewer_than_the_fewest_are_refused(self):
        with pytest.raises(ValueError, match="the fewest come first"):
            configuration(stages=[3, 2])


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ALGORITHMS)
class TestSearch:
    def test_all_trials_are_completed_within_the_budget(self, algorithm, tmp_path):
        objective = Objective()
        found = run(tmp_path, objective, algorithm=algorithm)
        assert {record.status for record in found.records} == {"COMPLETED"}
        assert statuses_of_keras_tuner(tmp_path) == {"COMPLETED": len(found.records)}
        assert len(objective.policies) == len(found.records) == len(rows(tmp_path))
        assert found.gradient_steps == sum(int(row["steps"]) for row in rows(tmp_path)) <= TRIALS * STEPS
        if algorithm == "hyperband":  # 9 trials of 1 step, the best 3 of 3, the best of 9; the next of 3
            assert [record.steps for record in found.records] == [1] * 9 + [3] * 3 + [9] + [3] * 3
        else:
            assert [record.steps for record in found.records] == [STEPS] * TRIALS

    def test_the_best_policy_is_kept_with_its_provenance(self, algorithm, tmp_path):
        found = run(tmp_path, algorithm=algorithm)
        longest = max(record.steps for record in found.records)
        lowest = min(record.validation_loss for record in found.records if record.steps == longest)
        policy = Policy.load(tmp_path)
        assert policy == found.policy
        assert Objective()(policy, 1, lambda: None).validation_loss == pytest.approx(lowest)
        said = policy.provenance
        assert (said["algorithm"], said["validation_loss"]) == (algorithm, lowest)
        assert (said["trials"], said["gradient_steps"]) == (len(found.records), found.gradient_steps)
        assert (tmp_path / "trials.png").stat().st_size > 5000

    def test_the_seed_decides(self, algorithm, tmp_path):
        first, second, other = Objective(), Objective(), Objective()
        run(tmp_path / "first", first, algorithm=algorithm)
        run(tmp_path / "second", second, algorithm=algorithm)
        run(tmp_path / "other", other, algorithm=algorithm, seed=1)
        assert first.policies == second.policies
        assert not any(policy in first.policies for policy in other.policies)
        files = [(tmp_path / name / "policy.yaml").read_bytes() for name in ("first", "second")]
        assert files[0] == files[1]

    def test_a_killed_search_goes_on_without_repeating(self, algorithm, tmp_path):
        straight = run(tmp_path / "straight", algorithm=algorithm)
        killed, resumed = Objective({3: KeyboardInterrupt()}), Objective()
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "killed", killed, algorithm=algorithm)
        found = run(tmp_path / "killed", resumed, resume=True, algorithm=algorithm)
        assert without_seconds(found.records) == without_seconds(straight.records)
        assert len(killed.policies) - 1 + len(resumed.policies) == len(straight.records)
        assert found.policy == straight.policy

    def test_one_broken_trial_is_reported_and_the_others_complete(self, algorithm, tmp_path):
        objective = Objective({2: RuntimeError("out of paint\nand more")})
        found = run(tmp_path, objective, algorithm=algorithm)
        assert Counter(record.status for record in found.records) == {
            "FAILED": 1,
            "COMPLETED": len(found.records) - 1,
        }
        assert statuses_of_keras_tuner(tmp_path)["FAILED"] == 1
        broken = rows(tmp_path)[1]
        assert (broken["status"], broken["reason"]) == ("FAILED", "RuntimeError: out of paint")
        assert broken["policy"] == tuner.describe(objective.policies[1])
        assert broken["validation_loss"] == ""
        assert found.policy.provenance["failed_trials"] == 1

    def test_all_broken_is_an_error(self, algorithm, tmp_path):
        """keras-tuner itself would stop at the third, or hand out a broken trial as the best."""
        objective = Objective({number: RuntimeError("out of paint") for number in range(1, 100)})
        with pytest.raises(tuner.TunerError, match=r"all \d+ trials failed, .*RuntimeError: out of paint"):
            run(tmp_path, objective, algorithm=algorithm)
        assert len(objective.policies) >= TRIALS
        assert {row["status"] for row in rows(tmp_path)} == {"FAILED"}
        assert not (tmp_path / "policy.yaml").exists()


class TestFailures:
    @pytest.mark.parametrize("loss", [float("nan"), float("inf"), float("-inf")])
    def test_a_loss_that_is_no_number_is_a_failure(self, loss, tmp_path):
        found = run(tmp_path, Objective({1: loss}))
        assert (found.records[0].status, found.records[0].validation_loss) == ("FAILED", None)
        assert str(loss) in found.records[0].reason

    def test_the_reason_is_said_while_the_search_runs(self, tmp_path, capsys):
        run(tmp_path, Objective({2: RuntimeError("no [brush] left")}))
        printed = capsys.readouterr()
        assert "trial 1: failed (RuntimeError: no [brush] left)" in printed.err
        assert "Traceback" not in printed.err
        assert printed.out == ""

    def test_without_keras_tuner_it_says_how_to_install(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "keras_tuner", None)
        for module in ("run", "policy_tuner", "oracles", "library"):
            monkeypatch.delitem(sys.modules, f"p2net_tf.experiments.tuner.{module}")
        with pytest.raises(UserError, match=r"pip install 'p2net_tf\[tuner\]'"):
            importlib.import_module("p2net_tf.experiments.tuner.run")


@pytest.mark.slow
class TestResuming:
    def test_a_kill_between_any_two_writes(self, tmp_path, monkeypatch):
        """Each of the files is the last one in turn; every policy is trained once, in the same order.

        Twice only where the kill comes between a training and the file that keeps its result.
        """
        straight = Objective()
        expected = run(tmp_path / "straight", straight, trials=2)
        write, kills = cells.write_text, 0
        for last in range(100):
            folder, written, killed_at = tmp_path / str(last), [], []

            def killed_write(path, text, written=written, killed_at=killed_at, last=last):
                if len(written) == last:
                    killed_at.append(path)
                    raise KeyboardInterrupt
                written.append(path)
                write(path, text)

            before, after = Objective(), Objective()
            monkeypatch.setattr(cells, "write_text", killed_write)
            try:
                run(folder, before, trials=2)
                break
            except KeyboardInterrupt:
                kills += 1
            finally:
                monkeypatch.setattr(cells, "write_text", write)
            found = run(folder, after, resume=True, trials=2)
            assert without_seconds(found.records) == without_seconds(expected.records), last
            lost = killed_at[0].name == "cell.json"
            assert before.policies[: len(before.policies) - lost] + after.policies == straight.policies, last
        assert kills == 2 * 4  # asked for, begun, measured, told

    def test_a_finished_search_stays_and_may_grow(self, tmp_path):
        first, again, more = Objective(), Objective(), Objective()
        before = run(tmp_path, first)
        after = run(tmp_path, again, resume=True)
        assert (again.policies, after.records) == ([], before.records)
        grown = run(tmp_path, more, resume=True, trials=TRIALS + 2)
        assert len(more.policies) == 2
        assert grown.records[:TRIALS] == before.records

    def test_nothing_is_overwritten_or_mixed(self, tmp_path):
        run(tmp_path)
        with pytest.raises(tuner.TunerError, match="already holds a search; resume it"):
            run(tmp_path)
        with pytest.raises(tuner.TunerError, match="tuner changed since the search began"):
            run(tmp_path, resume=True, steps_per_trial=STEPS + 1)

    def test_another_keras_tuner_or_an_old_folder_is_refused(self, tmp_path):
        run(tmp_path, trials=1)
        journal = tmp_path / "trials/journal.json"
        journal.write_text(journal.read_text().replace('probability_tenths": ', 'probability_tenths": 1'))
        with pytest.raises(tuner.TunerError, match="does not propose the policies that the search"):
            run(tmp_path, resume=True, trials=1)
        journal.rename(tmp_path / "trials/oracle.json")
        with pytest.raises(tuner.TunerError, match=r"a search of p2net_tf 0\.1; choose another folder"):
            run(tmp_path, resume=True, trials=1)

    @pytest.mark.parametrize("algorithm", ALGORITHMS)
    def test_a_chief_that_was_killed_hands_out_first_what_its_workers_had(self, algorithm, tmp_path):
        """Two workers whose trials overlap; both are killed with their chief, and only one comes back."""

        def new_oracle(folder):
            settings = configuration(algorithm=algorithm, trials=8).tuner
            oracle = make_oracle(settings, seed=0)
            PolicyTuner(oracle, PolicySpace(make_space(1, 2, None)), None, settings.steps_per_trial, folder)
            oracle.open_journal(folder / "journal.json")
            return oracle

        def finish(oracle, trial):
            oracle.update_trial(trial.trial_id, {"val_loss": float(int(trial.trial_id) % 3)})
            trial.status = "COMPLETED"
            oracle.end_trial(trial)

        def values(trial):
            return trial.hyperparameters.values

        straight, killed = new_oracle(tmp_path / "straight"), new_oracle(tmp_path / "killed")
        for oracle in (straight, killed):
            trials = [oracle.create_trial(name) for name in ("a", "b", "c")]
            finish(oracle, trials[1])
            finish(oracle, trials[0])
            finish(oracle, oracle.create_trial("b"))
            begun = [trials[2], oracle.create_trial("a")]
        resumed = new_oracle(tmp_path / "killed")
        again = []
        for _ in begun:
            again.append(resumed.create_trial("only"))
            assert resumed.create_trial("only") is again[-1]  # asked twice
            finish(resumed, again[-1])
        assert [values(trial) for trial in again] == [values(trial) for trial in begun]
        for trial in begun:
            finish(straight, trial)
        assert values(resumed.create_trial("only")) == values(straight.create_trial("a"))

    def test_half_of_the_environment_of_a_distributed_search_is_refused(self, tmp_path, monkeypatch):
        monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
        with pytest.raises(tuner.TunerError, match="KERASTUNER_ORACLE_PORT and KERASTUNER_TUNER_ID"):
            run(tmp_path)


CONFIG = """
data:
  train: [{{format: coco, root: {root}, split: train}}]
  test: [{{format: coco, root: {root}/nowhere}}]
model:
  {{backbone: small, input_size: [64, 64], width: 4, backbone_width: 4, exchange_units: 1,
    refine_bottlenecks: [0, 0, 0, 0]}}
training: {{epochs: 2, batch_size: 4, learning_rate: 0.01}}
search: {{sub_policies: 1, stages: 1, batch_size: 6}}
tuner: {{trials: 3, steps_per_trial: 2}}
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    root = tmp_path_factory.mktemp("people")
    write_synthetic(root, 18, seed=1, options=SceneOptions(height=96, width=96, max_persons=2))
    path = root / "tiny.yaml"
    path.write_text(CONFIG.format(root=root), encoding="utf-8")
    return path


@pytest.mark.slow
def test_the_verb_trains_and_writes_its_folder(config, tmp_path):
    result = CliRunner().invoke(app, ["tune", str(config), "--out", str(tmp_path), "--json"])
    be_quiet(False)
    if result.exception is not None:
        raise result.exception
    report = json.loads(result.stdout)
    assert json.loads((tmp_path / "report.json").read_text())["trials"] == report["trials"]
    assert [trial["status"] for trial in report["trials"]] == ["COMPLETED"] * 3
    cost = report["scores"]["Cost"]
    assert cost["gradient steps"] == cost["budget of gradient steps"] == 6
    losses = [trial["validation_loss"] for trial in report["trials"]]
    assert report["headline"]["validation loss"] == min(losses)
    assert Policy.load(tmp_path).provenance["validation_loss"] == min(losses)
    names = {path.name for path in tmp_path.iterdir()}
    assert names >= {"policy.yaml", "trials.csv", "trials.png", "report.json", "config.yaml"}


@pytest.mark.slow
def test_two_workers_share_one_oracle(config, tmp_path):
    """Three processes on loopback. The chief starts when both workers wait, so that both get their share."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    out, processes = tmp_path / "out", {}
    command = [sys.executable, "-m", "p2net_tf", "tune", str(config), "tuner.trials=6", "--out", str(out)]

    def start(name):
        environment = {
            **os.environ,
            "KERASTUNER_ORACLE_IP": "127.0.0.1",
            "KERASTUNER_ORACLE_PORT": str(port),
            "KERASTUNER_TUNER_ID": name,
        }
        with (tmp_path / f"{name}.txt").open("wb") as log:
            processes[name] = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def said(name):
        return (tmp_path / f"{name}.txt").read_text()

    try:
        for name in ("tuner1", "tuner2"):
            start(name)
        deadline = time.monotonic() + 300
        while not all("asking for trials" in said(name) for name in processes):
            assert all(process.poll() is None for process in processes.values()), said("tuner1")
            assert time.monotonic() < deadline, said("tuner1")
            time.sleep(0.5)
        start("chief")
        for name, process in processes.items():
            assert process.wait(timeout=300) == 0, said(name)
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
    report = json.loads((out / "report.json").read_text())
    assert [trial["status"] for trial in report["trials"]] == ["COMPLETED"] * 6
    assert len({trial["policy"] for trial in report["trials"]}) == 6
    shares = Counter(trial["worker"] for trial in report["trials"])
    assert shares.keys() == {"tuner1", "tuner2"}
    for name, share in shares.items():
        assert f"{name} ran {share} trials" in said(name)
