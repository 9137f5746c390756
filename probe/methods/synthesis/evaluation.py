"""Evaluation of optimised images: maxima over a data set, and confidence under random transforms."""

from collections.abc import Iterable

import torch
from torch import Tensor

from probe.data.images import Batch
from probe.methods.synthesis.optimise import activations
from probe.methods.synthesis.transforms import RandomAffine, warp
from probe.model.model import Model

N_TRANSFORMS = 32
"""Random transforms of each image."""


def dataset_maxima(
    model: Model, batches: Iterable[Batch], layer: str, *, largest: bool = True
) -> tuple[Tensor, Tensor]:
    """The largest value of each channel of a layer (each class for LOGITS) over the images, and which image has it.

    The value of a channel is the mean of its map. largest: False for the smallest values instead. Returns (channels,) values and (channels,) positions, on the CPU.
    """
    maxima, positions = torch.tensor([]), torch.tensor([], dtype=torch.long)
    with torch.inference_mode():
        for batch in batches:
            values = channel_values(activations(model, batch.pixels, [layer])[layer]).cpu()
            values, rows = (values if largest else -values).max(0)
            here = batch.positions[rows]
            if len(maxima):
                larger = values > maxima
                values, here = torch.where(larger, values, maxima), torch.where(larger, here, positions)
            maxima, positions = values, here
    return maxima if largest else -maxima, positions


def channel_values(activation: Tensor) -> Tensor:
    """(n, channels) of an activation (n, channels, ...): the mean of each map, or the value itself in a dense layer."""
    return activation.flatten(2).mean(2) if activation.ndim > 2 else activation


def confidence_under_transforms(
    model: Model, pixels: Tensor, classes: Tensor, transforms: RandomAffine, rng: torch.Generator
) -> Tensor:
    """(n,) mean confidence in the class of each image over N_TRANSFORMS random transforms, in [0, 1]; on the CPU.

    pixels: (n, c, h, w) in [0, 1]. classes: (n,) int64.
    """
    size, total = (model.shape[1], model.shape[2]), torch.zeros(len(pixels), device=pixels.device)
    with torch.inference_mode():
        for _ in range(N_TRANSFORMS):
            transformed = warp(pixels, transforms.sample(len(pixels), size, rng))
            total += model.logits(transformed).softmax(1).gather(1, classes.to(pixels.device)[:, None])[:, 0]
    return total.cpu() / N_TRANSFORMS
