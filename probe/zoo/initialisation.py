"""Weight initialisation: He for ReLU networks, Xavier for tanh and sigmoid networks."""

from typing import TypeVar

from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def he(network: Network) -> Network:
    """Initialise a ReLU network: normal weights of variance 2 / fan-in, zero biases.

    He et al. 2015, arXiv 1502.01852. No ReLU follows the last dense layer: its weights have variance 1 / fan-in.
    """
    weighted = _zero_biases(network)
    for module in weighted:
        last = module is weighted[-1]
        nn.init.kaiming_normal_(module.weight, nonlinearity="linear" if last else "relu")
    return network


def xavier(network: Network) -> Network:
    """Initialise a tanh or sigmoid network: variance 2 / (fan-in + fan-out), zero biases. Glorot & Bengio 2010."""
    for module in _zero_biases(network):
        nn.init.xavier_uniform_(module.weight)
    return network


def _zero_biases(network: nn.Module) -> list[nn.Conv1d | nn.Conv2d | nn.Linear]:
    """Set the biases of convolutions and dense layers to zero; returns these layers in order of definition."""
    weighted = [
        module for module in network.modules() if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear)
    ]
    for module in weighted:
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    return weighted
