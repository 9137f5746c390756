"""Confidence intervals of proportions (Wilson) and means (Student)."""

import numpy as np
import pytest

from probe.statistics import mean_interval, wilson_interval


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (1, 10), (7, 10), (10, 10), (9_321, 10_000), (1, 1)])
def test_the_limits_are_z_standard_errors_from_the_observed_proportion(hits: int, n: int):
    for end in wilson_interval(hits, n, z=2.0):
        assert 0 <= end <= 1
        # The score test's own equation; at 0 and 1 the end is the edge itself.
        assert (hits / n - end) ** 2 == pytest.approx(4 * end * (1 - end) / n, abs=1e-12)


def test_no_observations_give_the_whole_range():
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_it_agrees_with_scipy():
    from scipy.stats import binomtest

    expected = binomtest(37, 50).proportion_ci(0.95, method="wilson")
    assert wilson_interval(37, 50) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_the_interval_of_a_mean_agrees_with_scipy():
    from scipy.stats import ttest_1samp

    values = np.random.default_rng(0).normal(size=9)
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    assert mean_interval(values) == pytest.approx((expected.low, expected.high))


def test_the_interval_of_a_mean_of_one_value_is_infinite():
    assert mean_interval(np.array([0.3])) == (-np.inf, np.inf)
