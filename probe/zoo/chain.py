"""Sequential networks whose layers have names."""

from collections import OrderedDict

from torch import nn


def chain(**layers: nn.Module) -> nn.Sequential:
    """A Sequential whose layers are addressed by name: `chain(conv1=..., relu1=...)`."""
    return nn.Sequential(OrderedDict(layers))
