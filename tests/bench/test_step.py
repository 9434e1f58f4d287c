"""What `p2net bench step` measures and writes; never how long something took."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from p2net_tf.bench.step import bare_step, build_step_model, training_step
from p2net_tf.bench.subjects import noise_people
from p2net_tf.cli import app
from p2net_tf.config.loading import load_config
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.utils.console import be_quiet

pytestmark = [pytest.mark.slow, pytest.mark.long]

SMALL = (
    "model.width=4", "model.backbone_width=4", "model.refine_bottlenecks=[0,0,0,0]", "model.exchange_units=1",
    "training.batch_size=4",
)  # fmt: skip


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """`(what was printed, the file)` of two rounds with a tiny network."""
    file = tmp_path_factory.mktemp("bench") / "deep/bench_step.json"
    options = ["--repeats", "2", "--out", str(file), "--json"]
    done = CliRunner().invoke(app, ["bench", "step", "planted_search", *SMALL, *options])
    be_quiet(False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout), json.loads(file.read_text())


def test_prints_what_it_writes(measured):
    assert measured[0] == measured[1]


def test_a_step_stands_beside_the_bare_network(measured):
    report = measured[1]
    assert report["limit"] == 1.1
    assert report["seconds"].keys() == {"training step", "bare network"}
    parts = {"heatmaps, drawn once", "losses and their gradients", "penalty of the weights", "accuracy"}
    assert report["parts"].keys() == parts
    whole = report["seconds"]["training step"]["median"]
    for part in report["parts"].values():
        assert part["share"] == pytest.approx(part["median"] / whole)
    assert (report["batch"], report["repeats"], report["network"]["width"]) == (4, 2, 4)


def test_both_steps_update_every_weight_of_the_same_network():
    config = load_config("planted_search", SMALL)
    model = build_step_model(config, Skeleton.load("coco17"))
    people = noise_people(4, 17, config.model.input_size)
    for step in (training_step(model, *people), bare_step(config, model.network, people[0])):
        before = [weight.numpy() for weight in model.network.trainable_variables]
        assert np.all(np.isfinite(step()))
        after = [weight.numpy() for weight in model.network.trainable_variables]
        assert all(np.any(a != b) for a, b in zip(after, before, strict=True))
    assert int(model.optimizer.iterations) == 1
    assert float(model.loss_tracker.result()) > 0
