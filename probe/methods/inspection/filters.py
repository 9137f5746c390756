"""What shape do the filters of a layer have: are they smooth, alike, dead?"""

from dataclasses import dataclass
from math import prod

import numpy as np
from torch import nn

from probe.model.layers import Layer
from probe.model.model import Model

Array = np.ndarray

_DEAD = 0.05  # in ResNet-20 and 56 the filters that batch norm has switched off lie at 1 to 6 % of the median
_ALIKE = 0.95


@dataclass(frozen=True)
class Filters:
    """The weights of one layer as stacks of maps. weights: (out, in, h, w) float32; in is that of one group.

    sees_image: whether it reads the image itself, so that a filter can be looked at as a picture.
    """

    address: str
    weights: Array
    groups: int
    sees_image: bool
    dense: bool


def filters(model: Model) -> list[Filters]:
    """The filters of all convolutions, and of dense layers that see maps or the image, in the order of the network.

    The rows of a dense layer are folded back to the maps that were flattened for it.
    """
    found: list[Filters] = []
    seen: set[int] = set()
    before: list[tuple[int, ...]] = [model.shape]
    modules = dict(model.network.named_modules())
    for layer in (one for one in model.layers if one.leaf):
        module = modules[layer.address.split("#")[0]]
        if id(module) not in seen and isinstance(module, nn.Conv2d | nn.Linear):
            seen.add(id(module))
            made = _filters(layer, module, before, first=not found)
            if made is not None:
                found.append(made)
        if not isinstance(module, nn.Flatten):
            before.append(layer.shape)
    return found


def _filters(
    layer: Layer, module: nn.Conv2d | nn.Linear, before: list[tuple[int, ...]], *, first: bool
) -> Filters | None:
    weights = module.weight.detach().float().cpu().numpy()
    if isinstance(module, nn.Conv2d):
        return Filters(layer.address, weights, module.groups, first, dense=False)
    # What was flattened is the latest stack of maps with as many values as the layer takes.
    shape = next((s for s in reversed(before) if prod(s) == module.in_features), None)
    if shape is None or len(shape) != 3 or shape[1] * shape[2] == 1:
        return None
    return Filters(layer.address, weights.reshape(-1, *shape), 1, first and shape == before[0], dense=True)


@dataclass(frozen=True)
class Shape:
    """What the filters of a layer are like. smooth: (out,) correlation of neighbouring weights, nan where there are none.

    noisy: (out,) whether that is no more than chance gives. dead: (out,) norm below 5 % of the layer's median.
    alike: (out,) whether another filter points the same way (cosine above 0.95).
    """

    smooth: Array
    noisy: Array
    dead: Array
    alike: Array


def shape(weights: Array) -> Shape:
    """Measure (out, in, h, w) weights.

    Neighbours are the weights beside and below each other in one map; the correlation is taken about zero, which a
    weight that does nothing has. Independent weights have one of 0 with a standard error of 1 / sqrt(pairs); below two of these a filter counts as noisy.
    """
    w = weights.astype(np.float64)
    beside, below = (w[..., :, :-1], w[..., :, 1:]), (w[..., :-1, :], w[..., 1:, :])
    flat = [[side.reshape(len(w), -1) for side in pair] for pair in (beside, below)]
    a, b = (np.concatenate([pair[i] for pair in flat], axis=1) for i in range(2))
    norm = np.sqrt((w.reshape(len(w), -1) ** 2).sum(1))
    dead = norm <= _DEAD * np.median(norm)
    with np.errstate(invalid="ignore", divide="ignore"):
        smooth = (a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))
        unit = w.reshape(len(w), -1) / norm[:, None]
    noisy = (smooth < 2 / np.sqrt(max(1, a.shape[1]))) & ~dead
    unit = np.nan_to_num(unit)
    alike = np.zeros(len(w), dtype=bool)
    for start in range(0, len(unit), 512):
        cosine = unit[start : start + 512] @ unit.T
        cosine[np.arange(len(cosine)), np.arange(start, start + len(cosine))] = -1
        alike[start : start + 512] = cosine.max(1) > _ALIKE
    return Shape(smooth, noisy, dead, alike & ~dead)


def colourful(weights: Array) -> Array:
    """(out,) share of the energy of (out, 3, h, w) filters that the three channels do not share, in [0, 1]."""
    total = (weights**2).sum((1, 2, 3))
    shared = 3 * (weights.mean(1) ** 2).sum((1, 2))
    return np.divide(total - shared, total, out=np.zeros_like(total), where=total > 0)
