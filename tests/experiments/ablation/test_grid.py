"""The grid, and what is found wrong with it before anything is trained."""

from functools import partial

import pytest

from p2net_tf.config.loading import dump_config, load_config
from p2net_tf.config.model import SimpleBaselineConfig
from p2net_tf.experiments.ablation.axes import Axis, Value, parse_axes
from p2net_tf.experiments.ablation.grid import make_grid
from p2net_tf.experiments.cells import ExperimentError


@pytest.fixture
def load(config_file):
    return partial(load_config, config_file)


def grid_of(load, *texts):
    return make_grid(load, parse_axes(texts, load([])))


class TestSettings:
    def test_are_all_combinations_the_last_axis_first(self, load):
        grid = grid_of(load, "apm=on,off", "loss.sigma=1.5,2.5,3")
        assert [tuple(setting.labels.values()) for setting in grid.settings] == [
            ("on", "1.5"), ("on", "2.5"), ("on", "3"), ("off", "1.5"), ("off", "2.5"), ("off", "3"),
        ]  # fmt: skip
        assert [(s.config.model.apm, s.config.loss.sigma) for s in grid.settings] == [
            (True, 1.5), (True, 2.5), (True, 3.0), (False, 1.5), (False, 2.5), (False, 3.0),
        ]  # fmt: skip
        assert grid.baseline.name == "apm=on, loss.sigma=1.5"
        others = {"model": {"apm"}, "loss": {"sigma"}}
        assert all(
            s.config.model_dump(exclude=others) == load([]).model_dump(exclude=others) for s in grid.settings
        )

    def test_augmentations(self, load):
        grid = grid_of(lambda more: load(["policy=paper", *more]), "augmentation=none,hand_crafted,random")
        assert [setting.config.policy for setting in grid.settings] == ["none", None, "random"]

    def test_folders_are_readable_and_do_not_depend_on_the_order(self, load):
        texts = ["model.refine_bottlenecks=[0, 0,0,0],[0,1,2,3]", "apm=on,off"]
        folders = [setting.folder for setting in grid_of(load, *texts).settings]
        assert folders[0] == "apm=on,model.refine_bottlenecks=0,0,0,0"
        assert set(folders) == {setting.folder for setting in grid_of(load, *texts[::-1]).settings}

    def test_score_the_test_part_where_there_is_one(self, load):
        assert grid_of(load, "apm=on,off").baseline.part == "test"
        without = partial(load_with, load, ["data.test=[]"])
        assert grid_of(without, "apm=on,off").baseline.part == "validation"


def load_with(load, overrides, more):
    return load([*overrides, *more])


class TestFaults:
    def faults(self, load, *texts) -> list[str]:
        with pytest.raises(ExperimentError) as caught:
            grid_of(load, *texts)
        return str(caught.value).splitlines()

    def test_of_the_configuration_name_axis_key_and_remedy(self, load):
        unknown, units, sigma = self.faults(
            load, "model.apmm=true,false", "model.exchange_units=1,0", "loss.sigma=1,wide"
        )[1:]
        assert units == (
            "axis model.exchange_units: override 'model.exchange_units=0': model.exchange_units: "
            "found the number 0, expected a whole number above 0"
        )
        assert unknown == (
            "axis model.apmm: override 'model.apmm=false': unknown key 'model.apmm'; did you mean 'apm'?"
        )
        assert sigma.endswith("found text 'wide', expected a number above 0")

    def test_of_a_combination_name_it(self, base, load, tmp_path):
        """Another network has no APM to switch off."""
        other = base.model_copy(update={"model": SimpleBaselineConfig()})
        dump_config(other, tmp_path / "other.yaml")
        faults = self.faults(load, f"model=planted_search,{tmp_path}/other.yaml", "apm=on,off")
        start = "model=other, apm={}: override 'model.apm={}': unknown key 'model.apm'; known: input_size"
        starts = [start.format("on", "true"), start.format("off", "false")]
        assert len(faults) == 2 and all(map(str.startswith, faults, starts))

    def test_a_policy_that_is_none(self, load):
        (fault,) = self.faults(load, "policy=random,pap")
        assert fault.startswith("axis policy: policy 'pap': neither a file nor a built-in policy")

    def test_values_that_are_the_same(self, load):
        assert self.faults(load, "loss.sigma=1,1.0") == [
            "axis loss.sigma: '1' and '1.0' are the same; give one of them"
        ]
        (fault,) = self.faults(load, "apm=on,off", "model.apm=true,false")
        assert fault.endswith("are the same; two axes change one key, take one")

    def test_scores_of_two_kinds(self, load):
        (fault,) = self.faults(load, "evaluation.metric=oks_ap,pck")
        assert fault.startswith("oks_ap on the test part and pck on the test part cannot stand in one table")

    def test_nothing_to_score(self, load):
        without = partial(load_with, load, ["data.test=[]", "data.validation=[]"])
        assert self.faults(without, "apm=on,off")[0] == (
            "apm=on: neither data.test nor data.validation names a part to score"
        )

    def test_folders_that_would_be_one(self, load):
        values = tuple(Value(f"a{sign}b", (f"loss.sigma={n}",)) for n, sign in enumerate("/:", start=1))
        with pytest.raises(ExperimentError, match="'x=a/b' and 'x=a:b' would share the folder x=a_b"):
            make_grid(load, [Axis("x", values)])
