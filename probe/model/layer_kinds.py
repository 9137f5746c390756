"""The layers that are activation functions, and the layers whose output they take."""

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
    if layer.kind not in ACTIVATIONS or layer.given is None:
        return address
    return layer.given if model.layers.find(layer.given).shape == layer.shape else address
