"""Shift of activations under a perturbation, layer by layer, and the spatial spectrum of perturbations."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from probe.data.images import Batch
from probe.methods.adversarial.criteria import predict
from probe.model.layer_kinds import ACTIVATIONS
from probe.model.layers import Layer
from probe.model.model import Model

_GRID = 4  # maps are compared with class means on a grid of this side: full maps of a thousand classes would not fit
_BLOCKS = 3  # joins that make a network one of blocks
_IDLE = ("Dropout", "Dropout2d", "Identity", "Flatten")


@dataclass(frozen=True)
class ActivationShift:
    """The shift of a layer's activations, one row an image: relative L2 distance, and cosine similarity."""

    distance: Tensor
    cosine: Tensor


def spread_layers(layers: Sequence[Layer], count: int) -> list[str]:
    """Addresses of at most `count` layers that everything passes through, evenly spread from the first to the output.

    Where there are blocks whose branches are joined, their outputs, since an attack may grow and shrink again inside of
    a block; of a convolution, its normalisation and its activation function the last.
    """
    through = [layer for layer in layers if layer.leaf and layer.on_every_path and layer.kind not in _IDLE]
    ends = [layer for layer, following in pairwise([*through, None]) if not _continues(layer, following)]
    ends = [layer for layer in ends if layer is not None]
    joins = {layer.address for layer in layers if layer.kind in ("Add", "Concatenate")}
    blocks = [
        layer
        for layer in ends
        if layer.address in joins or (layer.given in joins and layer.kind in ACTIVATIONS)
    ]
    if len(blocks) >= _BLOCKS:
        ends = [ends[0], *blocks, ends[-1]]
    addresses = list(dict.fromkeys(layer.address for layer in ends))
    return [addresses[i] for i in np.unique(np.linspace(0, len(addresses) - 1, count).round().astype(int))]


def _continues(layer: Layer | None, following: Layer | None) -> bool:
    """Whether `following` normalises or activates what `layer` gives, and nothing else."""
    if layer is None or following is None or following.given != layer.address:
        return False
    return following.kind in ACTIVATIONS or "Norm" in following.kind or "norm" in following.kind


@torch.no_grad()
def activation_shifts(
    model: Model, before: Tensor, after: Tensor, addresses: Sequence[str]
) -> dict[str, ActivationShift]:
    """|b - a| / |a| and cos(a, b) of each layer's activations a, b of pairs of images (n, c, h, w), by address."""
    shifts = {}
    clean, perturbed = model.features(before, *addresses), model.features(after, *addresses)
    for address in addresses:
        a, b = clean[address].flatten(1).double(), perturbed[address].flatten(1).double()
        length = a.norm(dim=1).clamp_min(1e-12)
        shifts[address] = ActivationShift(
            (b - a).norm(dim=1) / length, F.cosine_similarity(a, b, dim=1, eps=1e-12)
        )
    return shifts


@torch.no_grad()
def class_means(
    model: Model, batches: Iterable[Batch], addresses: Sequence[str]
) -> tuple[dict[str, Tensor], Tensor]:
    """The mean activations of the images predicted as each class, {address: (classes, values)}, and their numbers.

    Maps are pooled to 4 x 4.
    """
    count = torch.zeros(len(model.classes), device=model.device)
    sums: dict[str, Tensor] = {}
    for batch in batches:
        member = F.one_hot(predict(model, batch.pixels).argmax(1), len(count)).float()
        count += member.sum(0)
        for address, output in model.features(batch.pixels, *addresses).items():
            values = _pooled(output)
            if address not in sums:
                sums[address] = torch.zeros(len(count), values.shape[1], device=model.device)
            sums[address] += member.T @ values  # in the same order each time, unlike index_add_ on CUDA
    return {address: total / count.clamp_min(1)[:, None] for address, total in sums.items()}, count


@torch.no_grad()
def nearer_to_target(
    model: Model, after: Tensor, source: Tensor, target: Tensor, means: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Whether each layer's activations are nearer to the mean of class `target` than of `source`: {address: (n,) bool}.

    source, target: (n,) classes. means: as from `class_means`.
    """
    nearer = {}
    for address, output in model.features(after, *means).items():
        values, mean = _pooled(output), means[address]
        nearer[address] = (values - mean[target]).norm(dim=1) < (values - mean[source]).norm(dim=1)
    return nearer


def _pooled(output: Tensor) -> Tensor:
    if output.ndim == 4 and output.shape[2] * output.shape[3] > _GRID**2:
        output = F.adaptive_avg_pool2d(output, _GRID)
    return output.flatten(1)


def radial_spectrum(images: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The energy of images (n, c, h, w) by spatial frequency.

    Returns the frequencies, in cycles a pixel from 0 to 0.5, and the proportion of the energy in each ring, mean
    over the images; the proportions sum to 1. The mean of an image is left out; the last ring includes the corners,
    diagonal waves of up to 0.71.
    """
    height, width = images.shape[2:]
    values = images.double().cpu()
    power = torch.fft.fft2(values - values.mean((2, 3), keepdim=True)).abs().square().sum(1)
    radius = (torch.fft.fftfreq(height)[:, None].square() + torch.fft.fftfreq(width).square()).sqrt()
    rings = max(4, min(height, width) // 2)
    ring = (radius * 2 * rings).round().long().clamp_max(rings).flatten()
    total = torch.zeros(len(values), rings + 1, dtype=torch.float64).index_add_(1, ring, power.flatten(1))
    proportions = total / total.sum(1, keepdim=True).clamp_min(1e-30)
    return np.linspace(0, 0.5, rings + 1), proportions.mean(0).numpy()
