"""The Hessian of a network, its eigenvalues, trace and products, against curvlinops."""

import copy
import warnings

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import eigsh
from torch import nn

from probe.methods.landscape.hessian import Hessian
from probe.methods.landscape.hutchinson import trace
from probe.methods.landscape.lanczos import lanczos, random_start
from probe.zoo import build

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of the TorchScript functions that it defines
    curvlinops = pytest.importorskip("curvlinops")

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def network() -> nn.Module:
    """A convolutional network with batch norm and max-pooling, whose statistics are those of random images."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = nn.Sequential(
            nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(3),
            nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten(), nn.Linear(4, 3),
        ).double()  # fmt: skip
        layers(torch.randn(64, 3, 20, 20, generator=rng(5)).double())
    return layers.eval().requires_grad_(False)


@pytest.fixture
def data() -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    inputs = torch.randn(24, 3, 20, 20, generator=rng(1)).double()
    return list(inputs.split(10)), list((torch.arange(24) % 3).split(10))


def theirs(network: nn.Module, data: tuple) -> "curvlinops.HessianLinearOperator":
    network = copy.deepcopy(network).requires_grad_(True)
    batches = list(zip(*data, strict=True))
    return curvlinops.HessianLinearOperator(
        network,
        nn.CrossEntropyLoss(),
        list(network.parameters()),
        batches,
        num_data=sum(len(labels) for labels in data[1]),
        check_deterministic=False,
    )


def test_products_trace_and_extreme_eigenvalues_are_those_of_curvlinops(
    network: nn.Module, data: tuple
) -> None:
    ours = Hessian(network, *data)
    matrix = theirs(network, data) @ torch.eye(ours.size).double()
    vector = torch.randn(ours.size, generator=rng(2)).double()
    torch.testing.assert_close(ours @ vector, matrix @ vector)
    values = np.linalg.eigvalsh(matrix.numpy())
    ritz = lanczos(ours.matvec, random_start(ours.size, rng(3), like=vector), 80)
    np.testing.assert_allclose(ritz.values[:3], values[::-1][:3], rtol=1e-6)
    np.testing.assert_allclose(ritz.values[-1], values[0], rtol=1e-6)
    starts = [random_start(ours.size, rng(s), like=vector) for s in range(100)]
    _, low, high = trace([lanczos(ours.matvec, start, 1) for start in starts], ours.size)
    assert low <= float(matrix.trace()) <= high


@pytest.mark.slow
def test_the_largest_eigenvalue_of_a_resnet20_is_that_of_curvlinops() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build("resnet20").eval().requires_grad_(False)
    data = [torch.randn(8, 3, 32, 32, generator=rng(1))], [torch.arange(8)]
    ours, reference = Hessian(network, *data), theirs(network, data).to_scipy()
    start = random_start(ours.size, rng(3), like=torch.zeros(1))
    (largest,) = eigsh(reference, k=1, which="LA", return_eigenvectors=False, tol=1e-3, v0=start.numpy())
    assert lanczos(ours.matvec, start, 25).values[0] == pytest.approx(float(largest), rel=5e-3)
