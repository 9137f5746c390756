"""Evaluation of optimised images: maxima over a data set, and confidence under random transforms."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from probe.data.images import Batch
from probe.methods.synthesis.optimise import activations
from probe.methods.synthesis.transforms import RandomAffine, warp
from probe.model.model import Model

N_TRANSFORMS = 32
"""Random transforms of each image."""


@dataclass(frozen=True, eq=False)
class Extremes:
    """The smallest and largest values of channels over images, on the CPU.

    values: (2, channels), the smallest and the largest. positions: (2, channels), of the images that have them.
    """

    values: Tensor
    positions: Tensor

    @property
    def spread(self) -> Tensor:
        """(channels,) the largest minus the smallest."""
        return self.values[1] - self.values[0]

    def joined(self, other: "Extremes") -> "Extremes":
        """Those over the images of both."""
        better = torch.stack([other.values[0] < self.values[0], other.values[1] > self.values[1]])
        return Extremes(
            torch.where(better, other.values, self.values),
            torch.where(better, other.positions, self.positions),
        )


def dataset_extremes(model: Model, batches: Iterable[Batch], layer: str) -> Extremes:
    """The smallest and largest value of each channel of a layer (each class for LOGITS) over the images.

    The value of a channel is the mean of its map. Raises ValueError where there is no batch.
    """
    extremes = []
    with torch.inference_mode():
        for batch in batches:
            values = channel_values(activations(model, batch.pixels, [layer])[layer]).float().cpu()
            rows = torch.stack([values.argmin(0), values.argmax(0)])
            extremes.append(Extremes(values.gather(0, rows), batch.positions[rows]))
    if not extremes:
        raise ValueError("no images to compute extremes of")
    return reduce(Extremes.joined, extremes)


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
