"""The statistics of an ablation, by hand, and the words of its table."""

import csv
import io
import math
from dataclasses import replace

import pytest
from rich.console import Console

from p2net_tf.experiments.ablation.axes import parse_axes
from p2net_tf.experiments.ablation.grid import Grid, Setting
from p2net_tf.experiments.ablation.summary import summarize, table_of
from p2net_tf.experiments.tables import Column
from p2net_tf.utils.console import console

SCORES = {
    "apm=on, loss.sigma=1": [0.60, 0.62, 0.64],
    "apm=on, loss.sigma=2": [0.61, 0.66, 0.65],
    "apm=off, loss.sigma=1": [0.57, 0.60, 0.60],
    "apm=off, loss.sigma=2": [0.59, 0.62, None],
}


@pytest.fixture
def report(base):
    axes = parse_axes(["apm=on,off", "loss.sigma=1,2"], base)
    labels = [{"apm": a, "loss.sigma": s} for a in axes[0].labels for s in axes[1].labels]
    grid = Grid(axes, [Setting(each, base) for each in labels])
    rows = {
        name: [
            {"failed": "out\nof | memory"} if value is None else {"metric": "PCK@0.2", "value": value}
            for value in values
        ]
        for name, values in SCORES.items()
    }
    return summarize(grid, [0, 1, 5], rows, threads=1)


class TestStatistics:
    def test_settings(self, report):
        on_1, on_2, off_1, off_2 = report["settings"]
        assert [entry["values"] for entry in report["settings"]] == list(SCORES.values())
        assert (on_1["mean"], on_1["spread"]) == pytest.approx((0.62, 0.02))
        assert on_1["difference"] is None
        # 0.01, 0.04, 0.01: 0.02 +- sqrt(0.0003) / sqrt(3)
        assert on_2["difference"]["mean"] == pytest.approx(0.02)
        assert on_2["difference"]["standard_error"] == pytest.approx(0.01)
        # -0.03, -0.02, -0.04: -0.03 +- 0.01 / sqrt(3)
        assert off_1["difference"]["standard_error"] == pytest.approx(0.01 / math.sqrt(3))
        assert off_1["difference"]["within_noise"] is False
        # -0.01, 0: -0.005 +- 0.005; the third seed has no pair.
        assert off_2["difference"] == pytest.approx(
            {"mean": -0.005, "standard_error": 0.005, "pairs": 2, "within_noise": None, "seeds_to_tell": 11}
        )
        assert off_2["failed"] == {"5": "out\nof | memory"}

    def test_effects_are_over_the_other_axes_and_seeds_that_are_whole(self, report):
        apm, sigma = report["effects"]
        # off: (0.57 + 0.59) / 2, (0.60 + 0.62) / 2; on: 0.605, 0.64. So -0.025 and -0.03.
        assert (apm["axis"], apm["value"], apm["against"]) == ("apm", "off", "on")
        assert apm["difference"] == pytest.approx(
            {"mean": -0.0275, "standard_error": 0.0025, "pairs": 2, "within_noise": None, "seeds_to_tell": 3}
        )
        # 2: (0.61 + 0.59) / 2, (0.66 + 0.62) / 2; 1: 0.585, 0.61. So 0.015 and 0.03.
        assert (sigma["axis"], sigma["value"], sigma["against"]) == ("loss.sigma", "2", "1")
        assert sigma["difference"]["mean"] == pytest.approx(0.0225)
        assert sigma["difference"]["standard_error"] == pytest.approx(0.0075)

    def test_what_it_says_of_itself(self, report):
        assert (report["metric"], report["part"], report["baseline"]) == (
            "PCK@0.2",
            "test",
            "apm=on, loss.sigma=1",
        )
        notes = " ".join(report["notes"])
        assert "lowest validation loss of its training, once, on the test part" in notes
        assert "Better or worse: more than 4.3 standard errors" in notes
        assert "Threads of TensorFlow in every training: 1" in notes


class TestTable:
    def test_settings(self, report):
        headings, rows = table_of(report).lines()
        assert headings == [
            "apm", "loss.sigma", "mean", "spread", "seed 0", "seed 1", "seed 5", "failed",
            "difference to the baseline",
        ]  # fmt: skip
        assert rows == [
            ["on", "1", "0.6200", "0.0200", "0.6000", "0.6200", "0.6400", "", "baseline"],
            ["on", "2", "0.6400", "0.0265", "0.6100", "0.6600", "0.6500", "",
             "+0.0200 ± 0.0100, 3 seeds cannot tell, 6 could"],
            ["off", "1", "0.5900", "0.0173", "0.5700", "0.6000", "0.6000", "", "-0.0300 ± 0.0058, worse"],
            ["off", "2", "0.6050", "0.0212", "0.5900", "0.6200", "failed", "seed 5: out; of | memory",
             "-0.0050 ± 0.0050, 2 seeds cannot tell, 11 could"],
        ]  # fmt: skip

    def test_effects(self, report):
        # Both of two pairs: -0.0275 is 7.8 spreads of 0.0035, +0.0225 is 2.1 of 0.0106; three seeds need
        # 4.303 / sqrt(3) = 2.48 of them, four 3.182 / 2 = 1.59.
        assert table_of(report).effects == [
            ["apm", "off", "on", "-0.0275 ± 0.0025, 2 seeds cannot tell, 3 could"],
            ["loss.sigma", "2", "1", "+0.0225 ± 0.0075, 2 seeds cannot tell, 4 could"],
        ]

    def test_markdown(self, report):
        lines = table_of(report).markdown("ablation.png").splitlines()
        assert lines[0] == "# made_up: PCK@0.2 on the test part"
        tables = [line for line in lines if line.startswith("|")]
        assert len(tables) == 2 + 4 + 2 + 2
        assert tables[1] == "| :-- | :-- | --: | --: | --: | --: | --: | --: | :-- |"
        assert "of \\| memory" in tables[5]

    def test_comma_separated(self, report):
        rows = list(csv.DictReader(io.StringIO(table_of(report).comma_separated())))
        assert len(rows) == 12
        assert rows[4] == {"apm": "on", "loss.sigma": "2", "seed": "1", "PCK@0.2": "0.66"}
        assert rows[-1] == {"apm": "off", "loss.sigma": "2", "seed": "5", "PCK@0.2": ""}

    def test_terminal(self, report):
        with console.capture() as capture:
            table_of(report).print(console)
        printed = capture.get()
        for words in (
            "baseline",
            "3 seeds cannot tell",
            "± 0.0265",
            "Effects",
            "! apm=off, loss.sigma=2, seed 5: out",
        ):
            assert words in printed

    def test_a_terminal_that_is_too_narrow_has_further_columns_below(self, report):
        """Nothing is cut off: Table 4 has ten columns."""
        columns = [Column(f"box score {n}", [[f"9.{n}{row}{seed}5" for seed in range(3)] for row in range(4)])
                   for n in range(7)]  # fmt: skip
        table = replace(table_of(report), columns=columns)
        for width in (80, 250):
            narrow = Console(file=io.StringIO(), width=width)
            table.print(narrow)
            printed = narrow.file.getvalue()
            for text in (text for column in columns for texts in column.texts for text in texts):
                assert printed.count(text) == 1
            assert "\N{HORIZONTAL ELLIPSIS}" not in printed and "3 seeds cannot tell" in printed
            assert max(map(len, printed.splitlines())) <= width
