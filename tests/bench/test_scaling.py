"""What `p2net bench scaling` measures and writes; never how long something took."""

import json
import subprocess
import sys

import pytest
from calls import call
from rich.console import Console

from p2net_tf.bench import scaling
from p2net_tf.bench.scaling import GRADIENTS, STATISTICS, STEP
from p2net_tf.cli.bench_tables import print_scaling
from p2net_tf.config.loading import load_pose_config
from p2net_tf.utils.exceptions import UserError

SMALL = """\
data: {skeleton: lsp14, train: [{format: lsp, root: /lsp}]}
model:
  name: simple_baseline
  backbone: small
  backbone_width: 4
  backbone_blocks: 1
  width: 4
  input_size: [32, 32]
"""


def found(seconds: dict) -> dict:
    return {"seconds": seconds, "parameters": 100, "multiply_adds": 7, "peak_memory": 5}


def test_shares_are_of_the_step_of_the_same_round():
    seconds = {STEP: [1.0, 10.0, 2.0], GRADIENTS: [0.1, 1.0, 0.2], STATISTICS: [0.3, 3.0, 0.4]}
    entry = scaling._entry(2, 4, found(seconds))
    assert entry["share"][GRADIENTS]["median"] == pytest.approx(0.1)
    assert entry["share"][STATISTICS]["median"] == pytest.approx(0.3)
    assert entry["share"]["together"]["median"] == pytest.approx(0.4)
    assert entry["persons_per_second"]["median"] == 8 / 2.0
    assert entry["bytes_sent_by_each"] == 400


def test_one_process_has_nobody_to_talk_to():
    entry = scaling._entry(1, 4, found({STEP: [1.0, 2.0]}))
    assert entry["share"]["together"] == {"median": 0, "lower": 0, "upper": 0}
    assert entry["bytes_sent_by_each"] == 0


def test_processes_know_each_other_and_share_the_cores(monkeypatch):
    monkeypatch.setattr(scaling, "usable_cores", lambda: 8)
    monkeypatch.setenv("TF_CONFIG", "of another training")
    alone, second = scaling._environment(["a:1"], 0), scaling._environment(["a:1", "a:2"], 1)
    assert "TF_CONFIG" not in alone
    assert json.loads(second["TF_CONFIG"]) == {
        "cluster": {"worker": ["a:1", "a:2"]},
        "task": {"type": "worker", "index": 1},
    }
    assert (alone["TF_NUM_INTRAOP_THREADS"], second["TF_NUM_INTRAOP_THREADS"]) == ("8", "4")
    assert len(set(scaling._free_ports(4))) == 4


@pytest.mark.slow
@pytest.mark.long
class TestProcesses:
    @pytest.fixture(scope="class")
    def report(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp("scaling")
        (folder / "tiny.yaml").write_text(SMALL)
        words = ["--processes", 1, "--processes", 2, "--rounds", 2, "--out", folder / "bench.json", "--json"]
        printed = json.loads(call("bench", "scaling", folder / "tiny.yaml", *words).stdout)
        assert printed == json.loads((folder / "bench.json").read_text())
        return printed

    def test_every_number_of_processes_is_measured(self, report):
        assert [entry["processes"] for entry in report["processes"]] == [1, 2]
        one, two = report["processes"]
        assert one["seconds"][GRADIENTS]["median"] == 0
        assert min(two["seconds"][name]["median"] for name in (STEP, GRADIENTS, STATISTICS)) > 0
        assert two["bytes_sent_by_each"] == 4 * report["network"]["parameters"]
        assert two["peak_memory_of_the_first"] > 100e6

    def test_the_table_has_a_row_for_each(self, report):
        console = Console(width=120, record=True)
        print_scaling(report, console)
        assert "batch normalizations" in console.export_text()

    def test_a_process_that_fails_is_quoted(self, tmp_path):
        (tmp_path / "tiny.yaml").write_text(SMALL)
        config = load_pose_config(tmp_path / "tiny.yaml", ["data.skeleton=no_such_card"])
        with pytest.raises(UserError, match="a process of 1 ended with 1: (.|\n)*no_such_card"):
            scaling.bench_scaling(config, tmp_path / "bench.json", [1], rounds=1)


@pytest.mark.slow
def test_the_sums_are_sums():
    """On two logical devices of a process of its own, each of which brings in ones."""
    code = (
        "import tensorflow as tf\n"
        "cpu = tf.config.list_physical_devices('CPU')[0]\n"
        "tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)\n"
        "from p2net_tf.bench.scaling_worker import all_reduce, all_reduce_in_turn\n"
        "strategy = tf.distribute.MirroredStrategy(['CPU:0', 'CPU:1'])\n"
        "print([float(v) for v in all_reduce(strategy, [(3, 2), (), (4,)])()])\n"
        "print([float(v) for v in all_reduce_in_turn(strategy, [3, 5])()])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[2.0, 2.0, 2.0]", "[0.0]"]
