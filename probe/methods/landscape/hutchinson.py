"""The trace of a symmetric operator from products with random vectors."""

import numpy as np

from probe.methods.landscape.lanczos import Ritz
from probe.statistics import mean_interval


def trace_samples(runs: list[Ritz], n: int) -> np.ndarray:
    """v' A v for the start vector of each Lanczos run, a vector of n random signs: unbiased samples of the trace.

    A run gives v' A v = n times the mean of its values under its quadrature weights, so that no further product is needed.
    Hutchinson 1990.
    """
    return np.array([n * float(run.values @ run.weights) for run in runs])


def trace(runs: list[Ritz], n: int) -> tuple[float, float, float]:
    """The trace with its 95% interval, which is infinite for a single run."""
    samples = trace_samples(runs, n)
    return (float(samples.mean()), *mean_interval(samples))
