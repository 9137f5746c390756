"""Is the interval of a share Wilson's, and that of a mean Student's?"""

import numpy as np
import pytest

from probe.statistics import mean_interval, wilson_interval


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (1, 10), (7, 10), (10, 10), (9_321, 10_000), (1, 1)])
def test_the_ends_are_the_shares_that_lie_z_standard_errors_from_what_was_seen(hits: int, n: int):
    for end in wilson_interval(hits, n, z=2.0):
        assert 0 <= end <= 1
        # The score test's own equation; at 0 and 1 the end is the edge itself.
        assert (hits / n - end) ** 2 == pytest.approx(4 * end * (1 - end) / n, abs=1e-12)


def test_nothing_seen_says_nothing():
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_it_is_scipys_interval():
    from scipy.stats import binomtest

    found = binomtest(37, 50).proportion_ci(0.95, method="wilson")
    assert wilson_interval(37, 50) == pytest.approx((found.low, found.high), abs=1e-6)


def test_the_interval_of_a_mean_is_scipys():
    from scipy.stats import ttest_1samp

    values = np.random.default_rng(0).normal(size=9)
    found = ttest_1samp(values, 0).confidence_interval(0.95)
    assert mean_interval(values) == pytest.approx((found.low, found.high))


def test_one_value_alone_says_nothing_of_its_mean():
    assert mean_interval(np.array([0.3])) == (-np.inf, np.inf)
