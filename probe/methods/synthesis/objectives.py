"""Objectives of image optimisation: class scores, channels, units, directions, energies; one value for each image."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from probe.device import to_device

LOGITS = ""
"""Names the output of the network among the layers of an objective."""

PIXELS = "."
"""Names the image itself, as it is before any transform, among the layers of an objective."""

Activations = Mapping[str, Tensor]


class Objective(ABC):
    """A value to maximise. `layers` names what `value` reads: addresses, LOGITS for the output, PIXELS for the image.

    Objectives add up and take factors: `Logit(classes) + 100 * TotalVariation()`.
    """

    layers: frozenset[str]

    @abstractmethod
    def value(self, activations: Activations) -> Tensor:
        """{address: (n, ...)} -> (n,): the value of image i depends on row i alone."""

    def without_regularisers(self) -> "Objective":
        """The terms that read the network; the whole if all of them read the image alone."""
        return self

    def __add__(self, other: "Objective") -> "Objective":
        return Weighted(((1.0, self), (1.0, other)))

    def __sub__(self, other: "Objective") -> "Objective":
        return Weighted(((1.0, self), (-1.0, other)))

    def __mul__(self, factor: float | Tensor) -> "Objective":
        """factor: a number, or (n,) one for each image."""
        return Weighted(((factor, self),))

    def __neg__(self) -> "Objective":
        return Weighted(((-1.0, self),))

    __rmul__ = __mul__


class Weighted(Objective):
    """A weighted sum of objectives, given as (weight, objective) pairs; a weight is a number, or (n,) one for each image."""

    def __init__(self, terms: tuple[tuple[float | Tensor, Objective], ...]) -> None:
        self.terms = terms
        self.layers = frozenset().union(*(term.layers for _, term in terms))

    def value(self, activations: Activations) -> Tensor:
        values = [(weight, term.value(activations)) for weight, term in self.terms]
        return torch.stack([_weight(weight, value) * value for weight, value in values]).sum(0)

    def without_regularisers(self) -> Objective:
        terms = [
            (weight, term.without_regularisers()) for weight, term in self.terms if term.layers != {PIXELS}
        ]
        return Weighted(tuple(terms)) if terms else self


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

    channels: (n,) int64. signs: (n,) of 1 and -1, which lowers the channel instead; none for 1.
    """

    def __init__(self, layer: str, channels: Tensor, signs: Tensor | None = None) -> None:
        self.layer, self.channels, self.signs = layer, channels, signs
        self.layers = frozenset({layer})

    def value(self, activations: Activations) -> Tensor:
        maps = _own_channel(activations[self.layer], self.channels)
        return _signed(maps.reshape(len(maps), -1).mean(1), self.signs)


class Unit(Objective):
    """One unit of channel channels[i] for image i: that at the centre of its map, or at `position` (row, column).

    channels: (n,) int64. signs: as of `Channel`.
    """

    def __init__(
        self,
        layer: str,
        channels: Tensor,
        position: tuple[int, int] | None = None,
        *,
        signs: Tensor | None = None,
    ) -> None:
        self.layer, self.channels, self.position, self.signs = layer, channels, position, signs
        self.layers = frozenset({layer})

    def value(self, activations: Activations) -> Tensor:
        maps = _own_channel(activations[self.layer], self.channels)
        if maps.ndim > 1:
            row, column = self.position or (maps.shape[1] // 2, maps.shape[2] // 2)
            maps = maps[:, row, column]
        return _signed(maps, self.signs)


class Direction(Objective):
    """How far the activation of a layer, averaged over its map, points along vectors[i] for image i.

    vectors: (n, channels), of any length: the value is the inner product with the vector as it is. LOGITS is a layer
    too. cosine: power of the cosine between both by which the value is multiplied, which keeps the image to the direction instead
    of whatever is longest along it (Carter et al. 2019, Activation Atlas); the cosine is kept above 0.1.
    """

    def __init__(self, layer: str, vectors: Tensor, *, cosine: float = 0.0) -> None:
        self.layer, self.vectors, self.cosine = layer, vectors, cosine
        self.layers = frozenset({layer})

    def value(self, activations: Activations) -> Tensor:
        activation = activations[self.layer]
        means = activation.flatten(2).mean(2) if activation.ndim > 2 else activation
        vectors = to_device(self.vectors, means.device).to(means)
        product = (means * vectors).sum(1)
        if not self.cosine:
            return product
        return product * functional.cosine_similarity(means, vectors).clamp_min(0.1) ** self.cosine


class LayerEnergy(Objective):
    """Half the sum of squares of a layer, or of some of its channels, whose gradient is the activation itself.

    channels: (k,) int64, or None for all. Mordvintsev et al. 2015 (DeepDream).
    """

    def __init__(self, layer: str, channels: Tensor | None = None) -> None:
        self.layer, self.channels = layer, channels
        self.layers = frozenset({layer})

    def value(self, activations: Activations) -> Tensor:
        activation = activations[self.layer]
        if self.channels is not None:
            activation = activation[:, to_device(self.channels, activation.device)]
        return 0.5 * activation.flatten(1).square().sum(1)


class Diversity(Objective):
    """Minus the mean cosine between the Gram matrix of an image and those of the other images of its group.

    group: images in a group; rows 0 to group - 1 are the first. The one objective in which images depend on each
    other, within their group alone. Olah et al. 2017, "Diversity".
    """

    def __init__(self, layer: str, group: int) -> None:
        if group < 2:
            raise ValueError(f"diversity is among at least 2 images, got groups of {group}")
        self.layer, self.group = layer, group
        self.layers = frozenset({layer})

    def value(self, activations: Activations) -> Tensor:
        activation = activations[self.layer]
        if len(activation) % self.group:
            raise ValueError(f"{len(activation)} images do not make up groups of {self.group}")
        maps = activation.flatten(2) if activation.ndim > 2 else activation[:, :, None]
        grams = functional.normalize((maps @ maps.transpose(1, 2)).flatten(1), dim=1)
        grouped = grams.view(-1, self.group, grams.shape[1])
        cosines = grouped @ grouped.transpose(1, 2)
        others = cosines.sum(2) - cosines.diagonal(dim1=1, dim2=2)
        return -others.flatten() / (self.group - 1)


def _weight(weight: float | Tensor, values: Tensor) -> float | Tensor:
    return to_device(weight, values.device).to(values) if isinstance(weight, Tensor) else weight


def _own_channel(activation: Tensor, channels: Tensor) -> Tensor:
    """(n, ...) channel channels[i] of image i; ValueError where their numbers differ."""
    if len(activation) != len(channels):
        raise ValueError(f"{len(channels)} channels for {len(activation)} images: pass one channel per image")
    rows = torch.arange(len(activation), device=activation.device)
    return activation[rows, to_device(channels, activation.device)]


def _signed(values: Tensor, signs: Tensor | None) -> Tensor:
    return values if signs is None else values * to_device(signs, values.device).to(values)
