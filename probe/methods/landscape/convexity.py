"""How convex a surface is on its grid: the signs of its principal curvatures."""

import numpy as np

_RATIO = 0.1


def negative_curvature(z: np.ndarray, x: np.ndarray, y: np.ndarray, *, ratio: float = _RATIO) -> float:
    """The fraction of inner points of z (len(y), len(x)) where the surface curves down.

    There the smaller eigenvalue of the matrix of second differences is negative and of more than `ratio` of the absolute
    value of the larger; points beside one that is not finite are left out. NaN if none is left. As Li et al. 2018,
    section 6, but in the plane itself and not in all directions: negative curvature in the plane implies it for the
    loss, positive curvature implies nothing.
    """
    if min(z.shape) < 3:
        return float("nan")
    with np.errstate(invalid="ignore", over="ignore"):
        hx, hy = np.diff(x).mean(), np.diff(y).mean()
        inner = z[1:-1, 1:-1]
        xx = (z[1:-1, 2:] - 2 * inner + z[1:-1, :-2]) / hx**2
        yy = (z[2:, 1:-1] - 2 * inner + z[:-2, 1:-1]) / hy**2
        xy = (z[2:, 2:] - z[2:, :-2] - z[:-2, 2:] + z[:-2, :-2]) / (4 * hx * hy)
        mean, radius = (xx + yy) / 2, np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
        low, high = mean - radius, np.maximum(np.abs(mean - radius), np.abs(mean + radius))
        usable = np.isfinite(low)
        return float((low < -ratio * high)[usable].mean()) if usable.any() else float("nan")
