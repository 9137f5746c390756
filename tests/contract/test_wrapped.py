"""The caller's own network is the same before and after every analysis: mode, hooks, requires_grad, buffers, grads."""

from typing import Any

import pytest
import torch
from torch import nn

import probe
from probe.analyses import catalogue, find
from probe.data.images import Images
from probe.exhibits.result import Result
from tests.conftest import ResidualBlock, convolutional_network

LONG = (
    *("robustness", "compare", "tuning-curves", "curvature", "surface"),
    *("attribution-tests", "attack-path", "transferability"),
)
NAMES = [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in catalogue()]


@pytest.fixture
def network() -> nn.Module:
    """In training mode, with hooks, gradients, frozen and trainable parameters, and a batch norm."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = convolutional_network()
        made(torch.rand(4, 3, 32, 32)).sum().backward()
    made.train()
    made[1].eval()
    made[0].weight.requires_grad_(False)
    made[4].register_forward_hook(lambda *_: None)
    made[9].register_full_backward_hook(lambda *_: None)
    made[3].register_forward_pre_hook(lambda *_: None)
    return made


def everything(network: nn.Module) -> list[Any]:
    """Modes, hooks, attributes, parameters with their gradients, buffers; and that they are the same objects."""
    parts: list[Any] = []
    for name, module in network.named_modules():
        hooks = (
            module._forward_hooks,
            module._forward_pre_hooks,
            module._backward_hooks,
            module._backward_pre_hooks,
        )
        parts.append((name, module.training, [list(h.values()) for h in hooks], sorted(vars(module))))
    for name, value in network.named_parameters():
        grad = None if value.grad is None else value.grad.tolist()
        parts.append((name, id(value), value.requires_grad, value.is_leaf, value.tolist(), grad))
    parts += [(name, id(value), value.tolist()) for name, value in network.named_buffers()]
    return parts


def wrapped(network: nn.Module) -> probe.Model:
    return probe.wrap(network, shape=(3, 32, 32), mean=0.5, std=0.5, classes=10)


@pytest.mark.parametrize("name", NAMES)
def test_the_callers_network_is_untouched(name: str, network: nn.Module, noise_images: Images) -> None:
    if name == "residual-paths":
        network = nn.Sequential(*network[:4], ResidualBlock(8), ResidualBlock(8), *network[4:])
    before = everything(network)
    model = wrapped(network)
    other = probe.wrap(network, shape=(3, 32, 32), mean=0.4, std=0.5, classes=10, name="other")
    result = probe.run(name, model, noise_images, seed=5, compare_to=[other] * 2, **find(name).quick)
    assert isinstance(result, Result)
    assert everything(network) == before


def test_the_copy_shares_nothing_with_the_callers_network(network: nn.Module) -> None:
    model = wrapped(network)
    own = {value.data_ptr() for value in network.state_dict().values()}
    assert not own & {value.data_ptr() for value in model.network.state_dict().values()}
    assert not any(module.training for module in model.network.modules())
    assert all(value.grad is None for value in model.network.parameters())
