"""What `p2net bench search` measures and writes; never how long something took."""

import json

import pytest
from networks import two_convolutions_in_place_of_p2net
from typer.testing import CliRunner

from p2net_tf.cli import app
from p2net_tf.utils.console import be_quiet

pytestmark = [pytest.mark.slow, pytest.mark.long]

SMALL = (
    "model.width=4", "search.batch_size=8", "search.outer_batch_size=4",
    "search.operations=[Identity,Rotate,Equalize]",
)  # fmt: skip
PARTS = {
    "augmentation of the training batch",
    "chains and augmentation of the scored people",
    "gradient of the weights",
    "validation gradient at the look-ahead",
    "scores by forward mode",
    "gradient of the policy, updates",
}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """`(what was printed, the file)` of three rounds with two convolutions."""
    file = tmp_path_factory.mktemp("bench") / "deep/bench_search.json"
    options = ["--mixture", "--repeats", "3", "--out", str(file), "--json"]
    with two_convolutions_in_place_of_p2net():
        done = CliRunner().invoke(app, ["bench", "search", "planted_search", *SMALL, *options])
    be_quiet(False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout), json.loads(file.read_text())


def test_prints_what_it_writes(measured):
    assert measured[0] == measured[1]


def test_every_step_has_seconds_and_a_ratio_to_the_plain_one(measured):
    report = measured[1]
    searched = {"expectation", "mixture", "step of the policy beside the training"}
    assert report["seconds"].keys() == searched | {"training step", "training step under the policy"}
    assert report["ratio"].keys() == searched | {"training step under the policy"}
    for values in (*report["seconds"].values(), *report["ratio"].values()):
        assert 0 < values["lower"] <= values["median"] <= values["upper"]


def test_what_learning_adds_to_a_training(measured):
    online = measured[1]["online"]
    assert (online["every"], online["limit"]) == (8, 0.25)
    assert online["steps_per_training_step"] == pytest.approx(0.7 / 8, abs=1e-3)
    assert 0 < online["added"]["lower"] <= online["added"]["median"] <= online["added"]["upper"]
    # Of three operations one, one and two numbers, with two moments each; counts and rates.
    assert 4 * 3 * 12 <= online["memory_bytes"] < 4 * 3 * 12 + 100


def test_every_part_of_a_search_step_is_measured(measured):
    report = measured[1]
    assert report["parts"].keys() == PARTS
    whole = report["seconds"]["expectation"]["median"]
    for part in report["parts"].values():
        assert 0 < part["lower"] <= part["median"] <= part["upper"]
        assert part["share"] == pytest.approx(part["median"] / whole)
    assert report["rest_share"] == pytest.approx(1 - sum(part["share"] for part in report["parts"].values()))


def test_says_what_was_measured_on_what(measured):
    report = measured[1]
    assert report["limit"] == 2.5
    assert report["repeats"] == 3
    assert report["batch"] == {"inner": 8, "outer": 4, "chains_per_person": 4}
    assert report["space"]["operations"] == ["Identity", "Rotate", "Equalize"]
    assert report["network"]["width"] == 4
    assert report["network"]["parameters"] > 0
    assert report["load_average"].keys() == {"before", "after"}
    assert {"tensorflow", "platform", "seed"} <= report["environment"].keys()
    assert report["command"].startswith("p2net")
