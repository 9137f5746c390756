"""Batch norm with frozen statistics, folded into the convolution or dense layer before it."""

import copy
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

_FOLDABLE = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
_BatchNorm = nn.modules.batchnorm._BatchNorm


@dataclass(frozen=True)
class Fold:
    """A layer and the batch norm that directly follows it, by their names."""

    layer: str
    norm: str


def find_folds(network: nn.Module, forward: Callable[[nn.Module], object]) -> list[Fold]:
    """The batch norms with frozen statistics whose input is the output of a convolution or dense layer.

    forward(network) runs one forward pass, from which the pairs are read; both layers are called once in it, and share
    their weights with no other. Whether the output is read elsewhere too is for the caller to check (`fold`).
    """
    outputs: list[tuple[str, Tensor]] = []
    pairs: list[Fold] = []
    calls: Counter[str] = Counter()
    handles = []
    owners = Counter(id(p) for module in network.modules() for p in module.parameters(recurse=False))
    names = Counter(id(module) for _, module in network.named_modules(remove_duplicate=False))

    def layer_hook(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            calls[name] += 1
            outputs.append((name, output))

        return hook

    def norm_hook(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            calls[name] += 1
            pairs.extend(Fold(layer, name) for layer, value in outputs if value is inputs[0])

        return hook

    for name, module in network.named_modules():
        if names[id(module)] > 1:
            continue
        if type(module) in _FOLDABLE and owners[id(module.weight)] == 1:
            handles.append(module.register_forward_hook(layer_hook(name)))
        elif isinstance(module, _BatchNorm) and not module.training and module.running_mean is not None:
            handles.append(module.register_forward_hook(norm_hook(name)))
    try:
        with torch.no_grad():
            forward(network)
    finally:
        for handle in handles:
            handle.remove()
    once = Counter(pair.layer for pair in pairs)
    return [p for p in pairs if calls[p.layer] == 1 and calls[p.norm] == 1 and once[p.layer] == 1]


def fold(
    network: nn.Module, folds: Sequence[Fold], directions: Sequence[Mapping[str, Tensor]] = ()
) -> tuple[nn.Module, list[dict[str, Tensor]]]:
    """A copy of `network` without the batch norms of `folds`, and the same directions, by weight, in its weights.

    With g = gamma / sqrt(variance + eps) for each channel, w' = g w and b' = beta + g (b - mean): linear in w and b, so
    the directions are multiplied by g as well, and folding once serves the whole plane. Batch norms that a direction
    moves stay. Raises ValueError where a bias is missing on a layer whose direction moves it.
    """
    folded = copy.deepcopy(network)
    changed = [dict(direction) for direction in directions]
    for pair in folds:
        norm = folded.get_submodule(pair.norm)
        layer = folded.get_submodule(pair.layer)
        own = [f"{pair.norm}.{name}" for name in ("weight", "bias", "running_mean", "running_var")]
        if any(name in direction for name in own for direction in changed):
            continue
        assert isinstance(norm, _BatchNorm)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        with torch.no_grad():
            mean, variance = norm.running_mean.double(), norm.running_var.double()
            factor = (variance + norm.eps).rsqrt() * (1 if norm.weight is None else norm.weight.double())
            weight: Tensor = layer.weight  # pyrefly: ignore
            bias: Tensor = torch.zeros_like(mean) if layer.bias is None else layer.bias.double()  # pyrefly: ignore
            shift = (bias - mean) * factor + (0 if norm.bias is None else norm.bias.double())
            rows = factor.view(-1, *([1] * (weight.ndim - 1)))
            weight.copy_(weight.double() * rows)
            layer.bias = nn.Parameter(shift.to(weight.dtype), requires_grad=False)
            for direction in changed:
                if (name := f"{pair.layer}.weight") in direction:
                    direction[name] = (direction[name].double() * rows).to(weight.dtype)
                if (name := f"{pair.layer}.bias") in direction:
                    direction[name] = (direction[name].double() * factor).to(weight.dtype)
        owner, _, child = pair.norm.rpartition(".")
        folded.get_submodule(owner)._modules[child] = nn.Identity()
    return folded, changed
