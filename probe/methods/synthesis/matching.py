"""Objectives that bring an image near to what a network computes for another: features, Gram matrices, statistics."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from probe.methods.synthesis.objectives import Activations, Objective
from probe.model.model import Model

_TINY = 1e-12


class FeatureMatch(Objective):
    """Minus the squared difference of a layer to `target`, relative to the squares of the target.

    target: (n, ...) or (1, ...) activations. relative: divide by the sum of squares of the target, so that 1 is the
    error of an image without any activation (Mahendran & Vedaldi 2015, section 2); else the mean over the layer, as
    in the code of Gatys et al. 2016.
    """

    def __init__(self, layer: str, target: Tensor, *, relative: bool = True) -> None:
        self.layer, self.target = layer, target.detach()
        self.layers = frozenset({layer})
        squares = self.target.flatten(1).square().sum(1)
        self.divisor = squares.clamp_min(_TINY) if relative else torch.full_like(squares, target[0].numel())

    def value(self, activations: Activations) -> Tensor:
        difference = (activations[self.layer] - self.target).square()
        return -difference.sum(tuple(range(1, difference.ndim))) / self.divisor


class GuideMatch(Objective):
    """At each position the inner product with that position of a guide image to which it is largest, summed.

    guide: (channels, positions) activations of the layer for the guide. Which position that is counts as given, so that
    the gradient is the activation of the guide (Google's DeepDream notebook, "Controlling dreams").
    """

    def __init__(self, layer: str, guide: Tensor) -> None:
        self.layer, self.guide = layer, guide.detach().flatten(1)
        self.layers = frozenset({layer})

    def value(self, activations: Activations) -> Tensor:
        maps = activations[self.layer].flatten(2)
        nearest = (self.guide.T @ maps.detach()).argmax(1)
        return (maps * self.guide[:, nearest].movedim(0, 1)).flatten(1).sum(1)


def gram(maps: Tensor, mask: Tensor | None = None) -> Tensor:
    """(n, c, h, w) -> (n, c, c) inner products of the channels, divided by the number of positions.

    mask: (n or 1, 1, h, w) weights of the positions, divided by their sum instead. Gatys et al. 2016, equation 3.
    """
    if mask is None:
        return _Gram.apply(maps) / (maps.shape[2] * maps.shape[3])  # type: ignore[no-any-return]
    flat = maps.flatten(2)
    weights = mask.flatten(2).to(flat)
    return (flat * weights) @ flat.transpose(1, 2) / weights.sum(2, keepdim=True).clamp_min(_TINY)


class _Gram(torch.autograd.Function):
    """Inner products of the channels. One product on the way back instead of the two that autograd takes, and no copy of
    channels-last maps."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor) -> Tensor:
        ctx.save_for_backward(maps)
        rows = _rows(maps)
        return rows.transpose(1, 2) @ rows

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (maps,) = ctx.saved_tensors
        symmetric = gradients[0] + gradients[0].transpose(1, 2)
        back = _rows(maps) @ symmetric
        return back.unflatten(1, (maps.shape[2], maps.shape[3])).movedim(-1, 1)


def _rows(maps: Tensor) -> Tensor:
    """(n, c, h, w) -> (n, positions, c), a view where the memory allows it."""
    if maps.is_contiguous(memory_format=torch.channels_last):
        return maps.movedim(1, -1).flatten(1, 2)
    return maps.flatten(2).transpose(1, 2)


class GramMatch(Objective):
    """Minus the squared difference of the Gram matrix of a layer to `target`: the style of an image.

    target: (n, c, c) or (1, c, c), from `gram`. mask: (1, 1, h, w) where in the image, of any size: it is brought to
    that of the map. relative: divide by the squares of the target; else the mean over the matrix (Gatys et al. 2016).
    """

    def __init__(
        self, layer: str, target: Tensor, *, mask: Tensor | None = None, relative: bool = True
    ) -> None:
        self.layer, self.target, self.mask = layer, target.detach(), mask
        self.layers = frozenset({layer})
        squares = self.target.flatten(1).square().sum(1)
        self.divisor = squares.clamp_min(_TINY) if relative else torch.full_like(squares, target[0].numel())

    def value(self, activations: Activations) -> Tensor:
        maps = activations[self.layer]
        mask = self.mask
        if mask is not None:
            mask = functional.adaptive_avg_pool2d(mask, (maps.shape[2], maps.shape[3]))
        return -(gram(maps, mask) - self.target).flatten(1).square().sum(1) / self.divisor


@dataclass(frozen=True)
class _Statistics:
    mean: Tensor
    variance: Tensor


class BatchNormStatistics(Objective):
    """Minus the distance of the channel means and variances of an image to those stored in the batch-norm layers.

    Mean over the layers of the relative squared differences of means (by the stored variances) and variances, of each
    image by itself. Raises ValueError for a network without batch norm. Yin et al. 2020 (DeepInversion), equation 4,
    which averages over a batch.
    """

    def __init__(self, model: Model) -> None:
        self.statistics: dict[str, _Statistics] = {}
        for layer in model.layers:
            module = model.module(layer.address)
            stored = (
                isinstance(module, nn.BatchNorm2d)
                and module.running_mean is not None
                and module.running_var is not None
            )
            if stored and layer.given is not None:
                self.statistics[layer.given] = _Statistics(module.running_mean, module.running_var)  # type: ignore[union-attr]
        if not self.statistics:
            raise ValueError(f"{model.name} has no batch-norm layers with stored statistics")
        self.layers = frozenset(self.statistics)

    def value(self, activations: Activations) -> Tensor:
        distances = []
        for address, stored in self.statistics.items():
            maps = activations[address].flatten(2)
            mean, variance = stored.mean.to(maps), stored.variance.to(maps).clamp_min(_TINY)
            distances.append(((maps.mean(2) - mean).square() / variance).mean(1))
            distances.append((maps.var(2, correction=0) / variance - 1).square().mean(1))
        return -torch.stack(distances).mean(0)
