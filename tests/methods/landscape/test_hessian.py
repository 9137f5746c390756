"""Hessian-vector products, Lanczos and Hutchinson against the dense Hessian of torch.func and closed forms."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev
from torch.nn import functional as F

from probe.methods.landscape.hessian import Hessian
from probe.methods.landscape.hutchinson import trace
from probe.methods.landscape.lanczos import lanczos, random_start, spectral_density


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Tanh(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 3)
        ).double().eval().requires_grad_(False)  # fmt: skip


@pytest.fixture
def data() -> tuple[Tensor, Tensor]:
    return torch.randn(20, 1, 6, 6, generator=rng(1)).double(), torch.arange(20) % 3


def dense(network: nn.Module, data: tuple[Tensor, Tensor]) -> Tensor:
    named = dict(network.named_parameters())
    flat = torch.cat([p.reshape(-1) for p in named.values()])

    def loss(vector: Tensor) -> Tensor:
        parts = vector.split([p.numel() for p in named.values()])
        weights = {name: part.view(p.shape) for (name, p), part in zip(named.items(), parts, strict=True)}
        return F.cross_entropy(functional_call(network, weights, (data[0],)), data[1])

    return jacrev(jacrev(loss))(flat)


def operator(network: nn.Module, data: tuple[Tensor, Tensor]) -> Hessian:
    return Hessian(network, [data[0][:7], data[0][7:]], [data[1][:7], data[1][7:]])


def test_products_are_those_of_the_dense_hessian(network: nn.Module, data: tuple) -> None:
    matrix, products = dense(network, data), operator(network, data)
    assert products.shape == tuple(matrix.shape)
    for seed in range(3):
        v = torch.randn(len(matrix), generator=rng(seed)).double()
        torch.testing.assert_close(products @ v, matrix @ v)
    v = torch.randn(len(matrix), generator=rng(9)).double()
    np.testing.assert_allclose(products.to_scipy() @ v.numpy(), (matrix @ v).numpy(), rtol=1e-9, atol=1e-12)


def test_the_network_is_untouched(network: nn.Module, data: tuple) -> None:
    operator(network, data) @ torch.ones(sum(p.numel() for p in network.parameters())).double()
    assert all(p.grad is None and not p.requires_grad for p in network.parameters())


def test_extreme_eigenvalues_and_vectors_are_those_of_the_dense_hessian(
    network: nn.Module, data: tuple
) -> None:
    matrix, products = dense(network, data), operator(network, data)
    values, vectors = torch.linalg.eigh(matrix)
    ritz = lanczos(products.matvec, torch.randn(len(matrix), generator=rng()).double(), 60, vectors=True)
    assert ritz.values[0] == pytest.approx(float(values[-1]), rel=1e-8)
    assert ritz.values[-1] == pytest.approx(float(values[0]), rel=1e-6)
    assert abs(float(ritz.vectors[0] @ vectors[:, -1])) == pytest.approx(1, abs=1e-6)
    distance = np.abs(values.numpy()[None] - ritz.values[:, None]).min(1)
    assert (distance <= ritz.residuals + 1e-10).all(), "an eigenvalue lies within each residual"


def test_lanczos_stops_when_the_ends_have_converged(network: nn.Module, data: tuple) -> None:
    products = operator(network, data)
    start = torch.randn(products.size, generator=rng()).double()
    short = lanczos(products.matvec, start, 60, tolerance=0.01)
    assert len(short.values) < 40
    assert short.values[0] == pytest.approx(lanczos(products.matvec, start, 60).values[0], rel=0.01)


def test_the_trace_of_a_diagonal_matrix_is_exact_for_random_signs() -> None:
    diagonal = torch.arange(1.0, 51.0).double()
    runs = [lanczos(lambda v: diagonal * v, random_start(50, rng(s), like=diagonal), 5) for s in range(3)]
    value, low, high = trace(runs, 50)
    assert value == pytest.approx(float(diagonal.sum()), rel=1e-9)
    assert low <= value <= high


def test_the_interval_of_the_trace_holds_it(network: nn.Module, data: tuple) -> None:
    matrix, products = dense(network, data), operator(network, data)
    runs = [lanczos(products.matvec, random_start(products.size, rng(s), like=matrix), 3) for s in range(40)]
    value, low, high = trace(runs, products.size)
    assert low <= float(matrix.trace()) <= high
    assert value == pytest.approx(float(matrix.trace()), rel=0.3)


def test_the_spectral_density_has_the_moments_of_the_spectrum() -> None:
    values = torch.cat([torch.zeros(80), torch.full((20,), 5.0)]).double()
    runs = [lanczos(lambda v: values * v, random_start(100, rng(s), like=values), 10) for s in range(20)]
    grid = np.linspace(-3, 8, 2000)
    density = spectral_density(runs, grid, sigma=0.2)
    step = grid[1] - grid[0]
    assert density.sum() * step == pytest.approx(1, abs=1e-3)
    assert (density * (grid > 2.5)).sum() * step == pytest.approx(0.2, abs=0.01)


def test_a_linear_network_with_squared_loss_has_the_hessian_of_its_inputs() -> None:
    inputs = torch.randn(30, 4, generator=rng()).double()
    products = Hessian(
        nn.Linear(4, 1, bias=False).double(),
        [inputs],
        [torch.zeros(30)],
        loss=lambda out, _: out.square().sum(1),
    )
    expected = 2 * inputs.T @ inputs / 30
    rows = torch.stack([products @ e for e in torch.eye(4).double()])
    torch.testing.assert_close(rows, expected)


def test_a_loss_that_is_not_finite_gives_nan() -> None:
    ritz = lanczos(lambda v: v * float("nan"), torch.ones(5), 4)
    assert np.isnan(ritz.values).all()
