"""Networks with blocks deleted or in another order."""

import copy
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from scipy.stats import kendalltau
from torch import Tensor, nn


def deletable(network: nn.Module, owners: Sequence[str], inputs: Tensor) -> list[str]:
    """The modules among `owners` whose output has the shape of their input, so that the identity may replace them."""
    shapes: dict[str, tuple[torch.Size, torch.Size]] = {}
    handles = []
    modules = dict(network.named_modules())
    for name in owners:
        if name in modules:

            def hook(module: nn.Module, given: tuple[Tensor, ...], output: Tensor, name: str = name) -> None:
                shapes[name] = (given[0].shape, output.shape)

            handles.append(modules[name].register_forward_hook(hook))
    try:
        with torch.no_grad():
            network(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return [name for name in owners if name in shapes and shapes[name][0] == shapes[name][1]]


def with_modules(network: nn.Module, replacements: Mapping[str, nn.Module]) -> nn.Module:
    """A copy of `network` in which other modules stand at some addresses."""
    changed = copy.deepcopy(network)
    for name, module in replacements.items():
        owner, _, child = name.rpartition(".")
        changed.get_submodule(owner)._modules[child] = module
    return changed


def without_module(network: nn.Module, name: str) -> nn.Module:
    """A copy of `network` in which the identity stands at `name`."""
    return with_modules(network, {name: nn.Identity()})


def reordered(
    network: nn.Module, groups: Sequence[Sequence[str]], swaps: int, rng: torch.Generator
) -> tuple[nn.Module, float]:
    """A copy in which `swaps` random pairs of modules are exchanged, each pair within a group, and Kendall's tau.

    groups: names of modules of one shape each, in their order in the network. tau: the rank correlation of the new order
    with the old one, 1 where nothing changed. Veit et al. 2016, section 5.3.
    """
    orders = [list(range(len(group))) for group in groups]
    usable = [g for g, group in enumerate(groups) if len(group) > 1]
    for _ in range(swaps):
        g = usable[int(torch.randint(len(usable), (1,), generator=rng))]
        a, b = torch.randperm(len(orders[g]), generator=rng)[:2].tolist()
        orders[g][a], orders[g][b] = orders[g][b], orders[g][a]
    modules = dict(network.named_modules())
    replacements = {
        group[place]: modules[group[source]]
        for group, order in zip(groups, orders, strict=True)
        for place, source in enumerate(order)
        if place != source
    }
    offset, ranks = 0, []
    for order in orders:
        ranks += [offset + source for source in order]
        offset += len(order)
    tau = float(kendalltau(np.arange(len(ranks)), ranks).statistic) if len(ranks) > 1 else 1.0
    return with_modules(network, {name: copy.deepcopy(module) for name, module in replacements.items()}), tau
