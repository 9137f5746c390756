"""Weights that a network computes from others (weight and spectral norm, pruning): written out as plain weights."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from probe.errors import UserError


def with_plain_weights(network: nn.Module) -> nn.Module:
    """`network` itself or, where it computes weights from others, a copy with the results as plain weights.

    In evaluation mode both compute the same. network: in evaluation mode. A parametrisation that gives other weights
    each time is kept.
    """
    if not any(_computed_weights(module) for module in network.modules()):
        return network
    for (
        module
    ) in network.modules():  # what a hook has computed is no leaf, and such a tensor cannot be copied
        for name, value in vars(module).items():
            if isinstance(value, Tensor) and not value.is_leaf:
                vars(module)[name] = value.detach()
    plain = copy.deepcopy(network)
    for module in list(plain.modules()):
        write_out(module)
    return plain


def write_out(module: nn.Module) -> None:
    """Make the weights that `module` itself computes plain parameters."""
    if isinstance(module, torch.jit.ScriptModule):
        return
    if parametrize.is_parametrized(module):
        _remove_parametrisations(module)
    for hook in list(module._forward_pre_hooks.values()):
        if isinstance(hook, WeightNorm):
            remove_weight_norm(module, hook.name)
        elif isinstance(hook, SpectralNorm):
            remove_spectral_norm(module, hook.name)
        elif isinstance(hook, prune.BasePruningMethod):
            prune.remove(module, hook._tensor_name)


@torch.no_grad()
def _remove_parametrisations(module: nn.Module) -> None:
    """As torch's own function, which takes the weights from the copies of `module` too: they share its class."""
    names = list(module.parametrizations)  # pyrefly: ignore[not-iterable, bad-argument-type]
    try:
        weights = {name: getattr(module, name) for name in names}
    except NotImplementedError as error:
        reason = str(error).split("\n")[0]
        raise UserError(
            f"the parametrised weights of a {type(module).__name__} cannot be computed on this device in their precision "
            f"({reason}): convert the network to float32"
        ) from None
    if not all(torch.equal(weights[name], getattr(module, name)) for name in names):
        return
    module.__class__ = parametrize.type_before_parametrizations(module)
    del module.parametrizations
    for name, weight in weights.items():
        module.register_parameter(name, nn.Parameter(weight.clone(), requires_grad=False))


def accept_plain_weights(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Make the weights of `network` plain parameters where `state` holds them as such."""
    own = network.state_dict()
    for name, module in list(network.named_modules()):
        keys = {f"{name}.{weight}" if name else weight for weight in _computed_weights(module)}
        if keys and keys <= state.keys() - own.keys():
            write_out(module)


def _computed_weights(module: nn.Module) -> list[str]:
    """The names of the weights that `module` itself computes from others."""
    if isinstance(module, torch.jit.ScriptModule):
        return []
    names = list(module.parametrizations) if parametrize.is_parametrized(module) else []  # pyrefly: ignore
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, WeightNorm | SpectralNorm):
            names.append(hook.name)
        elif isinstance(hook, prune.BasePruningMethod):
            names.append(hook._tensor_name)
    return names
