"""Where does a network bend? Its activation functions, and what they are given."""

import torch

from probe.model.layers import Layer
from probe.model.model import Model

SATURATING = ("Tanh", "Sigmoid", "Hardtanh", "Hardsigmoid", "Softsign", "ReLU6")
"""Kinds with a ceiling: above it they no longer tell a strong answer from a stronger one."""

BENT = (
    *("ReLU", "LeakyReLU", "PReLU", "ELU", "SELU", "CELU", "GELU", "SiLU", "Hardswish", "Mish", "Softplus"),
    *SATURATING,
)
"""The kinds of layer that are activation functions."""


def before_activation(model: Model, address: str) -> str:
    """What the ReLU, tanh or sigmoid at `address` is given, which has a gradient everywhere; else `address` itself."""
    layer = model.layers.find(address)
    leaves: list[Layer] = [one for one in model.layers if one.leaf]
    place = next((i for i, one in enumerate(leaves) if one.address == address), 0)
    if layer.kind not in BENT or place == 0 or leaves[place - 1].shape != layer.shape:
        return address
    # The layer that ran just before need not be the one that feeds it: where branches run in parallel, ask.
    before = leaves[place - 1].address
    grey = torch.full((1, *model.shape), 0.5, device=model.device)
    with torch.inference_mode():
        seen = model.features(grey, before, address)
        bent = model.network.get_submodule(address.split("#")[0])(seen[before].clone())
    return before if torch.equal(bent, seen[address]) else address
