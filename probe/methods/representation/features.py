"""Default layers of a network, and the features that its layers give for a set of images."""

from collections.abc import Iterable, Sequence
from functools import partial
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

_IDENTITY_KINDS = ("Dropout", "Dropout2d", "AlphaDropout", "Identity", "Flatten", "Sequential", "LambdaLayer")
_POOLING_KINDS = ("MaxPool2d", "AvgPool2d", "AdaptiveAvgPool2d", "AdaptiveMaxPool2d")
_MAX_BYTES = 4 * 2**30  # of features that are held at once


def penultimate_layer(layers: Layers) -> Layer:
    """The layer whose output the final classifier reads, apart from layers that pass their input on unchanged.

    Raises UserError for a network of one layer, which has no features but its input.
    """
    return _before_classifier(layers)[-1]


def stages(layers: Layers, count: int = 4) -> list[Layer]:
    """The last layer at each size of feature map, of at most `count` sizes evenly spread, the smallest included.

    Pooling layers and maps of one pixel are not considered. Raises UserError for a network without feature maps.
    """
    candidates = [
        layer
        for layer in _before_classifier(layers)
        if layer.spatial and layer.shape[1] * layer.shape[2] > 1 and layer.kind not in _POOLING_KINDS
    ]
    if not candidates:
        raise UserError(f"{layers.owner} has no feature maps before its classifier: specify a layer")
    last_of_size = list({layer.shape[1:]: layer for layer in candidates}.values())
    positions = torch.linspace(len(last_of_size) - 1, 0, min(count, len(last_of_size))).round().int().tolist()
    return [last_of_size[i] for i in reversed(positions)]


def features(
    model: Model, batches: Iterable[Batch], addresses: Sequence[str], *, n: int, pool: Pool = "mean"
) -> dict[str, Tensor]:
    """Features of `n` images in several layers: {address: (n, features) float32 on the model's device}.

    pool: how feature maps become vectors: their "mean" or "max" over space, one feature a channel, or "none": all
    values flattened. One pass over the images, which ends at the deepest of the layers.
    Raises UserError where the features would take more than 4 GiB or are not finite.
    """
    widths = feature_widths(model, addresses, n=n, pool=pool)
    values = {a: torch.empty(n, width, device=model.device) for a, width in widths.items()}
    done = 0
    for batch in batches:  # producing them may run the network, so the hooks are only there inside the loop
        rows = {a: tensor[done : done + len(batch.pixels)] for a, tensor in values.items()}
        with (
            torch.inference_mode(),
            observing(model.network, addresses, partial(_store, rows, pool), stop=True),
        ):
            run_forward(model.network, model.normalise(batch.pixels))
        done += len(batch.pixels)
    for address, tensor in values.items():
        if not bool(torch.isfinite(tensor).all()):
            raise UserError(f"{model.name} gives NaN or infinite values in {address} on these images")
    return values


def feature_widths(model: Model, addresses: Sequence[str], *, n: int, pool: Pool) -> dict[str, int]:
    """The number of features of an image in each layer. Raises UserError where those of `n` images take more than 4 GiB."""
    widths = {a: _width(model.layers.find(a), pool) for a in addresses}
    needed = 4 * n * sum(widths.values())
    if needed > _MAX_BYTES:
        raise UserError(
            f"{n:,} images have {needed / 2**30:.1f} GiB of features in {', '.join(addresses)}: "
            "take fewer images (--n), fewer layers, or pool the feature maps"
        )
    return widths


def _before_classifier(layers: Layers) -> list[Layer]:
    """The layers before the last one with weights, without those that pass their input on unchanged."""
    weighted = [i for i, layer in enumerate(layers) if layer.leaf and layer.parameters]
    before = layers[: weighted[-1] if weighted else None]
    before = [layer for layer in before if layer.kind not in _IDENTITY_KINDS]
    if not before:
        raise UserError(
            f"{layers.owner} has no layer before its classifier, so it has no features besides its input"
        )
    return before


def _width(layer: Layer, pool: Pool) -> int:
    return layer.channels if layer.spatial and pool != "none" else prod(layer.shape)


def _store(rows: dict[str, Tensor], pool: Pool, address: str, output: Tensor) -> None:
    """Write the pooled output of one layer into its rows."""
    rows[address][:] = _pooled(output, pool)


def _pooled(output: Tensor, pool: Pool) -> Tensor:
    if output.ndim != 4 or pool == "none":
        return output.flatten(1)
    return output.mean((2, 3)) if pool == "mean" else output.amax((2, 3))
