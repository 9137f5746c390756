"""What is an image changed for? Objectives give one value for each image of a batch, so that none sees another."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from probe.data.sending import sent

LOGITS = ""
"""Stands for the network's own output where an objective names its layers."""

Seen = Mapping[str, Tensor]


class Objective(ABC):
    """A value to raise. `layers` says what `value` must be shown: addresses, and LOGITS for the output.

    Objectives add up and take factors: `Logit(classes) - 0.1 * Channel("conv2", channels)`.
    """

    layers: frozenset[str]

    @abstractmethod
    def value(self, seen: Seen) -> Tensor:
        """{address: (n, ...)} -> (n,): image i has a value that depends on row i alone."""

    def __add__(self, other: "Objective") -> "Objective":
        return Weighted(((1.0, self), (1.0, other)))

    def __sub__(self, other: "Objective") -> "Objective":
        return Weighted(((1.0, self), (-1.0, other)))

    def __mul__(self, factor: float) -> "Objective":
        return Weighted(((float(factor), self),))

    __rmul__ = __mul__


class Weighted(Objective):
    """A sum of objectives, each times its factor."""

    def __init__(self, terms: tuple[tuple[float, Objective], ...]) -> None:
        self.terms = terms
        self.layers = frozenset().union(*(term.layers for _, term in terms))

    def value(self, seen: Seen) -> Tensor:
        return torch.stack([factor * term.value(seen) for factor, term in self.terms]).sum(0)


@dataclass(frozen=True, eq=False)
class Logit(Objective):
    """Image i is to raise the logit of classes[i]: the score, not the probability, which other classes move too.

    classes: (n,) int64. Simonyan et al. 2014, section 2.
    """

    classes: Tensor
    layers = frozenset({LOGITS})

    def value(self, seen: Seen) -> Tensor:
        logits = seen[LOGITS]
        return logits.gather(1, sent(self.classes, logits.device)[:, None])[:, 0]


@dataclass(frozen=True, eq=False)
class LogProbability(Objective):
    """Image i is to raise the logarithm of the probability of classes[i].

    Beside the logit it lowers whatever rises along with it, and is silent once the class is certain.
    classes: (n,) int64.
    """

    classes: Tensor
    layers = frozenset({LOGITS})

    def value(self, seen: Seen) -> Tensor:
        share = seen[LOGITS].log_softmax(1)
        return share.gather(1, sent(self.classes, share.device)[:, None])[:, 0]


class Channel(Objective):
    """Image i is to raise channels[i] of a layer: its mean over the map, or the value itself in a dense layer."""

    def __init__(self, layer: str, channels: Tensor) -> None:
        self.layer, self.channels = layer, channels
        self.layers = frozenset({layer})

    def value(self, seen: Seen) -> Tensor:
        return _chosen(seen[self.layer], self.channels).reshape(len(self.channels), -1).mean(1)


class Unit(Objective):
    """Image i is to raise one unit of a map: channels[i] at rows[i], columns[i]."""

    def __init__(self, layer: str, channels: Tensor, rows: Tensor, columns: Tensor) -> None:
        self.layer, self.channels, self.rows, self.columns = layer, channels, rows, columns
        self.layers = frozenset({layer})

    def value(self, seen: Seen) -> Tensor:
        maps = _chosen(seen[self.layer], self.channels)
        if maps.ndim != 3:
            raise ValueError(f"{self.layer} has no maps, so its units have no row and column")
        each = torch.arange(len(maps), device=maps.device)
        return maps[each, sent(self.rows, maps.device), sent(self.columns, maps.device)]


def _chosen(activation: Tensor, channels: Tensor) -> Tensor:
    """(n, c, ...) -> (n, ...): the channel that is asked for in each image."""
    if len(activation) != len(channels):
        raise ValueError(f"{len(channels)} channels are asked for in {len(activation)} images")
    return activation[
        torch.arange(len(activation), device=activation.device), sent(channels, activation.device)
    ]
