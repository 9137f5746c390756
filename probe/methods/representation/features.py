"""Which layers are worth asking when nobody says which, and what they answer for a set of images."""

from collections.abc import Iterable, Sequence
from math import prod
from typing import Literal

import torch
from torch import Tensor

from probe.data.images import Batch
from probe.errors import UserError
from probe.model.layers import Layer, Layers
from probe.model.model import Model
from probe.model.observer import observing, run_forward

Pool = Literal["mean", "max", "none"]

_PASSING_ON = ("Dropout", "Dropout2d", "AlphaDropout", "Identity", "Flatten", "Sequential", "LambdaLayer")
_POOLING = ("MaxPool2d", "AvgPool2d", "AdaptiveAvgPool2d", "AdaptiveMaxPool2d")
_LARGEST = 4 * 2**30  # bytes of features that are held at once


def penultimate_layer(layers: Layers) -> Layer:
    """The layer whose output the final classifier reads: the last but what only hands its input on.

    Raises UserError for a network of one layer, which has no features but its input.
    """
    return _before_classifier(layers)[-1]


def last_maps(layers: Layers) -> Layer:
    """The last layer before the final classifier that makes a stack of maps, larger than one pixel; no pooling.

    Raises UserError for a network without one.
    """
    return stages(layers, 1)[0]


def stages(layers: Layers, most: int = 4) -> list[Layer]:
    """The last layer at each size of map, of at most `most` sizes evenly spread, the last one among them."""
    maps = [
        layer
        for layer in _before_classifier(layers)
        if layer.spatial and layer.shape[1] * layer.shape[2] > 1 and layer.kind not in _POOLING
    ]
    if not maps:
        raise UserError(f"{layers.owner} has no layer of maps before its classifier: name a layer yourself")
    found = list({layer.shape[1:]: layer for layer in maps}.values())
    chosen = torch.linspace(len(found) - 1, 0, min(most, len(found))).round().int().tolist()
    return [found[i] for i in reversed(chosen)]


def features(
    model: Model, batches: Iterable[Batch], addresses: Sequence[str], *, count: int, pool: Pool = "mean"
) -> dict[str, Tensor]:
    """What layers answer for `count` images: {address: (count, values) float32 on the model's device}.

    pool: what becomes of maps: their "mean" or "max" over space, one value a channel, or "none": all of them in a row.
    One pass over the images, as far as the deepest of the layers; nothing but the answers is kept.
    Raises UserError where they would take more than 4 GiB or are not finite.
    """
    sizes = {a: _width(model.layers.find(a), pool) for a in addresses}
    needed = 4 * count * sum(sizes.values())
    if needed > _LARGEST:
        raise UserError(
            f"{count:,} images have {needed / 2**30:.1f} GiB of features in {', '.join(addresses)}: "
            "take fewer images (--n), fewer layers, or pool the maps"
        )
    found = {a: torch.empty(count, size, device=model.device) for a, size in sizes.items()}
    done = 0

    def hear(address: str, output: Tensor) -> None:
        found[address][done : done + len(output)] = _pooled(output, pool)

    for batch in batches:  # may run the network itself to come by its images, so nobody listens then
        with torch.inference_mode(), observing(model.network, addresses, hear, stop=True):
            run_forward(model.network, model.normalise(batch.pixels))
        done += len(batch.pixels)
    for address, values in found.items():
        if not bool(torch.isfinite(values).all()):
            raise UserError(f"{model.name} gives NaN or infinite values in {address} on these images")
    return found


def _before_classifier(layers: Layers) -> list[Layer]:
    """The layers that come before the last one with weights and do something to their input."""
    weighted = [i for i, layer in enumerate(layers) if layer.leaf and layer.parameters]
    found = [layer for layer in layers[: weighted[-1] if weighted else None] if layer.kind not in _PASSING_ON]
    if not found:
        raise UserError(f"{layers.owner} has no layer before its classifier, so no features but its input")
    return found


def _width(layer: Layer, pool: Pool) -> int:
    return layer.channels if layer.spatial and pool != "none" else prod(layer.shape)


def _pooled(output: Tensor, pool: Pool) -> Tensor:
    if output.ndim != 4 or pool == "none":
        return output.flatten(1)
    return output.mean((2, 3)) if pool == "mean" else output.amax((2, 3))
