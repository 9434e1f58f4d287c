"""Configurations: what is read, and what a wrong one is told."""

from pathlib import Path

import pytest
import yaml

from p2net_tf.config.loading import dump_config, load_config
from p2net_tf.utils.yaml_files import ConfigError

CONFIGS = Path(__file__).parents[2] / "configs"

MINIMAL = """\
data:
  skeleton: lsp14
  train:
    - {format: lsp, root: /lsp, split: train}
    - {format: lspet, root: /lspet}
training:
  learning_rate: 1e-3
"""


@pytest.fixture
def write(tmp_path):
    def write(text: str, name: str = "small_run.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def fault_of(path, *overrides) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, list(overrides))
    return str(caught.value)


def test_values_defaults_and_name_of_the_file(write):
    config = load_config(write(MINIMAL))
    assert config.name == "small_run"
    assert config.data.train[1].format == "lspet"
    assert config.training.learning_rate == 0.001
    assert config.training.epochs == 140


def test_a_policy_is_a_name_and_none_is_one(write, tmp_path):
    assert load_config(write(MINIMAL)).policy is None
    config = load_config(write(MINIMAL), ["policy=none"])
    assert config.policy == "none"
    dump_config(config, tmp_path / "dumped.yaml")
    assert load_config(tmp_path / "dumped.yaml") == config


def test_name_in_the_file_wins(write):
    assert load_config(write("name: mine\n" + MINIMAL)).name == "mine"


def test_configuration_by_its_name_from_the_working_folder(write, tmp_path, monkeypatch):
    (tmp_path / "configs").mkdir()
    write(MINIMAL, "configs/here.yaml")
    monkeypatch.chdir(tmp_path)
    assert load_config("here").name == "here"
    assert fault_of("hare") == "no configuration file 'hare'; did you mean 'here'?"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_configurations_of_the_checkout_load(path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert load_config(path.stem).name == path.stem


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*_*x*.yaml")), ids=lambda path: path.stem)
def test_configurations_are_what_their_names_say(path):
    """`<network>_<data>_<height>x<width>`."""
    config = load_config(path)
    network, data, size = path.stem.rsplit("_", 2)
    assert tuple(map(int, size.split("x"))) == config.model.input_size
    assert {source.format for source in config.data.train} <= {data, f"{data}et"}
    if not network.startswith("compare"):
        assert network.startswith(config.model.name)
        assert network.endswith(variant_of(config.model))


def variant_of(model) -> str:
    return {
        "hrnet": lambda: f"w{model.width}",
        "hourglass": lambda: f"{model.stacks}stack",
    }.get(model.name, lambda: model.backbone)()


@pytest.mark.parametrize(
    ("override", "section", "field", "value"),
    [
        ("training.epochs=3", "training", "epochs", 3),
        ("training.learning_rate=2e-4", "training", "learning_rate", 0.0002),
        ("model.input_size=[128, 96]", "model", "input_size", (128, 96)),
        ("model.apm=false", "model", "apm", False),
        ("loss.ohkm=null", "loss", "ohkm", None),
        ("training.schedule = cosine", "training", "schedule", "cosine"),
        ("data.skeleton=a=b.yaml", "data", "skeleton", "a=b.yaml"),
    ],
)
def test_overrides(write, override, section, field, value):
    assert getattr(getattr(load_config(write(MINIMAL), [override]), section), field) == value


def test_overrides_index_lists_and_the_last_wins(write):
    config = load_config(
        write(MINIMAL),
        ["data.train.0.root=/x", "data.train.0.root=/y", "data.train.1={format: lsp, root: /z}"],
    )
    assert [part.root for part in config.data.train] == ["/y", "/z"]


def test_on_and_dates_are_text(write):
    path = write(MINIMAL.replace("split: train", "split: on"))
    config = load_config(path, ["name=2024-01-01"])
    assert (config.data.train[0].split, config.name) == ("on", "2024-01-01")


@pytest.mark.parametrize(
    ("old", "new", "line", "parts"),
    [
        (
            "learning_rate: 1e-3",
            "learning_rat: 1e-3",
            7,
            ["unknown key 'training.learning_rat'", "'learning_rate'"],
        ),
        ("training:", "trainig:", 6, ["unknown key 'trainig'", "did you mean 'training'?"]),
        ("split: train", "spilt: train", 4, ["unknown key 'data.train.0.spilt'", "did you mean 'split'?"]),
        (
            "learning_rate: 1e-3",
            "epochs: many",
            7,
            ["training.epochs: found text 'many', expected a whole number above 0"],
        ),
        ("learning_rate: 1e-3", "epochs: 2.5", 7, ["found the number 2.5, expected a whole number above 0"]),
        ("learning_rate: 1e-3", "epochs: 0", 7, ["found the number 0, expected a whole number above 0"]),
        ("learning_rate: 1e-3", "optimizer: adm", 7, ["found text 'adm', expected one of adam, adamw, sgd"]),
        ("learning_rate: 1e-3", "ema_momentum: 2", 7, ["expected a number at least 0 and at most 1 or null"]),
        ("format: lspet", "format: 5", 5, ["data.train.1.format: found the number 5, expected one of coco,"]),
        (", root: /lspet", "", 5, ["required key 'data.train.1.root' is missing"]),
        (
            "root: /lspet",
            "root: /a, rows: [1]",
            5,
            ["data.train.1.rows: found a list of 1, expected a list of 2 whole"],
        ),
        (
            "root: /lspet",
            "root: /a, rows: 7",
            5,
            ["data.train.1.rows: found the number 7, expected a list of 2 whole"],
        ),
        (
            "skeleton: lsp14",
            "skeleton: 14",
            2,
            ["data.skeleton: found the number 14, expected text in quotes"],
        ),
        (
            "skeleton: lsp14",
            "box_padding:",
            2,
            ["data.box_padding: found nothing (null), expected a number above 0"],
        ),
        ("skeleton: lsp14", "train: []", 3, ["key 'train' stands twice, first in line 2"]),
        ("skeleton: lsp14", "? {skeleton: lsp14}", 2, ["a list or section stands as a key"]),
        ("root: /lspet}", "root: /lspet", 6, ["not valid YAML"]),
        ("root: /lspet", "root: !!python/name:os.system x", 5, ["not a plain YAML value"]),
    ],
)
def test_faults_name_line_key_and_remedy(write, old, new, line, parts):
    path = write(MINIMAL.replace(old, new, 1))
    fault = fault_of(path)
    assert fault.startswith(f"{path}:{line}: ")
    assert "\n" not in fault
    for part in parts:
        assert part in fault


@pytest.mark.parametrize(
    ("override", "fault"),
    [
        ("training.epoch=3", "unknown key 'training.epoch'; did you mean 'epochs'?"),
        ("training.epochs=x", "training.epochs: found text 'x', expected a whole number above 0"),
        (
            "model.input_size=[64]",
            "model.input_size: found a list of 1, expected a list of 2 whole numbers above 0",
        ),
        ("model.input_size=[64,a]", "model.input_size.1: found text 'a', expected a whole number above 0"),
        ("data.train.2.root=/x", "data.train is a list of 2, it has no entry '2'"),
        ("data.skeleton.name=x", "data.skeleton is text 'lsp14', it has no key 'name'"),
        ("model.input_size.0=64", "the file has no list 'model.input_size' to index; give the whole value"),
        ("model.name=p2nett", "model.name: found 'p2nett'; did you mean 'p2net'?"),
        ("model.widht=3", "unknown key 'model.widht'; did you mean 'width'?"),
        (
            "model.refine_bottlenecks=[1,2,x,4]",
            "model.refine_bottlenecks.2: found text 'x', expected a whole",
        ),
        ("model=3", "model: found the number 3, expected a section with keys of"),
        ("training.epochs=[", "not valid YAML"),
        ("training.epochs", "write key=value, for example training.epochs=3"),
        (".epochs=1", "write key=value, for example training.epochs=3"),
    ],
)
def test_faults_of_overrides_name_the_override(write, override, fault):
    assert fault_of(write(MINIMAL), override).startswith(f"override '{override}': {fault}")


def test_input_size_is_a_multiple_of_the_coarsest_stride(write):
    fault = fault_of(write(MINIMAL), "model.input_size=[128,97]")
    assert "model.input_size: [128, 97] are not multiples of 32" in fault and "nearest: [128, 96]" in fault


def test_all_faults_are_reported_at_once(write):
    path = write("training: {epochs: x}\n")
    assert set(fault_of(path).splitlines()) == {
        f"{path}:1: required key 'data' is missing",
        f"{path}:1: training.epochs: found text 'x', expected a whole number above 0",
    }


@pytest.mark.parametrize("text", ["", "# nothing\n"])
def test_empty_file_misses_its_data(write, text):
    assert "required key 'data' is missing" in fault_of(write(text))


def test_a_list_is_not_a_configuration(write):
    assert "a configuration is a mapping of keys, not a list of 1" in fault_of(write("- data\n"))


@pytest.mark.parametrize(
    ("text", "environment", "expanded"),
    [
        ("${P2_ROOT}/lsp", {"P2_ROOT": "/data"}, "/data/lsp"),
        ("${P2_ROOT:-data}/lsp", {}, "data/lsp"),
        ("${P2_ROOT:-data}/lsp", {"P2_ROOT": ""}, "data/lsp"),
        ("${P2_ROOT:-data}/lsp", {"P2_ROOT": "/mnt"}, "/mnt/lsp"),
        ("${P2_ROOT}${P2_ROOT:-}", {"P2_ROOT": "a"}, "aa"),
        ("$${P2_ROOT}", {"P2_ROOT": "a"}, "${P2_ROOT}"),
    ],
)
def test_variables_expand(write, monkeypatch, text, environment, expanded):
    monkeypatch.delenv("P2_ROOT", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    config = load_config(
        write(MINIMAL.replace("root: /lspet", f'root: "{text}"')), [f"data.train.0.root={text}"]
    )
    assert [part.root for part in config.data.train] == [expanded, expanded]


def test_unset_variable_is_named_with_its_line(write, monkeypatch):
    monkeypatch.delenv("P2_ROOT", raising=False)
    path = write(MINIMAL.replace("root: /lspet", 'root: "${P2_ROOT}/x"'))
    fault = fault_of(path)
    assert fault.startswith(f"{path}:5: data.train.1.root: environment variable P2_ROOT is not set")
    assert load_config(path, ["data.train.1.root=/y"]).data.train[1].root == "/y"


def test_anchors_and_merges(write):
    text = "data:\n  train:\n    - &a {format: lsp, root: /a, repeat: 3}\n    - {<<: *a, root: /b}\n"
    parts = load_config(write(text)).data.train
    assert [(part.root, part.repeat) for part in parts] == [("/a", 3), ("/b", 3)]


def test_dump_loads_back_equal(write, tmp_path):
    overrides = [
        "name='1e-3'",
        "data.train.0.root=$${KEPT}/x",
        "data.train.0.split='on'",
        "model.input_size=[64,96]",
    ]
    config = load_config(write(MINIMAL), [*overrides, "training.weight_decay=1e-7"])
    resolved = tmp_path / "runs" / "a" / "config.yaml"
    dump_config(config, resolved)
    assert load_config(resolved) == config
    assert yaml.safe_load(resolved.read_text())["model"]["input_size"] == [64, 96]
    assert [file.name for file in resolved.parent.iterdir()] == ["config.yaml"]
