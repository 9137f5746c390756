"""Filters of convolutions and dense layers: their weights, and whether they are smooth, near-duplicate or dead."""

from dataclasses import dataclass
from math import prod

import numpy as np
from torch import nn

from probe.model.layers import Layer
from probe.model.model import Model

Array = np.ndarray

_DEAD = 0.05  # in ResNet-20 and 56 the filters that batch norm has switched off lie at 1 to 6 % of the median
_DUPLICATE = 0.95


@dataclass(frozen=True)
class FilterBank:
    """The filters of one layer. weights: (out, in, h, w) float32; in is that of one group.

    reads_image: whether the layer reads the image itself, so that a filter can be shown as an image.
    dense: whether it is a dense layer, its rows folded back to the maps that were flattened for it.
    """

    address: str
    weights: Array
    groups: int
    reads_image: bool
    dense: bool


def filter_banks(model: Model) -> list[FilterBank]:
    """The filters of all convolutions, and of dense layers that read maps or the image, in the order of the network."""
    banks: list[FilterBank] = []
    done: set[int] = set()
    shapes: list[tuple[int, ...]] = [model.shape]
    for layer in (layer for layer in model.layers if layer.leaf):
        module = model.module(layer.address)
        if id(module) not in done and isinstance(module, nn.Conv2d | nn.Linear):
            done.add(id(module))
            bank = _bank(layer, module, shapes, first=not banks)
            if bank is not None:
                banks.append(bank)
        if not isinstance(module, nn.Flatten):
            shapes.append(layer.shape)
    return banks


def _bank(
    layer: Layer, module: nn.Conv2d | nn.Linear, shapes: list[tuple[int, ...]], *, first: bool
) -> FilterBank | None:
    """shapes: of the image and of all outputs before this layer."""
    weights = module.weight.detach().float().cpu().numpy()
    if isinstance(module, nn.Conv2d):
        return FilterBank(layer.address, weights, module.groups, first, dense=False)
    # What was flattened is the latest stack of maps with as many values as the layer has inputs.
    shape = next((shape for shape in reversed(shapes) if prod(shape) == module.in_features), None)
    if shape is None or len(shape) != 3 or shape[1] * shape[2] == 1:
        return None
    reads_image = first and shape == shapes[0]
    return FilterBank(layer.address, weights.reshape(-1, *shape), 1, reads_image, dense=True)


@dataclass(frozen=True)
class FilterStatistics:
    """Statistics of each filter of a layer, (out,) each.

    smoothness: correlation of neighbouring weights, nan where there are none. noisy: whether it is no larger than
    that of random weights. dead: whether the norm is below 5 % of the layer's median. duplicate: whether another
    filter has nearly the same direction (cosine above 0.95).
    """

    smoothness: Array
    noisy: Array
    dead: Array
    duplicate: Array


def filter_statistics(weights: Array) -> FilterStatistics:
    """Statistics of (out, in, h, w) weights.

    Neighbours are weights beside and below each other in one map; their correlation is taken about zero. That of
    independent weights is 0 with a standard error of 1 / sqrt(pairs); a filter below two standard errors is noisy.
    """
    w = weights.astype(np.float64)
    beside, below = (w[..., :, :-1], w[..., :, 1:]), (w[..., :-1, :], w[..., 1:, :])
    flat = [[side.reshape(len(w), -1) for side in pair] for pair in (beside, below)]
    a, b = (np.concatenate([pair[i] for pair in flat], axis=1) for i in range(2))
    norm = np.sqrt((w.reshape(len(w), -1) ** 2).sum(1))
    dead = norm <= _DEAD * np.median(norm)
    with np.errstate(invalid="ignore", divide="ignore"):
        smoothness = (a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))
        directions = w.reshape(len(w), -1) / norm[:, None]
    noisy = (smoothness < 2 / np.sqrt(max(1, a.shape[1]))) & ~dead
    directions = np.nan_to_num(directions)
    duplicate = np.zeros(len(w), dtype=bool)
    for start in range(0, len(directions), 512):
        cosine = directions[start : start + 512] @ directions.T
        cosine[np.arange(len(cosine)), np.arange(start, start + len(cosine))] = -1
        duplicate[start : start + 512] = cosine.max(1) > _DUPLICATE
    return FilterStatistics(smoothness, noisy, dead, duplicate & ~dead)


def chromatic_energy(weights: Array) -> Array:
    """(out,) proportion of the energy of (out, 3, h, w) filters that the three channels do not share, in [0, 1]."""
    total = (weights**2).sum((1, 2, 3))
    shared = 3 * (weights.mean(1) ** 2).sum((1, 2))
    return np.divide(total - shared, total, out=np.zeros_like(total), where=total > 0)
