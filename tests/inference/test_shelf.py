"""The shelf says of every network that ships what its card says."""

import hashlib

import pytest

from p2net_tf.inference.presets import PRESETS
from p2net_tf.inference.shelf import card_table, list_models
from p2net_tf.utils.resources import weights_folder


def test_everything_that_ships_is_on_it():
    entries = {entry.name: entry for entry in list_models()}
    assert set(entries) == {name for name, preset in PRESETS.items() if preset.file}
    # A folder of weights without a preset would be found by nobody.
    assert {entry.file.parent for entry in entries.values()} == {
        file.parent for file in weights_folder().glob("*/best.keras")
    }


@pytest.mark.parametrize("entry", list_models(), ids=lambda entry: entry.name)
def test_every_card_has_what_people_ask_first(entry):
    assert entry.task in ("pose", "detect")
    assert {"network", "score", "trained on", "use", "SHA-256"} <= set(entry.card)
    contents = entry.file.read_bytes()
    assert hashlib.sha256(contents).hexdigest() == entry.sha256 == entry.card["SHA-256"].split("`")[1]
    assert entry.megabytes == round(len(contents) / 1e6, 1)


def test_the_first_table_of_a_card():
    text = "# Title\n\n| | |\n|---|---|\n| score | AP **0.5** |\n| a | b, c |\n\nWords.\n\n| not | this |\n"
    assert card_table(text) == {"score": "AP 0.5", "a": "b, c"}
