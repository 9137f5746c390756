"""What does a small change of the pixels become on its way through the network?"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from probe.data.images import Batch
from probe.methods.adversarial.criteria import predict
from probe.model.layers import Layer
from probe.model.model import Model

_GRID = 4  # maps are compared with class means on a grid of this side: full maps of a thousand classes would not fit
_IDLE = ("Dropout", "Dropout2d", "Identity", "Flatten")


@dataclass(frozen=True)
class ActivationShift:
    """How far one layer's activations moved, one row an image: relative L2 distance, and cosine similarity."""

    distance: Tensor
    cosine: Tensor


def along(layers: Sequence[Layer], most: int) -> list[str]:
    """At most `most` addresses from the first layer to the last, evenly spread; the last one is the answer."""
    found = [layer.address for layer in layers if layer.leaf and layer.kind not in _IDLE]
    return [found[i] for i in np.unique(np.linspace(0, len(found) - 1, most).round().astype(int))]


@torch.no_grad()
def movement(
    model: Model, before: Tensor, after: Tensor, addresses: Sequence[str]
) -> dict[str, ActivationShift]:
    """|a' - a| / |a| and cos(a, a') of each layer for pairs of images (n, c, h, w)."""
    found = {}
    first, second = model.features(before, *addresses), model.features(after, *addresses)
    for address in addresses:
        a, b = first[address].flatten(1).double(), second[address].flatten(1).double()
        length = a.norm(dim=1).clamp_min(1e-12)
        found[address] = ActivationShift(
            (b - a).norm(dim=1) / length, F.cosine_similarity(a, b, dim=1, eps=1e-12)
        )
    return found


@torch.no_grad()
def class_means(
    model: Model, batches: Iterable[Batch], addresses: Sequence[str]
) -> tuple[dict[str, Tensor], Tensor]:
    """The mean activation of the images answered as each class: {address: (classes, values)}, and their numbers."""
    count = torch.zeros(len(model.classes), device=model.device)
    sums: dict[str, Tensor] = {}
    for batch in batches:
        said = predict(model, batch.pixels).argmax(1)
        member = F.one_hot(said, len(count)).float()
        count += member.sum(0)
        for address, output in model.features(batch.pixels, *addresses).items():
            values = _gridded(output)
            if address not in sums:
                sums[address] = torch.zeros(len(count), values.shape[1], device=model.device)
            sums[address] += member.T @ values  # in the same order each time, unlike index_add_ on CUDA
    return {address: total / count.clamp_min(1)[:, None] for address, total in sums.items()}, count


@torch.no_grad()
def turned(
    model: Model, after: Tensor, source: Tensor, goal: Tensor, means: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Whether each layer's activations are nearer to the mean of class `goal` than to that of `source`: {address: (n,) bool}."""
    found = {}
    for address, output in model.features(after, *means).items():
        values, mean = _gridded(output), means[address]
        found[address] = (values - mean[goal]).norm(dim=1) < (values - mean[source]).norm(dim=1)
    return found


def _gridded(output: Tensor) -> Tensor:
    if output.ndim == 4 and output.shape[2] * output.shape[3] > _GRID**2:
        output = F.adaptive_avg_pool2d(output, _GRID)
    return output.flatten(1)


def spectrum(pictures: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """How the energy of pictures (n, c, h, w) is spread over spatial frequencies.

    Returns the frequencies, in cycles a pixel from 0 to 0.5, and the share of the energy in each ring, mean over
    the pictures; the shares add up to 1. The mean value of a picture is left out; the last ring takes the corners,
    diagonal waves of up to 0.71, too.
    """
    height, width = pictures.shape[2:]
    values = pictures.double().cpu()
    power = torch.fft.fft2(values - values.mean((2, 3), keepdim=True)).abs().square().sum(1)
    radius = (torch.fft.fftfreq(height)[:, None].square() + torch.fft.fftfreq(width).square()).sqrt()
    rings = max(4, min(height, width) // 2)
    ring = (radius * 2 * rings).round().long().clamp_max(rings).flatten()
    total = torch.zeros(len(values), rings + 1, dtype=torch.float64).index_add_(1, ring, power.flatten(1))
    shares = total / total.sum(1, keepdim=True).clamp_min(1e-30)
    return np.linspace(0, 0.5, rings + 1), shares.mean(0).numpy()
