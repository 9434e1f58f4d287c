"""Cells: seeds, requests, and what is kept of an attempt."""

import math

import pytest

from p2net_tf.experiments.cells import CellFiles, ExperimentError, check_seeds, parse_seeds
from p2net_tf.experiments.pool import _threads
from p2net_tf.experiments.tuner.trial_records import record_of
from p2net_tf.training.callbacks import read_history
from p2net_tf.utils.console import messages
from p2net_tf.utils.exceptions import Interrupted, UserError


class TestSeeds:
    @pytest.mark.parametrize(
        ("text", "seeds"), [("3", [0, 1, 2]), ("0,1,2", [0, 1, 2]), ("7,", [7]), (" 4, 2 ", [4, 2])]
    )
    def test_seeds(self, text, seeds):
        assert parse_seeds(text) == seeds

    @pytest.mark.parametrize("text", ["", ",", "a", "1,b", "-1", "1.5"])
    def test_seeds_that_are_none(self, text):
        with pytest.raises(ExperimentError, match="^seeds "):
            parse_seeds(text)

    @pytest.mark.parametrize("seeds", [[], [1, 1]])
    def test_must_differ(self, seeds):
        with pytest.raises(ExperimentError, match="at least one seed, and each once"):
            check_seeds(seeds)


class TestAttempts:
    @pytest.fixture
    def files(self, tmp_path):
        return CellFiles(tmp_path / "cell")

    def failing(self, error):
        def run():
            raise error

        return run

    def test_what_was_found_is_kept(self, files):
        assert files.found() is None
        files.note_failure("an earlier one")
        found = {"metric": "AP", "value": 0.5}
        assert files.attempt(lambda: found) == files.found() == found
        assert files.failure() is None

    def test_a_failure_is_kept_with_its_traceback(self, files):
        found = files.attempt(self.failing(RuntimeError("out of memory\n\nand a page of tensors")))
        assert found == {"failed": "RuntimeError: out of memory"}
        assert files.failure() == "RuntimeError: out of memory"
        trace = (files.folder / "failed.txt").read_text()
        assert "and a page of tensors" in trace and "Traceback" in trace
        assert files.found() is None

    def test_all_lines_that_a_user_can_mend_are_kept(self, files):
        assert files.attempt(self.failing(UserError("one\ntwo"))) == {"failed": "one\ntwo"}
        assert files.failure() == "one\ntwo"

    def test_a_diverged_training_is_a_failure(self, files):
        files.attempt(lambda: {"metric": "AP", "value": math.nan})
        assert files.failure() == "the AP is nan: the training has diverged"

    def test_a_stop_is_none(self, files):
        with pytest.raises(Interrupted, match="cell is saved; the same command goes on$"):
            files.attempt(self.failing(Interrupted("saved")))
        assert files.found() is None and files.failure() is None

    def test_another_request_is_refused_by_the_sections_that_changed(self, files):
        files.refuse_another_request({"seed": 1})
        files.note_request({"seed": 1, "loss": {"sigma": 2}, "policy": None})
        files.refuse_another_request({"seed": 1, "loss": {"sigma": 2}, "policy": None})
        with pytest.raises(ExperimentError, match="cell was made with another loss, budget; delete it, or"):
            files.refuse_another_request({"seed": 1, "loss": {"sigma": 1}, "policy": None, "budget": 3})


@pytest.mark.parametrize("left", ["", '{"metric": "AP", "val', "[1, 2]", "\0\0\0\0"])
class TestWhatACrashOfTheMachineLeft:
    """Files that lost their end are set aside and named, and what they told of is done again."""

    def test_a_result_and_a_request(self, tmp_path, left):
        files = CellFiles(tmp_path)
        for name in ("cell.json", "request.json"):
            (tmp_path / name).write_text(left)
        with messages.capture() as said:
            assert files.found() is None and files.request() == {}
        for name in ("cell.json", "request.json"):
            assert f"damaged {tmp_path / name} (" in said.get()
            assert (tmp_path / f"{name}.damaged").read_text() == left
        assert files.attempt(lambda: {"metric": "AP", "value": 0.5}) == files.found()
        files.note_request({"seed": 1})
        assert files.request() == {"seed": 1}

    def test_the_plan_of_a_comparison(self, tmp_path, left):
        (tmp_path / "plan.json").write_text(left)
        threads = _threads(tmp_path, jobs=1)
        assert threads == _threads(tmp_path, jobs=1000) >= 1

    def test_a_trial(self, tmp_path, left):
        """Its record is left out, and the tuner runs it again."""
        files = CellFiles(tmp_path)
        files.attempt(lambda: {"metric": "validation loss", "value": 0.5})
        (tmp_path / "request.json").write_text(left)
        assert record_of(files) is None


@pytest.mark.parametrize("left", ["", "loss\n1\n", "epoch,loss\n0,1.5\n1", "epoch,loss\n\0,\0\n"])
def test_a_history_that_lost_its_end_is_set_aside(tmp_path, left):
    file = tmp_path / "history.csv"
    file.write_text(left)
    with messages.capture() as said:
        assert read_history(file) == []
    assert f"damaged {file} (" in said.get()
    assert (tmp_path / "history.csv.damaged").read_text() == left and not file.exists()
