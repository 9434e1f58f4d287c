"""Statistics over seeds, against values by hand and SciPy's paired test."""

import math

import numpy as np
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
        ("deltas", "noise", "seeds"),
        [
            (
                [1.0, 1.1],
                False,
                None,
            ),  # 21 of its errors; Student's table has 12.71 for one degree of freedom
            (
                [1.0, 1.2],
                None,
                3,
            ),  # 11; a mean of 7.8 spreads, of which three seeds need 4.303 / sqrt(3) = 2.5
            ([-1.0, -1.1], False, None),
            ([0.174, 0.0], None, 11),  # 0.707 spreads; ten need 2.262 / sqrt(10) = 0.715, eleven 0.672
            ([0.02, 0.03, 0.04], False, None),  # 5.2; the table has 4.303
            ([0.02, 0.03, 0.05], None, 4),  # 3.8; 2.18 spreads, of which four need 3.182 / 2 = 1.59
            ([-0.02, 0.02, 0.001], True, None),
            ([0.0, 0.0, 0.0], True, None),
            ([0.01, 0.01, 0.01], False, None),
            ([0.5], None, None),
        ],
    )
    def test_what_the_t_test_tells_at_5_percent(self, deltas, noise, seeds):
        zeros = [0.0] * len(deltas)
        found = difference(deltas, zeros)
        assert (found["within_noise"], found["seeds_to_tell"]) == (noise, seeds)
        if len(set(deltas)) > 1:
            assert bool(stats.ttest_rel(deltas, zeros).pvalue <= 0.05) is (noise is False)

    @pytest.mark.parametrize("deltas", [[0.05, 0.124], [0.02, 0.03, 0.05], [-0.01, -0.03]])
    def test_so_many_seeds_would_tell_and_one_fewer_not(self, deltas):
        """By SciPy's test of samples that have this mean and this spread."""
        needed, pvalues = difference(deltas, [0.0] * len(deltas))["seeds_to_tell"], []
        for count in (needed - 1, needed):
            sample = np.linspace(-1, 1, count)
            sample = np.mean(deltas) + sample / np.std(sample, ddof=1) * np.std(deltas, ddof=1)
            pvalues.append(stats.ttest_1samp(sample, 0.0).pvalue)
        assert pvalues[0] > 0.05 >= pvalues[1]

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
            ([0.05, 0.124, None], "+0.0870 ± 0.0370, 2 seeds cannot tell, 4 could"),
            ([0.02, None, None], "+0.0200, one pair"),
            ([None, None, None], "-"),
        ],
    )
    def test_of_a_difference(self, values, words):
        assert describe_difference(difference(values, [0.0] * 3)) == words

    def test_the_rule_is_said(self):
        three, two = difference([1, 2, 3], [0, 0, 0]), difference([1, 2], [0, 0])
        rule, advice = noise_notes([two], "off")
        assert "more than 12.7 standard errors" in rule
        assert advice == "2 seeds are too few for some differences of this size and spread; take 4."
        rule, _ = noise_notes([None, two, three], "off")
        assert "differences to off under the same seed" in rule
        assert "4.3 standard errors, below which 95% of the differences between equal arms are with 3" in rule
        assert len(noise_notes([difference([1, 1.1], [0, 0])], "off")) == 1
        assert noise_notes([None, difference([1], [0])], "off") == []
