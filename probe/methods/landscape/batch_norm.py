"""Batch norm on a loss surface, recalibrated at a point."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

_BatchNorm = nn.modules.batchnorm._BatchNorm


def batch_norms(network: nn.Module) -> list[nn.Module]:
    """The batch norms of a network that have running statistics."""
    return [m for m in network.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]


def recalibrate(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set the running statistics of every batch norm, in place, to their averages over `batches` of inputs.

    The statistics that the network would have had if it had been trained with its present weights.
    """
    norms = [m for m in batch_norms(network) if isinstance(m, _BatchNorm)]
    before = [(norm, norm.momentum, norm.training) for norm in norms]
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a cumulative average
            norm.training = True
        with torch.no_grad():
            for inputs in batches:
                network(inputs)
    finally:
        for norm, momentum, training in before:
            norm.momentum, norm.training = momentum, training
