"""Objectives of image optimisation: class scores and channels, one value for each image of a batch."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from probe.device import to_device

LOGITS = ""
"""Names the output of the network among the layers of an objective."""

Activations = Mapping[str, Tensor]


class Objective(ABC):
    """A value to maximise. `layers` names what `value` reads: addresses, and LOGITS for the output.

    Objectives add up and take factors: `Logit(classes) - 0.1 * Channel("conv2", channels)`.
    """

    layers: frozenset[str]

    @abstractmethod
    def value(self, activations: Activations) -> Tensor:
        """{address: (n, ...)} -> (n,): the value of image i depends on row i alone."""

    def __add__(self, other: "Objective") -> "Objective":
        return Weighted(((1.0, self), (1.0, other)))

    def __sub__(self, other: "Objective") -> "Objective":
        return Weighted(((1.0, self), (-1.0, other)))

    def __mul__(self, factor: float) -> "Objective":
        return Weighted(((float(factor), self),))

    __rmul__ = __mul__


class Weighted(Objective):
    """A weighted sum of objectives, given as (weight, objective) pairs."""

    def __init__(self, terms: tuple[tuple[float, Objective], ...]) -> None:
        self.terms = terms
        self.layers = frozenset().union(*(term.layers for _, term in terms))

    def value(self, activations: Activations) -> Tensor:
        return torch.stack([weight * term.value(activations) for weight, term in self.terms]).sum(0)


@dataclass(frozen=True, eq=False)
class Logit(Objective):
    """The logit of classes[i] for image i: the score, not the probability, which depends on other classes too.

    classes: (n,) int64. Simonyan et al. 2014, section 2.
    """

    classes: Tensor
    layers = frozenset({LOGITS})

    def value(self, activations: Activations) -> Tensor:
        logits = activations[LOGITS]
        return logits.gather(1, to_device(self.classes, logits.device)[:, None])[:, 0]


@dataclass(frozen=True, eq=False)
class LogProbability(Objective):
    """The log-probability of classes[i] for image i.

    Unlike the logit it also lowers the other classes, and its gradient vanishes once the class is certain.
    classes: (n,) int64.
    """

    classes: Tensor
    layers = frozenset({LOGITS})

    def value(self, activations: Activations) -> Tensor:
        log_probabilities = activations[LOGITS].log_softmax(1)
        return log_probabilities.gather(1, to_device(self.classes, log_probabilities.device)[:, None])[:, 0]


class Channel(Objective):
    """Channel channels[i] of a layer for image i: the mean over its map, or the value itself in a dense layer.

    channels: (n,) int64.
    """

    def __init__(self, layer: str, channels: Tensor) -> None:
        self.layer, self.channels = layer, channels
        self.layers = frozenset({layer})

    def value(self, activations: Activations) -> Tensor:
        activation = activations[self.layer]
        if len(activation) != len(self.channels):
            raise ValueError(f"{len(self.channels)} channels for {len(activation)} images: give one an image")
        rows = torch.arange(len(activation), device=activation.device)
        return activation[rows, to_device(self.channels, activation.device)].reshape(len(rows), -1).mean(1)
