"""How sure is a share that was counted, or a mean that was taken?"""

from math import inf, sqrt

import numpy as np


def wilson_interval(hits: float, n: int, *, z: float = 1.959964) -> tuple[float, float]:
    """The 95 % interval of a share of which `hits` of `n` were seen; (0, 1) where nothing was.

    Wilson 1927. It stays inside [0, 1] and has a width at 0 % and 100 % too.

    >>> "{:.4f} {:.4f}".format(*wilson(0, 100))
    '0.0000 0.0370'
    """
    if n == 0:
        return 0.0, 1.0
    share = hits / n
    centre = share + z * z / (2 * n)
    half = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def mean_interval(values: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of the mean that `values` (n,) were drawn round; without end for one value alone.

    Student 1908.

    >>> "{:.3f} {:.3f}".format(*of_mean(np.array([0.0, 1.0, 2.0])))
    '-1.484 3.484'
    """
    from scipy.special import stdtrit

    n = len(values)
    if n < 2:
        return -inf, inf
    half = float(stdtrit(n - 1, 0.975)) * float(np.std(values, ddof=1)) / sqrt(n)
    return float(np.mean(values)) - half, float(np.mean(values)) + half
