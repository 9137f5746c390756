"""Gabor functions fitted to kernels, and a permutation test of the fit."""

from dataclasses import dataclass
from math import pi

import numpy as np
import torch
from torch import Tensor

_ATOMS = 512  # atoms of the dictionary at a time


@dataclass(frozen=True)
class Gabor:
    """A sine wave under a Gaussian, fitted to a kernel (c, h, w).

    orientation: of the bars in degrees, anticlockwise, 0 horizontal, [0, 180). frequency: cycles per pixel.
    fit: (c, h, w). error: proportion of the kernel's energy that the fit does not explain, 0 to 1.
    """

    orientation: float
    frequency: float
    fit: np.ndarray
    error: float


def fit_gabor(kernel: Tensor) -> Gabor:
    """Fit one Gabor function to a kernel (c, h, w): one position, size, orientation and frequency for all its colours.

    Amplitude and phase of each colour are solved for exactly; the other six parameters start from the best atom of a
    dictionary and are refined by least squares. Jones and Palmer 1987.
    """
    from scipy.optimize import least_squares

    values = kernel.double().flatten(1).numpy()
    shape = (kernel.shape[1], kernel.shape[2])
    energy = float((values**2).sum())
    if energy == 0:
        return Gabor(0.0, 0.0, np.zeros(tuple(kernel.shape), np.float32), 0.0)
    atoms = _dictionary(shape)
    start = atoms[int(_explained(kernel.flatten(1)[None].double(), atoms, shape)[1][0])].double().numpy()

    def residual(parameters: np.ndarray) -> np.ndarray:
        return (values - _projected(values, parameters, shape)).ravel()

    # Bounds keep the wave below half a cycle a pixel, and the Gaussian between half a pixel and twice the kernel.
    size = max(shape)
    low = [-1.0, -1.0, np.log(0.4), np.log(0.4), -np.inf, 0.0]
    high = [shape[0], shape[1], np.log(2.0 * size), np.log(2.0 * size), np.inf, 0.5]
    solution = least_squares(
        residual, np.clip(start, np.add(low, 1e-6), np.subtract(high, 1e-6)), bounds=(low, high), max_nfev=60
    )
    fit = _projected(values, solution.x, shape)
    error = float(((values - fit) ** 2).sum() / energy)
    return Gabor(
        float(np.degrees(solution.x[4]) % 180),
        float(solution.x[5]),
        fit.reshape(kernel.shape).astype(np.float32),
        error,
    )


def permutation_p_values(kernels: Tensor, *, rng: torch.Generator, permutations: int = 99) -> Tensor:
    """p-values of a permutation test of how well a Gabor function describes kernels: (n, c, h, w) -> (n,).

    The statistic is the proportion of a kernel's energy that the best Gabor function of a dictionary explains; it is
    compared with that of the kernel with its pixels permuted, all colours alike. For independent weights, as in an
    untrained network, p is uniform: one kernel in twenty is at or below 0.05.
    """
    shape = (kernels.shape[2], kernels.shape[3])
    atoms = _dictionary(shape)
    flat = kernels.flatten(2).double()
    explained = _explained(flat, atoms, shape)[0]
    as_large = torch.zeros(len(flat))
    for _ in range(permutations):
        order = torch.rand(len(flat), 1, flat.shape[2], generator=rng).argsort(2).expand_as(flat)
        as_large += _explained(flat.gather(2, order), atoms, shape)[0] >= explained
    return (1 + as_large) / (1 + permutations)


def _dictionary(shape: tuple[int, int]) -> Tensor:
    """(atoms, 6): row, column, log sizes across and along the bars, orientation in radians, frequency."""
    size = max(shape)
    frequency = torch.linspace(0.5 / size, 0.42, 5)
    across = torch.log(size * torch.tensor([0.12, 0.2, 0.35]))
    ratio = torch.log(torch.tensor([1.0, 1.8]))
    angle = torch.arange(12) * pi / 12
    rows = (shape[0] - 1) * torch.tensor([0.25, 0.5, 0.75])
    columns = (shape[1] - 1) * torch.tensor([0.25, 0.5, 0.75])
    atoms = torch.cartesian_prod(rows, columns, across, ratio, angle, frequency)
    atoms[:, 3] += atoms[:, 2]
    return atoms


def _waves(atoms: Tensor, shape: tuple[int, int]) -> Tensor:
    """Orthonormal cosine and sine waves under the Gaussian of each atom: (atoms, 2, pixels), float64."""
    row, column, across, along, angle, frequency = atoms.double().T[:, :, None]
    y, x = torch.meshgrid(torch.arange(shape[0]), torch.arange(shape[1]), indexing="ij")
    y, x = y.flatten().double() - row, x.flatten().double() - column
    u = x * angle.sin() + y * angle.cos()
    v = x * angle.cos() - y * angle.sin()
    envelope = torch.exp(-0.5 * ((u / across.exp()) ** 2 + (v / along.exp()) ** 2))
    even, odd = envelope * torch.cos(2 * pi * frequency * u), envelope * torch.sin(2 * pi * frequency * u)
    even = even / even.norm(dim=1, keepdim=True).clamp(min=1e-12)
    odd = odd - (odd * even).sum(1, keepdim=True) * even
    return torch.stack([even, odd / odd.norm(dim=1, keepdim=True).clamp(min=1e-9)], 1)


def _explained(kernels: Tensor, atoms: Tensor, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The largest proportion of the energy of each kernel (n, c, pixels) that an atom explains, and which atom does."""
    parts = []
    for chunk in atoms.split(_ATOMS):
        waves = _waves(chunk, shape).flatten(0, 1)
        amplitude = (kernels.flatten(0, 1) @ waves.T).square().view(len(kernels), -1, len(chunk), 2)
        parts.append(amplitude.sum((1, 3)))
    energy = kernels.square().sum((1, 2)).clamp(min=1e-30)
    proportion, atom = torch.cat(parts, 1).max(1)
    return proportion / energy, atom


def _projected(values: np.ndarray, parameters: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    waves = _waves(torch.from_numpy(parameters)[None], shape)[0].numpy()
    return values @ waves.T @ waves
