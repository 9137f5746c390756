"""Confidence intervals of proportions and means."""

from math import inf, sqrt

import numpy as np


def wilson_interval(hits: float, n: int, *, z: float = 1.959964) -> tuple[float, float]:
    """The 95% interval of a proportion of which `hits` of `n` were observed; (0, 1) if n is 0.

    It contains hits / n, stays inside [0, 1] and has a positive width at 0 % and 100 % too. z: quantile of the normal
    distribution, for other levels. Wilson 1927.

    >>> "{:.4f} {:.4f}".format(*wilson_interval(0, 100))
    '0.0000 0.0370'
    """
    if n == 0:
        return 0.0, 1.0
    proportion = hits / n
    centre = proportion + z * z / (2 * n)
    half_width = z * sqrt(proportion * (1 - proportion) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low, high = (centre - half_width) / scale, (centre + half_width) / scale
    return max(0.0, min(low, proportion)), min(1.0, max(high, proportion))  # rounding may cut off 0 and 1


def mean_interval(values: np.ndarray) -> tuple[float, float]:
    """The 95% interval of the mean of the population that `values` (n,) were drawn from; infinite if n < 2.

    Student 1908.

    >>> "{:.3f} {:.3f}".format(*mean_interval(np.array([0.0, 1.0, 2.0])))
    '-1.484 3.484'
    """
    from scipy.special import stdtrit

    n = len(values)
    if n < 2:
        return -inf, inf
    mean = float(np.mean(values))
    half_width = float(stdtrit(n - 1, 0.975)) * float(np.std(values, ddof=1)) / sqrt(n)
    return mean - half_width, mean + half_width
