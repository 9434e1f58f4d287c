"""What `p2net bench models` measures and writes; never how long something took."""

import json

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from p2net_tf.bench import models
from p2net_tf.bench.runtimes import lite_function
from p2net_tf.bench.torch_peers import LAYOUTS
from p2net_tf.cli import app
from p2net_tf.cli.bench_tables import print_models
from p2net_tf.config.loading import load_config
from p2net_tf.utils.console import be_quiet
from p2net_tf.utils.exceptions import UserError

pytestmark = [pytest.mark.slow, pytest.mark.long]

SMALL = """\
data: {skeleton: lsp14, train: [{format: lsp, root: /lsp}]}
model:
  {name: simple_baseline, backbone: small, backbone_width: 8, width: 8, input_size: [32, 32]}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    (folder / "tiny.yaml").write_text(SMALL)
    return folder


@pytest.fixture(scope="module")
def measured(folder):
    """`(what was printed, the file)` of two rounds with a tiny network."""
    options = ["--rounds", "2", "--out", str(folder / "deep/bench.json"), "--json"]
    done = CliRunner().invoke(app, ["bench", "models", str(folder / "tiny.yaml"), *options])
    be_quiet(False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout), json.loads((folder / "deep/bench.json").read_text())


def test_prints_what_it_writes_and_draws_a_plot(measured, folder):
    assert measured[0] == measured[1]
    assert (folder / "deep/bench.png").read_bytes().startswith(b"\x89PNG")


def test_a_network_in_every_runtime(measured):
    report = measured[1]
    (model,) = report["models"]
    assert (model["name"], model["network"]["width"]) == ("tiny", 8)
    speeds = model["persons_per_second"]
    assert {runtime: set(tasks) for runtime, tasks in speeds.items()} == {
        "keras": {"forward", "forward + decode", "training step"},
        "litert": {"forward", "forward + decode"},
    }
    assert all(task["median"] > 0 for tasks in speeds.values() for task in tasks.values())
    assert (report["batch"], report["rounds"]) == (2, 2)


def test_a_network_beside_plain_convolutions(measured):
    report = measured[1]
    (model,) = report["models"]
    limits = report["plain_convolution"]["32x32"]
    assert set(limits) == set(model["roofline"]) == {"keras", "litert"}
    for runtime, found in model["roofline"].items():
        for name in ("median", "lower", "upper"):
            giga = model["persons_per_second"][runtime]["forward"][name] * model["multiply_adds"] / 1e9
            assert found["giga_per_second"][name] == pytest.approx(giga, rel=1e-9)
        assert set(found["share"]) == {"median", "lower", "upper"}
        assert limits[runtime]["best"] in limits[runtime]["giga_per_second"]


def test_speeds_are_persons_of_a_batch_by_seconds():
    taken = {("a", "keras", "forward"): np.array([0.5, 1.0, 2.0]), ("b", "keras", "forward"): np.ones(3)}
    found = models._speeds("a", taken, batch=2)
    assert found == {"keras": {"forward": {"median": 2.0, "lower": 1.5, "upper": 3.0}}}


def test_the_table_names_all_that_was_measured(measured):
    console = Console(width=160, record=True)
    print_models(measured[1], console)
    text = console.export_text()
    for word in ("tiny", "keras", "litert", "+ dec", "train", "limit", "plain convolutions at 32x32"):
        assert word in text


def test_litert_computes_what_the_function_does():
    crops = np.random.default_rng(0).uniform(size=(1, 4, 4, 3)).astype("float32")
    doubled, squared = lite_function(lambda crops: (2 * crops, crops * crops), crops.shape)(crops)
    np.testing.assert_allclose(doubled, 2 * crops, rtol=1e-6)
    np.testing.assert_allclose(squared, crops**2, rtol=1e-6)


def test_every_default_is_a_configuration():
    names = models.default_configs(("256x192", "384x288"))
    assert len(set(names)) == len(names) == 2 * len(models.NETWORKS)
    for name in names:
        config = load_config(name)
        assert config.name == name
        assert "x".join(map(str, config.model.input_size)) in name


def test_names_tell_results_apart(folder, tmp_path):
    config = load_config(folder / "tiny.yaml")
    with pytest.raises(UserError, match="two configurations are named tiny"):
        models.bench_models([config, config], tmp_path / "bench.json")
    with pytest.raises(UserError, match="PyTorch originals of other: not measured; known: tiny"):
        models.bench_models([config], tmp_path / "bench.json", torch_peers={"other": tmp_path / "x.ts"})


class TestTorch:
    @pytest.fixture(scope="class")
    def torch(self):
        return pytest.importorskip("torch", reason="PyTorch originals need torch (extra `torch`)")

    def test_an_original_is_measured_and_trains(self, torch, folder, tmp_path):
        config = load_config(folder / "tiny.yaml")
        network = torch.nn.Sequential(torch.nn.Conv2d(3, 14, 3, 4, 1), torch.nn.BatchNorm2d(14))
        torch.jit.trace(network, torch.zeros(2, 3, 32, 32)).save(str(tmp_path / "original.ts"))
        settings = models.ModelSettings(rounds=1, lite=False)
        files = {config.name: str(tmp_path / "original.ts")}
        report = models.bench_models([config], tmp_path / "bench.json", settings, files)
        (model,) = report["models"]
        for layout in LAYOUTS:
            assert set(model["persons_per_second"][layout]) == {"forward", "training step"}
        assert model["torch"]["parameters"] == 3 * 14 * 9 + 14 + 2 * 14
        assert set(model["roofline"]) == set(report["plain_convolution"]["32x32"]) == {"keras", *LAYOUTS}

    def test_what_is_no_torchscript_is_named(self, torch, folder, tmp_path):
        config = load_config(folder / "tiny.yaml")
        (tmp_path / "weights.pth").write_bytes(b"no archive")
        with pytest.raises(UserError, match=r"weights.pth: no TorchScript file that takes crops"):
            models.bench_models(
                [config],
                tmp_path / "bench.json",
                models.ModelSettings(rounds=1, lite=False, training=False),
                {config.name: tmp_path / "weights.pth"},
            )
