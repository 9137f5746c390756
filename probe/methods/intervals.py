"""How sure is a share that was counted?"""

from math import sqrt


def wilson(hits: float, n: int, *, z: float = 1.959964) -> tuple[float, float]:
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
