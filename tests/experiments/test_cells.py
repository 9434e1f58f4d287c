"""Cells: seeds, requests, and what is kept of an attempt."""

import math

import pytest

from p2net_tf.experiments.cells import CellFiles, ExperimentError, check_seeds, parse_seeds
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
