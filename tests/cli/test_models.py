"""`p2net models`."""

import json

from typer.testing import CliRunner

from p2net_tf.cli import app
from p2net_tf.inference.shelf import list_models


def call(*words) -> str:
    result = CliRunner().invoke(app, ["models", *words])
    assert result.exit_code == 0, result.output
    return result.output


def test_lists_every_network_with_its_score_and_digest():
    shown = " ".join(call().split())
    for entry in list_models():
        assert entry.name in shown
        assert f"{entry.megabytes} MB" in shown
        for word in (*entry.card["score"].split()[:2], *entry.card["use"].split()[:2]):
            assert word in shown


def test_as_json():
    found = {entry["name"]: entry for entry in json.loads(call("--json"))}
    assert found["p2net_small_lsp"]["task"] == "pose"
    assert found["p2net_small_lsp"]["card"]["score"].startswith("PCK@0.2 76.77")
    assert found["detector_small_people"]["sha256"] in found["detector_small_people"]["card"]["SHA-256"]
