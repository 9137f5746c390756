"""How far did an ascent go? Beside the data, and when the picture is moved."""

import torch
from torch import Tensor

from probe.data.images import Images
from probe.methods.synthesis.optimise import activations
from probe.methods.synthesis.transforms import RandomAffine, warp
from probe.model.model import Model

FRESH = 32
"""Random moves of each picture."""


def dataset_maxima(model: Model, images: Images, layer: str) -> tuple[Tensor, Tensor]:
    """Of each channel of a layer (each class for LOGITS) the largest value over the images, and in which image.

    A channel's value is the mean of its map. Returns (channels,) and (channels,) on the CPU.
    """
    best, where = torch.tensor([]), torch.tensor([], dtype=torch.long)
    with torch.inference_mode():
        for batch in images.batches(model.batch(), model.device):
            seen = activations(model, batch.pixels, [layer])[layer]
            values, rows = (seen.flatten(2).mean(2) if seen.ndim > 2 else seen).cpu().max(0)
            found = batch.index[rows]
            if len(best):
                better = values > best
                values, found = torch.where(better, values, best), torch.where(better, found, where)
            best, where = values, found
    return best, where


def confidence_under_transforms(
    model: Model, pixels: Tensor, classes: Tensor, jitter: RandomAffine, rng: torch.Generator
) -> Tensor:
    """(n,) mean probability of each image's class over fresh random moves of the image."""
    size, total = (model.shape[1], model.shape[2]), torch.zeros(len(pixels), device=pixels.device)
    with torch.inference_mode():
        for _ in range(FRESH):
            moved = warp(pixels, jitter.draw(len(pixels), size, rng))
            total += model.logits(moved).softmax(1).gather(1, classes.to(pixels.device)[:, None])[:, 0]
    return total.cpu() / FRESH
