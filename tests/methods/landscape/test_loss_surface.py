"""The loss surface: closed form, a slow rewrite from the paper in float64, folding, estimates from a part of the images."""

import copy
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from probe.methods.landscape.batch_norm import recalibrate
from probe.methods.landscape.directions import movable_weights, random_direction
from probe.methods.landscape.loss_surface import LossSurface, estimate
from probe.methods.landscape.perturbation import WeightPlane
from probe.model.folding import find_folds, fold


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def network() -> nn.Module:
    """Convolutions with batch norm of statistics that are not 0 and 1, one of them before its convolution."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = nn.Sequential(
            nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.BatchNorm2d(6), nn.Conv2d(6, 5, 3),
            nn.BatchNorm2d(5), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4),
        )  # fmt: skip
        for module in network:
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias)
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
    return network.eval().requires_grad_(False)


@pytest.fixture
def data() -> tuple[Tensor, Tensor]:
    return torch.randn(24, 3, 9, 9, generator=rng(1)), torch.arange(24) % 4


def slow_surface(
    network: nn.Module, directions: list[dict], x: np.ndarray, y: np.ndarray, data: tuple
) -> np.ndarray:
    """Z[i, j] = L(w + x[j] d1 + y[i] d2), point by point in float64, as the paper says it."""
    pixels, labels = data[0].double(), data[1]
    z = np.zeros((len(y), len(x)))
    for i, j in product(range(len(y)), range(len(x))):
        moved = copy.deepcopy(network).double()
        for name, parameter in moved.named_parameters():
            original = dict(network.named_parameters())[name].double()
            if original.dim() <= 1:  # biasbn
                continue
            change = x[j] * directions[0][name].double() + y[i] * directions[1][name].double()
            parameter.data = original + change
        z[i, j] = float(F.cross_entropy(moved(pixels), labels))
    return z


def paper_direction(network: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
    """Filter normalisation, filter by filter, in float64."""
    direction = {}
    for name, w in network.named_parameters():
        d = torch.randn(w.shape, generator=generator).double()
        if w.dim() <= 1:
            d.fill_(0)
        else:
            for k in range(len(w)):
                d[k] *= w[k].double().norm() / (d[k].norm() + 1e-10)
        direction[name] = d
    return direction


def test_every_point_of_a_non_square_grid_is_that_of_the_slow_rewrite(
    network: nn.Module, data: tuple
) -> None:
    weights = movable_weights(network)
    first, second = rng(5), rng(5)
    directions = [random_direction(weights, first) for _ in range(2)]
    expected = [paper_direction(network, second) for _ in range(2)]
    x, y = np.linspace(-1, 1, 5), np.linspace(-0.5, 0.7, 3)
    surface = LossSurface(
        WeightPlane(network, directions), [data[0][:16], data[0][16:]], [data[1][:16], data[1][16:]]
    )
    z = np.array([[surface.at((a, b)).losses.mean() for a in x] for b in y])
    np.testing.assert_allclose(z, slow_surface(network, expected, x, y, data), rtol=1e-5)


def test_the_centre_is_the_networks_own_loss_and_the_network_is_untouched(
    network: nn.Module, data: tuple
) -> None:
    before = copy.deepcopy(network.state_dict())
    directions = [random_direction(movable_weights(network), rng(s)) for s in (0, 1)]
    surface = LossSurface(WeightPlane(network, directions), [data[0]], [data[1]])
    surface.at((0.5, -0.5))
    own = F.cross_entropy(network(data[0]), data[1], reduction="none")
    assert torch.equal(torch.from_numpy(surface.at((0, 0)).losses), own.double())
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_a_point_does_not_depend_on_those_before_it(network: nn.Module, data: tuple) -> None:
    surface = LossSurface(
        WeightPlane(network, [random_direction(movable_weights(network), rng())]), [data[0]], [data[1]]
    )
    first = surface.at((0.3,)).losses
    surface.at((1e6,))
    assert np.array_equal(surface.at((0.3,)).losses, first)


def test_a_linear_network_with_squared_loss_has_an_exact_quadratic_surface() -> None:
    generator = rng(7)
    inputs, targets = (
        torch.randn(30, 6, generator=generator).double(),
        torch.randn(30, 3, generator=generator).double(),
    )
    network = nn.Sequential(nn.Linear(6, 3, bias=False)).double()
    directions = [{"0.weight": torch.randn(3, 6, generator=generator).double()} for _ in range(2)]
    surface = LossSurface(
        WeightPlane(network, directions), [inputs], [torch.arange(30)],
        loss=lambda outputs, rows: (outputs - targets[rows]).square().sum(1),
    )  # fmt: skip
    w = network[0].weight.detach()
    residual = inputs @ w.T - targets
    slopes = [inputs @ d["0.weight"].T for d in directions]
    for a, b in product((-2.0, 0.0, 0.7), (-1.0, 0.0, 3.0)):
        closed = (residual + a * slopes[0] + b * slopes[1]).square().sum() / 30
        assert surface.at((a, b)).losses.mean() == pytest.approx(float(closed), rel=1e-12)


def test_folding_once_gives_the_same_surface_everywhere(network: nn.Module, data: tuple) -> None:
    directions = [random_direction(movable_weights(network), rng(s)) for s in (0, 1)]
    folds = find_folds(network, lambda net: net(data[0][:1]))
    assert [(f.layer, f.norm) for f in folds] == [("0", "1"), ("4", "5")], "the norm after a ReLU stays"
    folded, changed = fold(network, folds, directions)
    assert sum(isinstance(m, nn.BatchNorm2d) for m in folded.modules()) == 1
    surfaces = [
        LossSurface(WeightPlane(net, d), [data[0]], [data[1]])
        for net, d in ((network, directions), (folded, changed))
    ]
    for point in product((-1.0, 0.0, 0.4), (-0.3, 1.0)):
        plain, fast = (s.at(point).losses for s in surfaces)
        np.testing.assert_allclose(fast, plain, rtol=2e-4, atol=1e-5)


def test_a_norm_that_moves_is_not_folded(network: nn.Module, data: tuple) -> None:
    weights = movable_weights(network)
    directions = [random_direction(weights, rng(), move_1d=True)]
    folded, _ = fold(network, find_folds(network, lambda net: net(data[0][:1])), directions)
    assert sum(isinstance(m, nn.BatchNorm2d) for m in folded.modules()) == 3


def test_reused_layers_are_not_folded() -> None:
    layer, norm = nn.Linear(4, 4), nn.BatchNorm1d(4)
    network = nn.Sequential(layer, norm, nn.ReLU(), layer, norm).eval()
    assert find_folds(network, lambda net: net(torch.randn(2, 4))) == []


def test_recalibrated_statistics_are_those_of_the_images(network: nn.Module, data: tuple) -> None:
    moved = copy.deepcopy(network)
    recalibrate(moved, [data[0]])
    outputs = network[0](data[0]).transpose(0, 1).flatten(1)
    torch.testing.assert_close(moved[1].running_mean, outputs.mean(1))
    torch.testing.assert_close(moved[1].running_var, outputs.var(1))
    assert not any(m.training for m in moved.modules())
    assert moved[1].momentum == network[1].momentum


def test_the_estimate_from_all_images_is_their_mean_without_an_error() -> None:
    losses = np.random.default_rng(0).exponential(size=50)
    value = estimate(losses, losses)
    assert value.loss == losses.mean()
    assert value.error == 0
    assert value.spread > 0


def test_the_limits_hold_the_mean_over_all_images_in_95_of_100_cases() -> None:
    draw = np.random.default_rng(0)
    inside = narrower = 0
    for _ in range(400):
        anchor = draw.exponential(size=600)
        losses = 1.3 * anchor + 0.2 * draw.exponential(size=600)
        value = estimate(losses[:200], anchor)
        plain = 1.96 * losses[:200].std() / 200**0.5
        inside += abs(value.loss - losses.mean()) <= value.error
        narrower += value.error < plain / 3
    assert 0.92 <= inside / 400 <= 0.98
    assert narrower == 400, "what the losses have in common with the anchor is no error"


def test_a_loss_that_is_not_finite_is_a_value() -> None:
    losses = np.array([1.0, np.inf, 2.0])
    assert estimate(losses, np.ones(3)).loss == np.inf
    assert np.isnan(estimate(np.array([1.0, np.nan]), np.ones(3)).loss)
    assert estimate(np.zeros(3), np.zeros(3)).loss == 0
