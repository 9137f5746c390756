"""The classes, channels and directions that `maximise` is asked for."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from probe.data.images import Images
from probe.errors import UserError, unknown
from probe.methods.synthesis.evaluation import channel_values
from probe.methods.synthesis.optimise import activations
from probe.model.layer_kinds import ACTIVATIONS
from probe.model.model import Model

SIGNED = ("Tanh", "Hardtanh", "Softsign")
"""Activation functions whose negative values mean as much as the positive ones."""


@dataclass(frozen=True, eq=False)
class Units:
    """What n images maximise. units: (n,) classes or channels. signs: (n,) 1 or -1. names: what to call each.

    vectors: (n, channels) directions instead of the units, or None. ends: the two units from which they lead to each other.
    """

    units: Tensor
    signs: Tensor
    names: list[str]
    vectors: Tensor | None = None
    ends: tuple[int, int] | None = None

    def __len__(self) -> int:
        return len(self.units)

    def repeated(self, times: int) -> "Units":
        """Each one `times` after each other, with a number behind its name."""
        if times == 1:
            return self
        return replace(
            self,
            units=self.units.repeat_interleave(times),
            signs=self.signs.repeat_interleave(times),
            names=[f"{name} ({i + 1})" for name in self.names for i in range(times)],
            vectors=None if self.vectors is None else self.vectors.repeat_interleave(times, 0),
        )

    def first(self, n: int) -> "Units":
        """The first n."""
        vectors = None if self.vectors is None else self.vectors[:n]
        return replace(
            self, units=self.units[:n], signs=self.signs[:n], names=self.names[:n], vectors=vectors
        )

    def values(self, activations: Tensor) -> Tensor:
        """(n,) what was maximised of each, of the channel values (n, channels) of its image."""
        if self.vectors is not None:
            return (activations * self.vectors).sum(1)
        return self.signs * activations[torch.arange(len(self)), self.units]

    def spreads(self, spread: Tensor) -> Tensor:
        """(n,) the spread over the data of what is maximised, of that of the channels (channels,).

        That of a direction is what it were if its channels were independent.
        """
        if self.vectors is not None:
            return (self.vectors.square() @ spread.square()).sqrt()
        return spread[self.units]


def find_units(model: Model, layer: str, named: tuple[str, ...], count: int, *, both_signs: bool) -> Units:
    """The named classes (layer "") or channels, or `count` evenly spread; each with both signs if asked for."""
    total, names = _names(model, layer)
    if named:
        indices = [_index(text, total, names, layer) for text in named]
    else:
        indices = np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(int)).tolist()
    shown = [unit_name(model, layer, i) for i in indices]
    if not both_signs:
        return Units(torch.tensor(indices), torch.ones(len(indices)), shown)
    signed = [f"{name}, {word}" for name in shown for word in ("positive", "negative")]
    return Units(
        torch.tensor(indices).repeat_interleave(2), torch.tensor([1.0, -1.0]).repeat(len(indices)), signed
    )


def find_direction(model: Model, layer: str, ends: tuple[str, ...], count: int) -> Units:
    """`count` directions from one class or channel to another, both ends among them."""
    if len(ends) != 2:
        raise UserError(f"--between takes two classes or channels, got {len(ends)}")
    total, names = _names(model, layer)
    first, second = (_index(text, total, names, layer) for text in ends)
    a, b = (unit_name(model, layer, unit) for unit in (first, second))
    if first == second:
        raise UserError(f"--between takes two different classes or channels, got {a} twice")
    fractions = torch.linspace(0, 1, max(2, count))
    vectors = torch.zeros(len(fractions), total)
    vectors[:, first] = 1 - fractions
    vectors[:, second] = fractions
    shown = [f"{1 - share:.0%} {a}, {share:.0%} {b}" for share in fractions.tolist()]
    units = torch.where(fractions <= 0.5, first, second)
    return Units(units, torch.ones(len(units)), shown, vectors, (first, second))


def unit_name(model: Model, layer: str, unit: int) -> str:
    """What a class (layer "") or a channel is called."""
    names = _names(model, layer)[1]
    return names[unit] if names else f"channel {unit}"


def direction_maxima(model: Model, images: Images, layer: str, units: Units) -> Tensor:
    """(n,) the largest value of each direction over the data."""
    assert units.vectors is not None
    largest = torch.full((len(units),), -torch.inf)
    with torch.inference_mode():
        for batch in images.batches(model.batch(), model.device):
            values = channel_values(activations(model, batch.pixels, [layer])[layer].float().cpu())
            largest = torch.maximum(largest, (values @ units.vectors.T).amax(0))
    return largest


def is_signed(model: Model, layer: str) -> bool:
    """Whether the activation function of a layer, or the one that takes it, is symmetric about 0, as tanh is."""
    following = [each for each in model.layers if each.given == layer and each.kind in ACTIVATIONS]
    return any(each.kind in SIGNED for each in (model.layers.find(layer), *following))


def class_means(images: Images, classes: int, batch: int) -> Tensor:
    """(classes, c, h, w) mean image of each class; the mean of all for a class without images. UserError without labels."""
    if images.labels is None:
        raise UserError(
            f"--start class-mean needs the true classes of the images, but {images.name} has no labels"
        )
    total = torch.zeros(classes, *images.shape, dtype=torch.float64)
    for part in images.batches(batch):
        assert part.labels is not None
        total.index_add_(0, part.labels, part.pixels.double())
    counts = images.labels.bincount(minlength=classes)
    overall = total.sum(0) / counts.sum()
    means = total / counts.clamp_min(1)[:, None, None, None]
    return torch.where((counts > 0)[:, None, None, None], means, overall).float()


def _names(model: Model, layer: str) -> tuple[int, tuple[str, ...] | None]:
    if layer:
        return model.layers.find(layer).channels, None
    return len(model.classes), model.classes


def _index(text: str, total: int, names: tuple[str, ...] | None, layer: str) -> int:
    """The class or channel that `text` names."""
    if names and text in names:
        return names.index(text)
    if text.isdigit() and int(text) < total:
        return int(text)
    if names and not text.isdigit():
        raise unknown("class", text, names)
    owner = f"layer {layer} has {total} channels" if layer else f"the network has {total} classes"
    raise UserError(f"{owner}, 0 to {total - 1}: there is no {text!r}")
