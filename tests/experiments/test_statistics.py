"""Statistics over seeds, against values by hand and SciPy's paired test."""

import math

import pytest
from scipy import stats

from p2net_tf.experiments.statistics import describe_difference, difference, noise_notes, spread_of


class TestDifference:
    VALUES = {"a": [0.61, 0.64, 0.58, 0.66], "b": [0.60, 0.61, 0.57, 0.62]}

    def test_spread_is_the_sample_standard_deviation(self):
        found = spread_of(self.VALUES["a"])
        assert found["mean"] == pytest.approx(0.6225)
        squares = sum((value - 0.6225) ** 2 for value in self.VALUES["a"])
        assert found["spread"] == pytest.approx(math.sqrt(squares / 3))
        assert spread_of([0.5, None]) == {"mean": 0.5, "spread": None}
        assert spread_of([None]) == {"mean": None, "spread": None}

    def test_paired_difference_is_that_of_the_paired_t_test(self):
        found = difference(self.VALUES["a"], self.VALUES["b"])
        expected = stats.ttest_rel(self.VALUES["a"], self.VALUES["b"])
        assert found["mean"] == pytest.approx(0.0225)
        assert found["mean"] / found["standard_error"] == pytest.approx(expected.statistic)
        assert found["pairs"] == 4

    @pytest.mark.parametrize(
        ("deltas", "noise"),
        [
            ([1.0, 1.1], False),  # 21 of its errors; Student's table has 12.71 for one degree of freedom
            ([1.0, 1.2], True),  # 11
            ([-1.0, -1.1], False),
            ([0.02, 0.03, 0.04], False),  # 5.2; the table has 4.303
            ([0.02, 0.03, 0.05], True),  # 3.8
            ([-0.02, 0.02, 0.001], True),
            ([0.0, 0.0, 0.0], True),
            ([0.01, 0.01, 0.01], False),
            ([0.5], None),
        ],
    )
    def test_noise_is_what_the_t_test_leaves_open_at_5_percent(self, deltas, noise):
        zeros = [0.0] * len(deltas)
        assert difference(deltas, zeros)["within_noise"] is noise
        if len(set(deltas)) > 1:
            assert bool(stats.ttest_rel(deltas, zeros).pvalue > 0.05) is noise

    def test_pairs_need_both(self):
        assert difference([0.5, None, 0.7], [None, 0.2, 0.4])["mean"] == pytest.approx(0.3)
        assert difference([0.5, None], [None, 0.2]) is None


class TestWords:
    @pytest.mark.parametrize(
        ("values", "words"),
        [
            ([0.02, 0.03, 0.04], "+0.0300 ± 0.0058, better"),  # 0.01 / sqrt(3)
            ([-0.02, -0.03, -0.04], "-0.0300 ± 0.0058, worse"),
            ([-0.02, 0.03, 0.02], "+0.0100 ± 0.0153, within noise"),  # sqrt(0.0007) / sqrt(3)
            ([0.02, None, None], "+0.0200, one pair"),
            ([None, None, None], "-"),
        ],
    )
    def test_of_a_difference(self, values, words):
        assert describe_difference(difference(values, [0.0] * 3)) == words

    def test_the_rule_is_said(self):
        three, two = difference([1, 2, 3], [0, 0, 0]), difference([1, 2], [0, 0])
        assert "smaller than 12.7 standard errors" in noise_notes([two], "off")[0]
        (note,) = noise_notes([None, two, three], "off")
        assert "differences to off under the same seed" in note
        assert "4.3 standard errors, as 95% of the differences between equal arms are with 3 pairs" in note
        assert noise_notes([None, difference([1], [0])], "off") == []
