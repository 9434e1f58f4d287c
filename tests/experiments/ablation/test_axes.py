"""What is typed after --axis."""

import pytest
import yaml

from p2net_tf.augment.policies import Policy, Stage
from p2net_tf.experiments.ablation.axes import choose_baseline, parse_axes
from p2net_tf.experiments.cells import ExperimentError


def changes(axis) -> list[list[tuple[str, object]]]:
    """Key and value of the overrides of every value."""
    pairs = [[override.partition("=") for override in value.overrides] for value in axis.values]
    return [[(key, yaml.safe_load(text)) for key, _, text in value] for value in pairs]


class TestValues:
    def test_of_a_key(self, base):
        (axis,) = parse_axes(["training.batch_size=16, 32"], base)
        assert (axis.name, axis.labels) == ("training.batch_size", ["16", "32"])
        assert changes(axis) == [[("training.batch_size", 16)], [("training.batch_size", 32)]]

    def test_commas_in_brackets_and_quotes_do_not_split(self, base):
        lists, sections, words = parse_axes(
            [
                "model.refine_bottlenecks=[0,0,0,0],[0, 1,2,3]",
                "augment={scale: 0.1, rotation: 0},{scale: 0.3}",
                "data.service='a,b',null",
            ],
            base,
        )
        assert lists.labels == ["[0,0,0,0]", "[0, 1,2,3]"]
        assert changes(lists)[1] == [("model.refine_bottlenecks", [0, 1, 2, 3])]
        assert changes(sections)[0] == [("augment", {"scale": 0.1, "rotation": 0})]
        assert changes(words) == [[("data.service", "a,b")], [("data.service", None)]]

    def test_of_apm(self, base):
        (axis,) = parse_axes(["apm=off,on"], base)
        assert axis.labels == ["off", "on"]
        assert changes(axis) == [[("model.apm", False)], [("model.apm", True)]]

    def test_of_augmentation(self, base, tmp_path):
        found = Policy([[Stage("Rotate", 0.5, 3)]], name="found")
        found.save(tmp_path / "search/policy.yaml")
        found.save(tmp_path / "mine.yaml")
        words = f"none,hand_crafted,random,{tmp_path}/search,{tmp_path}/search/../mine.yaml"
        (axis,) = parse_axes([f"augmentation={words}"], base)
        assert axis.labels == ["none", "hand_crafted", "random", "search", "mine"]
        assert [value for ((_, value),) in changes(axis)] == [
            "none",
            None,
            "random",
            str((tmp_path / "search").resolve()),
            str((tmp_path / "mine.yaml").resolve()),
        ]

    def test_of_model_are_networks_at_the_size_of_the_crops(self, base):
        (axis,) = parse_axes(["model=p2net_resnet50_coco_256x192,planted_search"], base)
        assert axis.labels == ["p2net_resnet50_coco_256x192", "planted_search"]
        ((key, section),) = changes(axis)[0]
        assert key == "model"
        assert (section["name"], section["backbone"], section["input_size"]) == (
            "p2net",
            "resnet50",
            [64, 64],
        )


class TestFaults:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("apm", "write NAME=V1,V2"),
            ("=on", "write NAME=V1,V2"),
            ("amp=on,off", "no axis 'amp'; did you mean 'apm'"),
            ("seed=1,2", "seeds are given on their own"),
            ("apm=on", "one value is no axis"),
            ("apm=", "one value is no axis"),
            ("apm=on,off,on", "two values are called 'on'; give each once"),
            ("apm=on,maybe", "no value 'maybe'; give on and off"),
            (
                "augmentation=none,rando",
                "'rando': neither a file nor a built-in policy; did you mean 'random'",
            ),
            ("model=planted_search,plantedsearch", "no configuration file .*; did you mean 'planted_search'"),
            ("loss.sigma=1,,2", "not a list of YAML values"),
            ("model.refine_bottlenecks=[0,1", "not a list of YAML values"),
        ],
    )
    def test_name_the_axis_and_the_remedy(self, base, text, words):
        with pytest.raises(ExperimentError, match=f"^axis {text.replace('[', '.')}: .*{words}"):
            parse_axes([text], base)

    def test_are_told_all_at_once(self, base):
        texts = ["amp=on,off", "augmentation=rando,none,pap", "loss.sigma=1,2", "loss.sigma=3,4"]
        with pytest.raises(ExperimentError) as caught:
            parse_axes(texts, base)
        lines = str(caught.value).splitlines()
        assert [line.split(":")[0] for line in lines] == [
            "axis amp=on,off",
            "axis augmentation=rando,none,pap",
            "axis augmentation=rando,none,pap",
            "axis loss.sigma",
        ]
        assert "stands twice" in lines[-1]

    def test_an_ablation_of_nothing(self, base):
        with pytest.raises(ExperimentError, match="name at least one, such as apm=on,off"):
            parse_axes([], base)


class TestBaseline:
    @pytest.fixture
    def axes(self, base):
        return parse_axes(["apm=on,off", "loss.sigma=1,2,3"], base)

    def test_is_the_first_value_unless_named(self, axes):
        assert choose_baseline(axes, []) == axes
        chosen = choose_baseline(axes, ["loss.sigma=2"])
        assert [axis.labels for axis in chosen] == [["on", "off"], ["2", "1", "3"]]

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("amp=on", "no axis 'amp'; did you mean 'apm'"),
            ("loss.sigma=4", "no value '4' of loss.sigma; known: 1, 2, 3"),
            ("apm", "no value '' of apm"),
        ],
    )
    def test_must_be_there(self, axes, text, words):
        with pytest.raises(ExperimentError, match=f"baseline {text}: {words}"):
            choose_baseline(axes, [text])
