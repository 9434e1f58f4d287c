"""The comparison of policies: its accounts with made-up trainings and searches, and one real run."""

import json
import math
import sys
from functools import partial
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from networks import two_convolutions_in_place_of_p2net
from PIL import Image
from typer.testing import CliRunner

from p2net_tf.augment.policies import Policy, Stage
from p2net_tf.augment.policy_files import PolicyError
from p2net_tf.augment.schedule import Knot, PolicySchedule, Share, load_policy
from p2net_tf.cli import app
from p2net_tf.config.experiment import ExperimentConfig
from p2net_tf.config.loading import dump_config
from p2net_tf.data.synthetic.render import SceneOptions, write_synthetic
from p2net_tf.experiments import compare as comparison
from p2net_tf.experiments.budget import charge, cut_epochs
from p2net_tf.experiments.cells import ExperimentError, refuse_other_requests
from p2net_tf.experiments.compare import ARMS, compare, table_of
from p2net_tf.experiments.worker import Engines, run_cell
from p2net_tf.training import training_input
from p2net_tf.training.checkpoints import Checkpoints
from p2net_tf.utils.console import be_quiet
from p2net_tf.utils.exceptions import Interrupted

BUDGET = 1000
COSTS = {"tuner": (37.2, 420.0, 611.5), "learned": (250.4, 251.0, 13.01)}
"""Of the searches of seeds 0, 1, 2, in gradient-step equivalents."""
FOUND = Policy([[Stage("Rotate", 0.5, 3)]], name="found")


def make_config(**changes) -> ExperimentConfig:
    sections = {
        "name": "made_up",
        "data": {part: [{"format": "coco", "root": "nowhere"}] for part in ("train", "validation", "test")},
        "training": {"batch_size": 4, "warmup_steps": 500, "ema_momentum": 0.999, "schedule": "halving"},
    }
    return ExperimentConfig.model_validate({**sections, **changes})


class MadeUp:
    """Trainings, scores and searches that take no time; remembers what it was asked for.

    The score is a function of arm, seed and steps, so that a training which went wrong would show.
    """

    def __init__(self, fail=(), stop_at=None, stop=KeyboardInterrupt):
        self.fail, self.stop_at, self.stop = set(fail), stop_at, stop
        self.trained, self.searched = [], []

    @property
    def engines(self) -> Engines:
        return Engines(self.train, {arm: self.searching(arm) for arm in COSTS})

    def train(self, config, folder, resume, strict):
        cell = (folder.parent.name, config.seed)
        self.trained.append((cell, resume, config))
        if cell == self.stop_at:
            Checkpoints(folder / "checkpoints").save(1, {})
            raise self.stop
        if cell in self.fail:
            raise RuntimeError("out of memory\nand a page of tensors")
        (folder / "history.csv").write_text(f"epoch,loss,val_loss\n0,1,\n1,1,{0.5 + config.seed}\n")
        return {"PCK@0.2": self.score(*cell, config.training)}

    def score(self, arm, seed, training):
        noise = np.random.default_rng([seed, sum(map(ord, arm))]).normal(0, 0.01)
        return 0.5 + 0.02 * len(arm) + noise + 1e-6 * training.epochs * training.steps_per_epoch

    def searching(self, arm):
        def search(config, folder, resume, strict):
            self.searched.append(((arm, config.seed), resume, config))
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "begun").touch()
            if (arm, config.seed, "search") == self.stop_at:
                raise KeyboardInterrupt
            if (arm, config.seed, "search") in self.fail:
                raise ExperimentError("no gradient was found")
            FOUND.save(folder / "policy.yaml")
            return COSTS[arm][config.seed], 60.0

        return search

    def run(self, folder, arms=ARMS, seeds=(0, 1, 2), config=None, budget=BUDGET) -> dict:
        run = in_this_process(self.engines)
        return compare(config or make_config(), folder, arms, seeds, budget=budget, run=run)


def in_this_process(engines=None):
    """What `pool.run_cells` does, one after the other and without processes."""

    def run(cells, folder, jobs, command):
        refuse_other_requests(cells)
        for cell in cells:
            if cell.files.found() is None:
                cell.prepare()
                cell.files.attempt(partial(run_cell, cell.folder, "--strict" in command, engines))

    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """`(folder, what was asked for, report)` of a comparison of all arms under three seeds."""
    folder, made_up = tmp_path_factory.mktemp("compare"), MadeUp()
    return folder, made_up, made_up.run(folder)


class TestBudget:
    def test_every_cell_has_the_budget_to_the_step(self, finished):
        _, made_up, report = finished
        assert len(made_up.trained) == 15
        for (arm, seed), _, config in made_up.trained:
            steps = config.training.epochs * config.training.steps_per_epoch
            assert steps == report["arms"][arm]["training_steps"][seed]
            assert steps + report["arms"][arm]["search_steps"][seed] == BUDGET

    def test_searches_pay_their_cost_rounded_up(self, finished):
        arms = finished[2]["arms"]
        for arm in ("none", "hand_crafted", "random"):
            assert arms[arm]["search_steps"] == [0, 0, 0]
        # 1000 - 38 = 13 * 74; 1000 - 420 = 10 * 58; 1000 - 612 = 4 * 97 does not divide, 387 = 9 * 43 does.
        assert arms["tuner"]["search_steps"] == [38, 420, 613]
        # 749 = 7 * 107 twice, the second time for a cost of just 251; 986 = 17 * 58.
        assert arms["learned"]["search_steps"] == [251, 251, 14]
        assert arms["learned"]["search_cost"] == list(COSTS["learned"])

    @pytest.mark.parametrize(
        ("steps", "expected"),
        [(1000, (10, 100)), (1350, (10, 135)), (962, (13, 74)), (22, (11, 2)), (7, (7, 1)), (3, (3, 1)),
         (1, (1, 1)), (23, None), (388, None), (0, None), (-5, None)],
    )  # fmt: skip
    def test_epochs_by_hand(self, steps, expected):
        assert cut_epochs(steps) == expected

    def test_epochs_make_up_the_steps(self):
        cuts = {steps: cut_epochs(steps) for steps in range(1, 3000)}
        assert all(cut is None or cut[0] * cut[1] == steps for steps, cut in cuts.items())
        assert all(cut is None or 5 <= cut[0] <= 20 for steps, cut in cuts.items() if steps >= 5)
        extra = [charge(cost, 3000) - cost for cost in range(1, 2980)]
        assert min(extra) == 0 and max(extra) <= 5 and np.mean(extra) < 1

    def test_a_search_that_eats_the_budget_is_said(self, tmp_path):
        report = MadeUp().run(tmp_path, ["learned", "none"], [0, 2], budget=200)
        assert report["arms"]["learned"]["failed"] == {
            "0": "the search cost 250 of 200 gradient steps, which leaves none to train with; "
            "give a larger budget or a shorter search"
        }
        assert report["arms"]["learned"]["training_steps"] == [None, 186]
        assert report["arms"]["none"]["training_steps"] == [200, 200]


class TestCells:
    def test_arms_train_with_their_policy(self, finished):
        folder, made_up, _ = finished
        for (arm, seed), resume, config in made_up.trained:
            own = folder.resolve() / arm / f"seed{seed}/search/policy.yaml"
            policy = {"hand_crafted": None, "tuner": str(own), "learned": str(own)}.get(arm, arm)
            assert (config.policy, config.seed, resume) == (policy, seed, False)
            assert config.augment == make_config().augment

    def test_trainings_differ_in_length_alone(self, finished):
        for _, _, config in finished[1].trained:
            training, base = config.training, make_config().training
            steps = training.epochs * training.steps_per_epoch
            assert training.schedule == "cosine"
            assert training.validation_every == training.epochs
            assert training.warmup_steps == steps // 10
            assert 1 / (1 - training.ema_momentum) == pytest.approx(steps / 10)
            changed = {"epochs", "steps_per_epoch", "schedule", "validation_every", "warmup_steps"}
            kept = training.model_dump(exclude=changed | {"ema_momentum"})
            assert kept == base.model_dump(exclude=changed | {"ema_momentum"})

    def test_a_short_warm_up_stays(self, tmp_path):
        made_up, training = MadeUp(), {"warmup_steps": 20, "ema_momentum": None}
        made_up.run(tmp_path, ["none"], [0], make_config(training=training))
        found = made_up.trained[0][2].training
        assert (found.warmup_steps, found.ema_momentum) == (20, None)

    def test_searches_are_handed_the_training_part_alone(self, finished):
        _, made_up, report = finished
        assert len(made_up.searched) == 6
        for (_, seed), _, config in made_up.searched:
            assert (config.data.validation, config.data.test) == ([], [])
            assert config.data.train == make_config().data.train
            assert config.seed == seed
        assert any("Searches saw the training part alone" in note for note in report["notes"])

    def test_costs_are_counted_in_steps_of_the_training(self, tmp_path, monkeypatch):
        """A search of 8 people a step pays double for each where a training takes 4."""
        config, asked = make_config(search={"batch_size": 8}), []

        def run_search(config, folder, resume, strict):
            asked.append((folder, resume, strict))
            return {"gradient_steps": 50.5, "seconds": 3.0}

        def run_tuning(config, folder, resume, strict):
            asked.append((folder, resume, strict))
            return {"trials": [{"steps": 30, "seconds": 2.5}, {"steps": 10, "seconds": None}]}

        for name, function in (("search", run_search), ("tuner.run", run_tuning)):
            module = SimpleNamespace(**{function.__name__: function})
            monkeypatch.setitem(sys.modules, f"p2net_tf.experiments.{name}", module)
        searches = Engines().searches
        assert searches["learned"](config, tmp_path, resume=True, strict=False) == (101.0, 3.0)
        assert searches["tuner"](config, tmp_path, resume=False, strict=True) == (80.0, 2.5)
        assert asked == [(tmp_path, True, False), (tmp_path, False, True)]

    def test_a_file_is_an_arm(self, tmp_path):
        FOUND.save(tmp_path / "mine.yaml")
        FOUND.save(tmp_path / "old_search/policy.yaml")
        made_up = MadeUp()
        arms = [str(tmp_path / "mine.yaml"), str(tmp_path / "old_search/policy.yaml"), "paper"]
        report = made_up.run(tmp_path / "out", arms, [0])
        assert list(report["arms"]) == ["mine", "old_search", "paper"]
        # Of a file the cell has a copy: it may change before the training begins.
        policies = [config.policy for _, _, config in made_up.trained]
        copies = [
            str((tmp_path / f"out/{arm}/seed0/policy.yaml").resolve()) for arm in ("mine", "old_search")
        ]
        assert policies == [*copies, "paper"]
        assert [Policy.load(copy) for copy in copies] == [FOUND, FOUND]
        assert report["reference"] is None
        FOUND.model_copy(update={"name": "other"}).save(tmp_path / "mine.yaml")
        with pytest.raises(ExperimentError, match=r"mine/seed0 was made with another policy; delete it"):
            MadeUp().run(tmp_path / "out", arms, [0])

    def test_a_schedule_is_an_arm_and_counts_by_its_content(self, tmp_path):
        file, made_up = tmp_path / "old_run/policy.yaml", MadeUp()
        schedule = PolicySchedule(draws=2, knots=[Knot(0, [Share("Rotate", 0.5, 3)])])
        schedule.save(file)
        assert list(made_up.run(tmp_path / "out", [str(file)], [0])["arms"]) == ["old_run"]
        ((_, _, config),) = made_up.trained
        assert load_policy(config.policy) == schedule and "seed0" in config.policy
        schedule.model_copy(update={"draws": 3}).save(file)
        with pytest.raises(ExperimentError, match=r"old_run/seed0 was made with another policy; delete it"):
            MadeUp().run(tmp_path / "out", [str(file)], [0])


class TestArmsOfThePolicyThatIsLearnedMeanwhile:
    SEARCH = {"warmup_steps": 100, "online": {"every": 8, "join": 0.7}}

    def test_the_policy_pays_for_its_steps(self, tmp_path):
        made_up = MadeUp()
        report = made_up.run(tmp_path, ["online"], [0], make_config(search=self.SEARCH))
        ((_, _, config),) = made_up.trained
        assert config.policy == "learn"
        (steps,) = report["arms"]["online"]["training_steps"]
        # Of 818 steps it moves before 57, 65, .. of the first 573: 65 times at 2.8 steps, 1000 in all.
        assert report["arms"]["online"]["search_cost"] == [pytest.approx(182.0)]
        assert steps + report["arms"]["online"]["search_steps"][0] == BUDGET
        assert 182 <= report["arms"]["online"]["search_steps"][0] <= 187

    def test_a_smaller_outer_batch_costs_less(self, tmp_path):
        search = {**self.SEARCH, "outer_batch_size": 2}  # of 4
        report = MadeUp().run(tmp_path, ["online"], [0], make_config(search=search))
        (cost,) = report["arms"]["online"]["search_cost"]
        assert cost / 2.35 == pytest.approx(round(cost / 2.35))
        assert cost < 160

    def test_another_search_is_another_request(self, tmp_path):
        MadeUp().run(tmp_path, ["online"], [0], make_config(search=self.SEARCH))
        with pytest.raises(ExperimentError, match="online/seed0 was made with another search"):
            MadeUp().run(tmp_path, ["online"], [0], make_config(search={"warmup_steps": 7}))

    def test_outer_photographs_can_simply_be_added(self, tmp_path):
        source = {"format": "coco", "root": "where_it_will_work"}
        made_up = MadeUp()
        config = make_config(search={"outer": [source]})
        made_up.run(tmp_path, ["random_2+outer", "hand_crafted+outer", "none"], [0], config)
        roots = {arm: [part.root for part in config.data.train] for (arm, _), _, config in made_up.trained}
        added = ["nowhere", "where_it_will_work"]
        assert roots == {"random_2+outer": added, "hand_crafted+outer": added, "none": ["nowhere"]}
        policies = {arm: config.policy for (arm, _), _, config in made_up.trained}
        assert policies == {"random_2+outer": "random_2", "hand_crafted+outer": None, "none": "none"}

    @pytest.mark.parametrize(
        ("arm", "message"),
        [("random+outer", "search.outer names no photographs"), ("online+outer", "photographs of its own")],
    )
    def test_where_there_are_none_to_add(self, tmp_path, arm, message):
        with pytest.raises(ExperimentError, match=message):
            MadeUp().run(tmp_path, [arm], [0])

    def test_each_operation_alone(self, tmp_path):
        made_up = MadeUp()
        made_up.run(tmp_path, ["each-operation", "random_3"], [0])
        arms = [arm for (arm, _), _, _ in made_up.trained]
        assert len(arms) == 11 and "Identity" not in arms
        assert Policy.load("Rotate").sub_policies == ((Stage("Rotate", 1.0, 5.0, 5.0),),)
        assert (len(Policy.load("random_3").sub_policies), Policy.load("random_3").stages) == (11**3, 3)


class TestResuming:
    def test_finished_cells_are_not_run_again(self, finished):
        folder, _, report = finished
        again = MadeUp()
        assert again.run(folder)["arms"] == report["arms"]
        assert again.trained == again.searched == []

    @pytest.mark.slow
    def test_an_interrupted_training_goes_on(self, finished, tmp_path):
        first = MadeUp(stop_at=("tuner", 0))
        with pytest.raises(KeyboardInterrupt):
            first.run(tmp_path)
        assert not (tmp_path / "compare.json").exists()
        second = MadeUp()
        report = second.run(tmp_path)
        begun = {cell: resume for cell, resume, _ in second.trained}
        assert begun == {
            (arm, seed): (arm, seed) == ("tuner", 0)
            for arm in ARMS
            for seed in range(3)
            if (arm, seed) not in [("none", 0), ("hand_crafted", 0), ("random", 0)]
        }
        assert ("tuner", 0) not in [cell for cell, _, _ in second.searched]
        straight = finished[2]["arms"]
        assert all(report["arms"][arm]["values"] == straight[arm]["values"] for arm in ARMS)
        headings, rows = table_of(report).lines()
        wall_times = {row[0]: row[headings.index("wall time")] for row in rows}
        assert [arm for arm, time in wall_times.items() if time.startswith(">")] == ["tuner"]

    def test_an_interrupted_search_goes_on(self, tmp_path):
        with pytest.raises(KeyboardInterrupt):
            MadeUp(stop_at=("learned", 1, "search")).run(tmp_path)
        second = MadeUp()
        second.run(tmp_path)
        searched = [(cell, resume) for cell, resume, _ in second.searched]
        assert searched == [(("learned", 1), True), (("tuner", 2), False), (("learned", 2), False)]

    def test_an_end_within_the_first_checkpoint_is_no_checkpoint(self, tmp_path):
        (tmp_path / "none/seed0/checkpoints").mkdir(parents=True)
        (tmp_path / "none/seed0/checkpoints/.step_000000001.npz.abc.partial.npz").touch()
        made_up = MadeUp()
        made_up.run(tmp_path, ["none"], [0])
        assert [resume for _, resume, _ in made_up.trained] == [False]

    def test_a_stop_is_no_failure(self, tmp_path):
        """SIGTERM ends the comparison, not the cell alone."""
        stopped = MadeUp(stop_at=("none", 0), stop=Interrupted("saved in here; go on with --resume"))
        with pytest.raises(Interrupted, match="none/seed0 is saved; the same command goes on$"):
            stopped.run(tmp_path, ["none", "random"], [0])
        assert [cell for cell, _, _ in stopped.trained] == [("none", 0)]
        assert not list(tmp_path.rglob("failed.txt"))
        again = MadeUp()
        again.run(tmp_path, ["none", "random"], [0])
        assert [(cell, resume) for cell, resume, _ in again.trained] == [
            (("none", 0), True),
            (("random", 0), False),
        ]

    @pytest.mark.slow
    def test_arms_and_seeds_may_be_added(self, tmp_path):
        MadeUp().run(tmp_path, ["none"], [0])
        more = MadeUp()
        more.run(tmp_path, ["none", "random"], [0, 5])
        assert [cell for cell, _, _ in more.trained] == [("random", 0), ("none", 5), ("random", 5)]

    def test_cells_of_another_request_are_refused(self, tmp_path):
        MadeUp().run(tmp_path, ["none", "learned"], [0])
        with pytest.raises(
            ExperimentError, match="none/seed0 was made with another budget; .*another folder"
        ):
            MadeUp().run(tmp_path, ["none"], [0], budget=500)
        with pytest.raises(ExperimentError, match="another loss"):
            MadeUp().run(tmp_path, ["none"], [0], make_config(loss={"sigma": 1.0}))
        # Another search leaves the arms that do not search as they are.
        other = make_config(search={"steps": 7})
        assert MadeUp().run(tmp_path, ["none"], [0], other)["arms"]["none"]["mean"] is not None
        with pytest.raises(ExperimentError, match="learned/seed0 was made with another search"):
            MadeUp().run(tmp_path, ["none", "learned"], [0], other)


class TestFailures:
    @pytest.fixture
    def broken(self, tmp_path):
        return MadeUp(fail=[("random", 1), ("learned", 0, "search")]).run(tmp_path)

    def test_are_reported_and_the_others_go_on(self, broken, finished, tmp_path):
        assert broken["arms"]["random"]["failed"] == {"1": "RuntimeError: out of memory"}
        assert broken["arms"]["learned"]["failed"] == {"0": "no gradient was found"}
        for arm in ARMS:
            expected = list(finished[2]["arms"][arm]["values"])
            if arm in ("random", "learned"):
                expected[arm == "random"] = None
            assert broken["arms"][arm]["values"] == expected
        table = (tmp_path / "compare.md").read_text()
        assert "seed 1: RuntimeError: out of memory" in table and "seed 0: no gradient was found" in table
        assert "a page of tensors" in (tmp_path / "random/seed1/failed.txt").read_text()

    def test_statistics_are_over_what_is_there(self, broken):
        random, reference = (broken["arms"][arm]["values"] for arm in ("random", "hand_crafted"))
        pairs = [random[0] - reference[0], random[2] - reference[2]]
        found = broken["arms"]["random"]["difference"]
        assert (found["mean"], found["pairs"]) == (pytest.approx(np.mean(pairs)), 2)
        assert broken["arms"]["random"]["spread"] == pytest.approx(np.std([random[0], random[2]], ddof=1))

    def test_are_tried_again(self, broken, finished, tmp_path):
        again = MadeUp()
        report = again.run(tmp_path)
        assert {cell for cell, _, _ in again.trained} == {("random", 1), ("learned", 0)}
        assert [arm["values"] for arm in report["arms"].values()] == [
            arm["values"] for arm in finished[2]["arms"].values()
        ]
        assert not list(tmp_path.rglob("failed.txt"))
        assert "failed" not in table_of(report).lines()[0]

    def test_a_diverged_training_is_one(self, tmp_path):
        made_up = MadeUp()
        made_up.score = lambda *_: math.nan
        report = made_up.run(tmp_path, ["none"], [0], budget=10)
        assert report["arms"]["none"]["failed"] == {"0": "the PCK@0.2 is nan: the training has diverged"}
        assert report["arms"]["none"]["mean"] is None
        assert (tmp_path / "compare.png").is_file()


class TestTable:
    def test_names_every_number(self, finished):
        folder, _, report = finished
        headings, rows = table_of(report).lines()
        assert headings == [
            "arm", "mean", "spread", "seed 0", "seed 1", "seed 2", "validation loss", "training steps",
            "search steps", "wall time", "difference to hand_crafted",
        ]  # fmt: skip
        assert [row[0] for row in rows] == list(ARMS)
        values = report["arms"]["tuner"]["values"]
        tuner = dict(zip(headings, rows[3], strict=True))
        assert [tuner["mean"], tuner["spread"]] == [f"{np.mean(values):.4f}", f"{np.std(values, ddof=1):.4f}"]
        assert [tuner[f"seed {seed}"] for seed in range(3)] == [f"{value:.4f}" for value in values]
        assert tuner["validation loss"] == "1.5"
        assert (tuner["training steps"], tuner["search steps"]) == ("962, 580, 387", "38, 420, 613")
        assert (tuner["wall time"], rows[0][9]) == ("1 min", "< 1 s")  # trainings take no time here
        found = report["arms"]["tuner"]["difference"]
        assert tuner["difference to hand_crafted"].startswith(
            f"{found['mean']:+.4f} ± {found['standard_error']:.4f}, "
        )
        assert rows[1][-1] == "reference"

    def test_files(self, finished):
        folder, _, report = finished
        assert json.loads((folder / "compare.json").read_text(), parse_constant=pytest.fail) == report
        lines = (folder / "compare.md").read_text().splitlines()
        assert lines[0] == "# made_up: PCK@0.2 on the test part, 1,000 gradient steps for every arm"
        table = [line for line in lines if line.startswith("|")]
        assert len(table) == 7 and len({line.count("|") for line in table}) == 1
        with Image.open(folder / "compare.png") as picture:
            assert picture.width > 700 and picture.height > 500

    @pytest.mark.slow
    def test_the_same_seeds_give_the_same_table(self, finished, tmp_path):
        again = MadeUp().run(tmp_path)
        tables = [table_of(report).lines() for report in (finished[2], again)]
        place = tables[0][0].index("wall time")
        first, second = ([row[:place] + row[place + 1 :] for row in rows] for _, rows in tables)
        assert first == second


class TestRequests:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"budget": 0}, "a budget of 0 cannot be cut.*take 1$"),
            ({"budget": 1009}, "a budget of 1009 cannot be cut into 5 to 20 equal epochs; take 1008$"),
            ({"seeds": []}, "give at least one seed"),
            ({"seeds": [1, 1]}, "seeds 1,1: .* each once"),
            ({"arms": []}, "arms: name at least one of none, hand_crafted, random, tuner, learned"),
            ({"arms": ["none", "none"]}, "two arms are called 'none'"),
            ({"config": make_config(data={"train": make_config().data.train})}, "data.test is empty"),
        ],
    )
    def test_that_cannot_be_met_are_refused_before_anything_runs(self, tmp_path, options, message):
        with pytest.raises(ExperimentError, match=message):
            MadeUp().run(tmp_path / "out", **options)
        assert not (tmp_path / "out").exists()

    def test_an_arm_that_is_no_policy(self, tmp_path):
        with pytest.raises(PolicyError, match="did you mean 'random'"):
            MadeUp().run(tmp_path, ["rando"])

    def test_a_file_must_not_pass_for_another_arm(self, tmp_path):
        FOUND.save(tmp_path / "learned.yaml")
        with pytest.raises(ExperimentError, match="two arms are called 'learned'"):
            MadeUp().run(tmp_path, [str(tmp_path / "learned.yaml")])


def test_the_command_line(monkeypatch, tmp_path):
    """What is typed reaches the comparison; the table is printed, and a failed arm sets the exit code."""
    dump_config(make_config(), tmp_path / "config.yaml")
    made_up = MadeUp(fail=[("random", 1)])
    run = in_this_process(made_up.engines)
    monkeypatch.setattr(comparison.compare, "__kwdefaults__", {**compare.__kwdefaults__, "run": run})

    def call(arms, *options):
        arguments = ["compare", tmp_path / "config.yaml", "loss.sigma=1.5", "--arms", arms, "--seeds", "2",
                     "--budget", "1000", "--out", tmp_path / "out", *options]  # fmt: skip
        result = CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "200"})
        be_quiet(False)
        return result

    result = call("none,hand_crafted, learned")
    assert (result.exit_code, len(made_up.trained)) == (0, 6)
    assert all(config.loss.sigma == 1.5 for _, _, config in made_up.trained)
    for words in ("hand_crafted", "749", "251", "±", "Searches saw the training part alone", "compare.md"):
        assert words in result.stdout
    result = call("none,random", "--json")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert report["arms"]["random"]["failed"] == {"1": "RuntimeError: out of memory"}
    assert report["budget"] == 1000 and report["seeds"] == [0, 1]
    assert "Example:" in CliRunner().invoke(app, ["compare", "--help"]).stdout


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """24 rendered people to train on, and a few to judge by."""
    root = tmp_path_factory.mktemp("people")
    scenes = SceneOptions(height=64, width=64, max_persons=1)
    counts = {"train": 24, "validation": 4, "test": 12}
    for split, count in counts.items():
        write_synthetic(root, count, seed=1, split=split, options=scenes)
    return {split: [{"format": "coco", "root": str(root), "split": split}] for split in counts}


@pytest.mark.slow
def test_real_trainings(people, tmp_path, monkeypatch):
    """Three arms of two steps, and one of them again elsewhere, after the others: the same numbers.

    Of two convolutions, and on fewer batches for their statistics: what is told apart are the arms.
    """
    monkeypatch.setattr(training_input, "CALIBRATION_BATCHES", 4)
    config = make_config(
        data=people,
        model={
            "backbone": "small", "input_size": (64, 64), "width": 4, "backbone_width": 4, "exchange_units": 1,
            "refine_bottlenecks": (0, 0, 0, 1),
        },
        training={"batch_size": 8, "learning_rate": 1e-2},
        evaluation={"metric": "pck", "flip_test": False},
    )  # fmt: skip
    options = {"budget": 2, "run": in_this_process()}
    with two_convolutions_in_place_of_p2net():
        report = compare(config, tmp_path / "first", ["none", "hand_crafted", "random"], [3], **options)
        again = compare(config, tmp_path / "second", ["hand_crafted"], [3], **options)["arms"]["hand_crafted"]
    arms = report["arms"]
    assert not any(arm["failed"] for arm in arms.values())
    assert [arm["training_steps"] for arm in arms.values()] == [[2], [2], [2]]
    losses = [arm["validation_loss"][0] for arm in arms.values()]
    assert len(set(losses)) == 3 and all(0 < loss < math.inf for loss in losses)
    assert all(0 <= arm["mean"] <= 1 for arm in arms.values())
    best, last = (
        keras.saving.load_model(tmp_path / f"first/none/seed3/{name}.keras") for name in ("best", "last")
    )
    for one, other in zip(best.weights, last.weights, strict=True):  # what is scored is the last network
        np.testing.assert_array_equal(one, other)
    assert again["values"] == arms["hand_crafted"]["values"]
    assert again["validation_loss"] == arms["hand_crafted"]["validation_loss"]
