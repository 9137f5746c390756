"""With which weights does a network start?"""

from typing import TypeVar

from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def he(network: Network) -> Network:
    """Start a ReLU network: normal weights of variance 2 / fan-in, zero biases.

    He et al. 2015, arXiv 1502.01852. The last dense layer feeds no ReLU and starts with variance 1 / fan-in.
    """
    weighted = _weighted(network)
    for module in weighted:
        last = module is weighted[-1]
        nn.init.kaiming_normal_(module.weight, nonlinearity="linear" if last else "relu")
    return network


def xavier(network: Network) -> Network:
    """Start a tanh or sigmoid network: variance 2 / (fan-in + fan-out), zero biases. Glorot & Bengio 2010."""
    for module in _weighted(network):
        nn.init.xavier_uniform_(module.weight)
    return network


def _weighted(network: nn.Module) -> list[nn.Conv1d | nn.Conv2d | nn.Linear]:
    """The convolutions and dense layers in the order of their definition, their biases set to zero."""
    found = [module for module in network.modules() if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear)]
    for module in found:
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    return found
