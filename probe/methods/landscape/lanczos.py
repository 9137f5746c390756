"""Lanczos iteration: extreme eigenvalues of a symmetric operator, and its spectral density."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

MatVec = Callable[[Tensor], Tensor]
_MIN_STEPS = 10  # an early residual may be that of an eigenvalue inside the spectrum
_BASIS_BYTES = 2**31  # of all vectors that are kept orthogonal


@dataclass(frozen=True)
class Ritz:
    """Approximate eigenvalues in descending order, (k,) float64, with limits of their errors.

    residuals: (k,) an eigenvalue lies within this distance of each. weights: (k,) squared first components of the
    eigenvectors of the tridiagonal matrix, which sum to 1: the weights of Gauss quadrature. vectors: (k, n) or None.
    """

    values: np.ndarray
    residuals: np.ndarray
    weights: np.ndarray
    vectors: Tensor | None = None


def lanczos(
    matvec: MatVec, start: Tensor, steps: int, *, vectors: bool = False, tolerance: float = 0.0
) -> Ritz:
    """At most `steps` Lanczos steps from the vector `start` (n,), with full reorthogonalisation, twice.

    tolerance: stop when the residuals of both extreme eigenvalues are below this fraction of the largest. Lanczos 1950;
    steps are fewer where the basis would take more than 2 GB or the space is exhausted.
    """
    n = len(start)
    steps = max(1, min(steps, n, _BASIS_BYTES // (n * start.element_size())))
    basis = torch.empty(steps, n, dtype=start.dtype, device=start.device)
    basis[0] = start / start.norm()
    alphas: list[float] = []
    betas: list[float] = []
    for k in range(steps):
        w = matvec(basis[k])
        alphas.append(float(w @ basis[k]))
        for _ in range(2):
            w = w - basis[: k + 1].T @ (basis[: k + 1] @ w)
        betas.append(float(w.norm()))
        scale = max(abs(a) for a in alphas) + max(betas[:-1], default=0.0)
        if not np.isfinite(betas[-1]) or betas[-1] <= 1e-6 * scale:
            betas[-1] = 0.0 if np.isfinite(betas[-1]) else betas[-1]
            break
        if k + 1 == steps or (tolerance and k + 1 >= _MIN_STEPS and _converged(alphas, betas, tolerance)):
            break
        basis[k + 1] = w / betas[-1]
    if not np.isfinite([*alphas, *betas]).all():
        empty = np.array([np.nan])
        return Ritz(empty, empty, empty)
    values, rotation = _tridiagonal(alphas, betas)
    order = np.argsort(values)[::-1]
    mixed = None
    if vectors:
        coefficients = torch.from_numpy(rotation[:, order].T.copy()).to(basis)
        mixed = coefficients @ basis[: len(alphas)]
    return Ritz(values[order], np.abs(betas[-1] * rotation[-1, order]), rotation[0, order] ** 2, mixed)


def _tridiagonal(alphas: Sequence[float], betas: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    inner = np.array(betas[: len(alphas) - 1])
    return np.linalg.eigh(np.diag(alphas) + np.diag(inner, 1) + np.diag(inner, -1))


def _converged(alphas: Sequence[float], betas: Sequence[float], tolerance: float) -> bool:
    values, rotation = _tridiagonal(alphas, betas)
    residuals = np.abs(betas[-1] * rotation[-1])
    return bool(max(residuals[0], residuals[-1]) <= tolerance * np.abs(values).max())


def random_start(
    n: int, rng: torch.Generator, *, like: Tensor | None = None, device: object = "cpu"
) -> Tensor:
    """A vector (n,) of random signs, drawn on the CPU."""
    signs = torch.randint(0, 2, (n,), generator=rng).float() * 2 - 1
    return signs.to(like) if like is not None else signs.to(device)  # type: ignore[call-overload]


def spectral_density(runs: Sequence[Ritz], grid: np.ndarray, *, sigma: float) -> np.ndarray:
    """The density of eigenvalues at `grid`, integrating to 1, from Lanczos runs with random starts.

    Each run is a Gauss quadrature of the density weighted with its start vector; the mean over random ones is that of the
    spectrum. Eigenvalues are widened to Gaussians of standard deviation `sigma`. Stochastic Lanczos quadrature: Ghorbani
    et al. 2019, arXiv 1901.10159.
    """
    density = np.zeros(len(grid))
    for run in runs:
        peaks = np.exp(-((grid[:, None] - run.values[None]) ** 2) / (2 * sigma**2)) / (
            sigma * np.sqrt(2 * np.pi)
        )
        density += peaks @ run.weights
    return density / len(runs)
