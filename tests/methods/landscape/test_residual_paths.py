"""Residual sums by modules and functions, gradients by path length in two ways, lesions."""

from itertools import combinations
from math import comb

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from probe.errors import UserError
from probe.methods.landscape.lesions import deletable, reordered, without_module
from probe.methods.landscape.residual_paths import (
    ResidualPaths,
    gradients_by_length,
    path_counts,
    path_gradient,
)
from probe.zoo import build


class Functional(nn.Module):
    """A block as torchvision writes it: in place, by functions, the skip connection as the second operand."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv2(F.relu(self.conv1(x)))
        out += x
        return F.relu(out, inplace=True)


class SkipFirst(Functional):
    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.conv2(torch.relu(self.conv1(x))))


@pytest.fixture(params=[Functional, SkipFirst])
def network(request: pytest.FixtureRequest) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        blocks = [request.param(4) for _ in range(4)]
        network = nn.Sequential(
            nn.Conv2d(3, 4, 3), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
        )
    return network.double().eval().requires_grad_(False)


@pytest.fixture
def data() -> tuple[Tensor, Tensor]:
    return torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(1)).double(), torch.arange(5) % 3


def losses(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits, labels, reduction="none")


def test_sums_are_found_by_modules_and_functions(network: nn.Module, data: tuple) -> None:
    paths = ResidualPaths.of(network, data[0][:1])
    assert [s.owner for s in paths.sums] == ["1", "2", "3", "4"]
    assert {s.branch for s in paths.sums} == {
        0 if isinstance(network[1], Functional) and not isinstance(network[1], SkipFirst) else 1
    }
    resnet = build("resnet20").eval()
    found = ResidualPaths.of(resnet, torch.randn(1, 3, 32, 32))
    assert [s.address for s in found.sums] == [f"layer{i}.{j}.add" for i in (1, 2, 3) for j in range(3)]


def test_torchvision_s_residual_sums_are_found() -> None:
    from torchvision.models import resnet18

    paths = ResidualPaths.of(resnet18(weights=None).eval(), torch.randn(1, 3, 64, 64))
    assert [s.address for s in paths.sums] == [f"layer{i}.{j}/add" for i in (1, 2, 3, 4) for j in range(2)]


def test_a_network_without_residual_sums_is_refused() -> None:
    with pytest.raises(UserError, match="no residual blocks"):
        ResidualPaths.of(build("plain20").eval(), torch.randn(1, 3, 32, 32))


def test_the_forward_pass_is_that_of_the_network(network: nn.Module, data: tuple) -> None:
    paths = ResidualPaths.of(network, data[0][:1])
    with torch.no_grad(), paths.without([]):
        assert torch.equal(network(data[0]), network(data[0]))
        same = network(data[0])
    assert torch.equal(same, network(data[0]))


def test_a_deleted_block_leaves_its_input(network: nn.Module, data: tuple) -> None:
    paths = ResidualPaths.of(network, data[0][:1])
    with torch.no_grad(), paths.without([1]):
        lesioned = network(data[0])
    slow = nn.Sequential(network[0], network[1], nn.ReLU(), *network[3:])
    torch.testing.assert_close(lesioned, slow(data[0]))


def test_exact_sums_are_those_over_all_paths(network: nn.Module, data: tuple) -> None:
    paths = ResidualPaths.of(network, data[0][:1])
    exact = gradients_by_length(paths, *data, losses)
    assert len(exact) == 5
    for length in range(5):
        each = [path_gradient(paths, *data, losses, chosen) for chosen in combinations(range(4), length)]
        assert len(each) == comb(4, length)
        torch.testing.assert_close(exact[length], torch.stack(each).sum(0))


def test_all_lengths_together_are_the_gradient_of_the_network(network: nn.Module, data: tuple) -> None:
    paths = ResidualPaths.of(network, data[0][:1])
    leaf = data[0].clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(losses(network(leaf), data[1]).sum(), [leaf])
    torch.testing.assert_close(gradients_by_length(paths, *data, losses).sum(0), gradient)


def test_paths_through_shortcuts_with_other_widths_are_counted_too() -> None:
    resnet = build("resnet20").double().eval().requires_grad_(False)
    pixels, labels = torch.randn(2, 3, 32, 32).double(), torch.tensor([1, 2])
    paths = ResidualPaths.of(resnet, pixels[:1])
    leaf = pixels.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(losses(resnet(leaf), labels).sum(), [leaf])
    torch.testing.assert_close(gradients_by_length(paths, pixels, labels, losses).sum(0), gradient)


def test_path_counts_are_binomial() -> None:
    assert path_counts(54).sum() == pytest.approx(2.0**54)
    share = path_counts(54)[5:18].sum() / 2.0**54
    assert share == pytest.approx(0.00454, rel=0.01), "Veit et al. 2016: 0.45% of the paths"


def test_blocks_that_change_shape_cannot_be_deleted() -> None:
    network = build("plain20").eval()
    owners = [f"layer{i}.{j}" for i in (1, 2, 3) for j in range(3)]
    kept = deletable(network, owners, torch.randn(1, 3, 32, 32))
    assert kept == [o for o in owners if o not in ("layer2.0", "layer3.0")]
    shorter = without_module(network, "layer1.1")
    assert isinstance(shorter.get_submodule("layer1.1"), nn.Identity)
    assert not isinstance(network.get_submodule("layer1.1"), nn.Identity)


def test_reordered_blocks_have_their_rank_correlation() -> None:
    network = build("resnet20").eval()
    groups = [[f"layer1.{j}" for j in range(3)], ["layer2.1", "layer2.2"]]
    same, tau = reordered(network, groups, 0, torch.Generator().manual_seed(0))
    assert tau == pytest.approx(1)
    changed, tau = reordered(network, [groups[1]], 1, torch.Generator().manual_seed(0))
    assert tau == pytest.approx(-1)
    x = torch.randn(1, 3, 32, 32)
    assert torch.equal(same(x), network(x))
    for a, b in (("layer2.1", "layer2.2"), ("layer2.2", "layer2.1")):
        assert torch.equal(changed.get_submodule(a).conv1.weight, network.get_submodule(b).conv1.weight)
