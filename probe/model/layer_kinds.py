"""The layers that are activation functions, and the layers whose output they take."""

import torch

from probe.model.layers import Layer
from probe.model.model import Model

SATURATING_ACTIVATIONS = ("Tanh", "Sigmoid", "Hardtanh", "Hardsigmoid", "Softsign", "ReLU6")
"""Kinds with an upper bound: large inputs give almost the same output."""

ACTIVATIONS = (
    *("ReLU", "LeakyReLU", "PReLU", "ELU", "SELU", "CELU", "GELU", "SiLU", "Hardswish", "Mish", "Softplus"),
    *SATURATING_ACTIVATIONS,
)
"""The kinds of layer that are activation functions."""


def pre_activation_layer(model: Model, address: str) -> str:
    """The layer whose output the activation function at `address` takes; `address` itself if it is no such function.

    What comes before a ReLU, tanh or sigmoid has a gradient everywhere. Raises UserError for an unknown address.
    """
    layer = model.layers.find(address)
    leaves: list[Layer] = [leaf for leaf in model.layers if leaf.leaf]
    place = next((i for i, leaf in enumerate(leaves) if leaf.address == address), 0)
    if layer.kind not in ACTIVATIONS or place == 0 or leaves[place - 1].shape != layer.shape:
        return address
    # With parallel branches the layer that ran just before need not be the input: compare the outputs.
    before = leaves[place - 1].address
    grey = torch.full((1, *model.shape), 0.5, device=model.device)
    with torch.inference_mode():
        outputs = model.features(grey, before, address)
        activated = model.network.get_submodule(address.split("#")[0])(outputs[before].clone())
    return before if torch.equal(activated, outputs[address]) else address
