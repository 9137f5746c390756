"""Labelled images for training: as bytes that stay on the device, or streamed from disk."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from probe.data.images import Images
from probe.device import to_device
from probe.training.augmentation import Augmentation, RandomValues

MAX_RESIDENT_BYTES = 2**30  # of pixels that are kept on the device; larger sets stream


class DeviceDataset:
    """Images of one size with labels, delivered in any order and augmented on the device.

    max_resident_bytes: the most pixel bytes to keep on the device; a larger set streams. Preprocessed pixels between
    two grey levels are rounded to the nearer one where they are kept.
    """

    def __init__(
        self, images: Images, device: torch.device, *, max_resident_bytes: int = MAX_RESIDENT_BYTES
    ) -> None:
        assert images.labels is not None
        self.images, self.device = images, device
        self.size = images.shape[1:]
        self.labels = images.labels.to(device)
        fits = len(images) * images.shape[0] * self.size[0] * self.size[1] <= max_resident_bytes
        self.pool = _as_bytes(images).to(device) if fits else None

    def __len__(self) -> int:
        return len(self.images)

    def batches(
        self, batches: list[Tensor], augmentation: Augmentation, rng: torch.Generator | None, shard: slice
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Pixels (b, c, h, w) in [0, 1] and labels (b,) of the `shard` of each of `batches`, tensors of positions.

        Random values are drawn for the whole batch, so that several processes augment as one alone does.
        rng: on the CPU; None leaves the images as they are.
        """
        shards = [positions[shard] for positions in batches]
        stream = iter(()) if self.pool is not None else _stream(self.images, shards, self.device)
        for positions, own in zip(batches, shards, strict=True):
            drawn = RandomValues() if rng is None else augmentation.draw(len(positions), self.size, rng)
            if self.pool is not None:
                pixels = augmentation.apply(self.pool, own, drawn[shard])
            else:
                loaded = next(stream).permute(0, 2, 3, 1)
                pixels = augmentation.apply(loaded, torch.arange(len(own)), drawn[shard])
            yield pixels, self.labels[to_device(own, self.device)]


@dataclass
class Datasets:
    """The images of a training. validation: held out of the training images, or None."""

    train: DeviceDataset
    test: DeviceDataset
    validation: DeviceDataset | None = None


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of each channel, by which the input of a network is normalised."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def even_batches(positions: Tensor, batch_size: int) -> list[Tensor]:
    """`positions` in the fewest batches of at most `batch_size`, whose sizes differ by no more than one.

    So every image is used and no step has a small remainder as its batch.
    """
    return list(positions.tensor_split(-(-len(positions) // batch_size)))


def batch_limit(limit: int, size: tuple[int, int]) -> int:
    """The batch size for images of `size`: `limit` up to 64 x 64 pixels, proportionally fewer of larger ones.

    >>> batch_limit(500, (32, 32)), batch_limit(500, (224, 224))
    (500, 40)
    """
    return max(1, min(limit, limit * 64 * 64 // (size[0] * size[1])))


def measure_normalisation(dataset: DeviceDataset, *, max_streamed: int = 10_000) -> Normalisation:
    """Mean and standard deviation of each channel over all pixels, rounded to four places.

    max_streamed: how many images, spread evenly, are measured where the images stream.
    """
    count = 0
    taken = len(dataset) if dataset.pool is not None else min(max_streamed, len(dataset))
    positions = torch.arange(taken) * len(dataset) // taken
    plain = Augmentation((), dataset.size)
    batches = even_batches(positions, batch_limit(1000, dataset.size))
    sums = []
    for pixels, _ in dataset.batches(batches, plain, None, slice(None)):
        values = pixels.double()
        sums.append(torch.stack([values.sum((0, 2, 3)), values.square().sum((0, 2, 3))]))
        count += pixels.shape[0] * pixels.shape[2] * pixels.shape[3]
    mean, mean_square = torch.stack(sums).sum(0) / count
    std = (mean_square - mean.square()).clamp(min=0).sqrt().clamp(min=1 / 255)
    return Normalisation(
        tuple(round(value, 4) for value in mean.tolist()), tuple(round(value, 4) for value in std.tolist())
    )


def _stream(images: Images, batches: list[Tensor], device: torch.device) -> Iterator[Tensor]:
    for size, group in groupby(batches, key=len):
        for batch in images.select(torch.cat(list(group))).batches(size, device):
            yield batch.pixels


def _as_bytes(images: Images) -> Tensor:
    """(n, h, w, c) uint8."""
    raw = images.bytes()
    if raw is not None:
        return raw.permute(0, 2, 3, 1).contiguous()
    channels, height, width = images.shape
    pool = torch.empty((len(images), height, width, channels), dtype=torch.uint8)
    for batch in images.batches(256):
        pool[batch.positions] = (batch.pixels * 255).round_().to(torch.uint8).permute(0, 2, 3, 1)
    return pool
