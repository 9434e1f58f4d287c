"""`p2net bench all`: one file, in which what cannot be measured says why."""

import json

import pytest

from p2net_tf.bench import everything
from p2net_tf.bench.everything import Selection, bench_all, entry
from p2net_tf.cli.bench_tables import print_everything
from p2net_tf.utils.console import console
from p2net_tf.utils.exceptions import UserError


@pytest.mark.parametrize(
    ("value", "at_least", "within"),
    [(1.9, True, False), (2.0, True, True), (2.0, False, True), (2.1, False, False)],
)
def test_a_limit_holds_from_its_own_side(value, at_least, within):
    found = entry({"limit": 2.0, "more": 1}, value, at_least)
    assert found["within"] is within
    assert found["aim"] == ("at_least" if at_least else "at_most")
    assert found["report"]["more"] == 1


def test_one_file_holds_all_and_the_reasons_for_what_is_missing(tmp_path, monkeypatch):
    def impossible(selection, scratch):
        raise UserError("needs another machine")

    def measured(selection, scratch):
        assert scratch.is_dir()
        return {"one": entry({"limit": 1.0}, 0.5), "two": entry({"limit": 1.0}, float(selection.rounds))}

    monkeypatch.setattr(everything, "_MEASURES", {"far": impossible, "near": measured})
    report = bench_all(tmp_path / "deep/all.json", Selection(rounds=3), "p2net bench all")
    written = json.loads((tmp_path / "deep/all.json").read_text())
    assert written["benches"] == report["benches"]
    assert written["benches"]["far"] == {"skipped": "needs another machine"}
    assert [written["benches"][name]["within"] for name in ("one", "two")] == [True, False]
    assert written["command"] == "p2net bench all"
    assert written["load_average"].keys() == {"before", "after"}
    with console.capture() as shown:
        print_everything(report, console)
    assert "skipped: needs another machine" in " ".join(shown.get().split())
    assert "missed" in shown.get()


def test_every_bench_has_its_place_and_quick_is_less_of_it():
    assert everything._MEASURES.keys() == {"search", "step", "pipeline", "serving"}
    whole, quick = Selection(), Selection().quick()
    assert quick.rounds < whole.rounds and quick.pipeline.people < whole.pipeline.people
    assert (quick.search, quick.step, quick.pipeline.crop_size) == (whole.search, whole.step, (256, 192))


def test_without_photographs_the_remedy_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("P2NET_DATA", raising=False)
    with pytest.raises(UserError, match="name the folder of LSPET"):
        everything._pipeline(Selection(), tmp_path)
