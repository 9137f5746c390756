"""Coarse-to-fine evaluation of a surface: interpolate where a checked error allows it, compute elsewhere."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import RectBivariateSpline, RegularGridInterpolator

Array = np.ndarray
Indices = list[tuple[int, int]]

_STRIDES = (4, 2)
_COARSE = 5  # points on each axis of the first grid, at least: a cubic spline needs four
_CHECKS = 20  # of a level: with 19 a 95% quantile exists without extrapolation
_CHECKED = 0.1  # of the points of a level
_LEVEL = 0.95


@dataclass(frozen=True)
class Refined:
    """A surface on the full grid, all (rows, columns).

    values: computed or interpolated. computed: which of them. error: of log values, the limit that holds for 95% of
    the interpolated ones; 0 where computed. checked: (points,) true errors of interpolation at the randomly chosen points
    by which the limits were set.
    """

    values: Array
    computed: Array
    error: Array
    checked: Array


def refine(
    shape: tuple[int, int],
    evaluate: Callable[[Indices, str], Array],
    *,
    tolerance: float,
    rng: np.random.Generator,
) -> Refined:
    """Evaluate a positive surface on a grid of `shape` (rows, columns) to a relative `tolerance`.

    evaluate(points, stage) -> (len(points),) values at (row, column) indices. A coarse grid is computed; then, on grids
    of half the spacing, log values are interpolated by a cubic spline. Its difference from linear interpolation says
    where it may err, and points chosen at random, which are computed, say by how much: as many of the points with the
    smallest difference stay interpolated as have 95% of their errors within the tolerance (split conformal prediction:
    the quantile is that of the chosen points among them). The others are computed; for a chaotic surface all are.
    Values that are not positive and finite are never interpolated across.
    """
    rows, columns = shape
    stride = next((s for s in _STRIDES if min(len(every(n, s)) for n in shape) >= _COARSE), 1)
    values, computed = np.full(shape, np.nan), np.zeros(shape, dtype=bool)
    error, checked = np.zeros(shape), []
    limit = np.log1p(tolerance)

    def compute(points: Indices, stage: str) -> None:
        if points:
            where = tuple(np.array(points).T)
            values[where] = evaluate(points, stage)
            computed[where] = True
            error[where] = 0

    compute([(i, j) for i in every(rows, stride) for j in every(columns, stride)], "coarse")
    while stride > 1:
        axes = every(rows, stride), every(columns, stride)
        stride //= 2
        fine = [(i, j) for i in every(rows, stride) for j in every(columns, stride)]
        coarse = np.zeros(shape, dtype=bool)
        coarse[np.ix_(*axes)] = True
        new = [point for point in fine if not coarse[point]]
        if not new:
            continue
        where = tuple(np.array(new).T)
        logs, doubt = _interpolate(values, axes, new)
        chosen = rng.permutation(len(new))[: max(_CHECKS, int(np.ceil(_CHECKED * len(new))))]
        checks = [new[k] for k in sorted(chosen.tolist())]
        compute(checks, f"grid of every {stride}, checks" if stride > 1 else "full grid, checks")
        positions = np.sort(chosen)
        with np.errstate(divide="ignore", invalid="ignore"):
            misses = np.abs(np.log(values[tuple(np.array(checks).T)]) - logs[positions])
        most, bound = _largest_doubt(doubt[positions], misses, limit)
        keep = doubt <= most
        checked += misses[keep[positions]].tolist()
        values[where] = np.where(computed[where], values[where], np.exp(logs))
        error[where] = np.where(computed[where], 0, bound)
        rest = [p for p, stays in zip(new, keep.tolist(), strict=True) if not stays and not computed[p]]
        compute(rest, f"grid of every {stride}" if stride > 1 else "full grid")
    return Refined(values, computed, error, np.array(checked))


def every(n: int, stride: int) -> list[int]:
    """Every `stride`-th of n positions, and the last.

    >>> every(7, 2), every(8, 4)
    ([0, 2, 4, 6], [0, 4, 7])
    """
    positions = list(range(0, n, stride))
    return positions if positions[-1] == n - 1 else [*positions, n - 1]


def _interpolate(values: Array, axes: tuple[list[int], list[int]], points: Indices) -> tuple[Array, Array]:
    """Log values at `points` by a cubic spline from those on the grid `axes`, and their differences from linear
    interpolation; NaN and infinite near gaps."""
    with np.errstate(divide="ignore", invalid="ignore"):
        known = np.log(values[np.ix_(*axes)])
    gaps = ~np.isfinite(known)
    filled = np.where(gaps, np.mean(known[~gaps]) if not gaps.all() else 0.0, known)
    where = np.array(points, dtype=float)
    orders = [min(3, len(axis) - 1) for axis in axes]
    smooth = RectBivariateSpline(*axes, filled, kx=orders[0], ky=orders[1], s=0).ev(where[:, 0], where[:, 1])
    linear = RegularGridInterpolator(axes, filled)(where)
    near_gap = RegularGridInterpolator(axes, _widened(gaps).astype(float))(where) > 0
    return np.where(near_gap, np.nan, smooth), np.where(near_gap, np.inf, np.abs(smooth - linear))


def _widened(gaps: Array) -> Array:
    """`gaps` and their neighbours, on which a cubic spline leans."""
    padded = np.pad(gaps, 1)
    rows, columns = gaps.shape
    shifts = [padded[i : i + rows, j : j + columns] for i in range(3) for j in range(3)]
    return np.logical_or.reduce(shifts)


def _largest_doubt(doubt: Array, misses: Array, limit: float) -> tuple[float, float]:
    """The largest doubt up to which 95% of the misses are at most `limit`, and the quantile of the misses up to there.

    doubt, misses: (checks,). (-1, 0) if there is none.
    """
    order = np.argsort(doubt, kind="stable")
    for count in range(len(order), 0, -1):
        chosen = order[:count]
        bound = _conformal_quantile(np.nan_to_num(misses[chosen], nan=np.inf))
        if bound <= limit and np.isfinite(doubt[chosen[-1]]):
            return float(doubt[chosen[-1]]), bound
    return -1.0, 0.0


def _conformal_quantile(scores: Array) -> float:
    """The smallest score that at least 95% of further exchangeable scores do not exceed; infinite for fewer than 19."""
    rank = int(np.ceil((len(scores) + 1) * _LEVEL))
    return float(np.sort(scores)[rank - 1]) if rank <= len(scores) else float("inf")
