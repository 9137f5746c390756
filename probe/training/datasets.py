"""How do training images reach the device? As bytes that stay there, or streamed from the disk."""

from collections.abc import Iterator
from itertools import groupby

import torch
from torch import Tensor

from probe.data.images import Images
from probe.device import to_device
from probe.training.augmentation import Augmentation

RESIDENT = 2**30  # bytes of pixels that are kept on the device; larger sets stream


class DeviceDataset:
    """Images of one size with labels, handed out in any order, and varied on the way.

    resident: the most bytes to keep on the device. Fitted pixels that lie between two grey levels are
    rounded to the nearer one.
    """

    def __init__(self, images: Images, device: torch.device, *, resident: int = RESIDENT) -> None:
        assert images.labels is not None
        self.images, self.device = images, device
        self.size = images.shape[1:]
        self.labels = images.labels.to(device)
        small = len(images) * images.shape[0] * self.size[0] * self.size[1] <= resident
        self.pool = _bytes(images).to(device) if small else None

    def __len__(self) -> int:
        return len(self.images)

    def batches(
        self, parts: list[Tensor], augmentation: Augmentation, rng: torch.Generator | None, share: slice
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Pixels (b, c, h, w) in [0, 1] and labels of the `share` of each of `parts`, lists of positions.

        The draws are those of the whole part, so that processes that share the parts agree with one alone.
        rng: None leaves the images as they are.
        """
        mine = [part[share] for part in parts]
        streamed = None if self.pool is not None else _streamed(self.images, mine, self.device)
        for part, rows in zip(parts, mine, strict=True):
            whole = {} if rng is None else augmentation.draw(len(part), self.size, rng)
            drawn = {name: values[share] for name, values in whole.items()}
            if streamed is None:
                pixels = augmentation.apply(self.pool, rows, drawn)  # pyrefly: ignore[bad-argument-type]
            else:
                pixels = augmentation.apply(
                    next(streamed).permute(0, 2, 3, 1), torch.arange(len(rows)), drawn
                )
            yield pixels, self.labels[to_device(rows, self.device)]


def even_parts(order: Tensor, batch: int) -> list[Tensor]:
    """`order` in as few parts of at most `batch` as it takes, their sizes differing by no more than one.

    So every image is used and no step rests on a small remainder.
    """
    return list(order.tensor_split(-(-len(order) // batch)))


def at_a_time(most: int, size: tuple[int, int]) -> int:
    """`most` images of up to 64 x 64 pixels, and as many fewer as larger ones hold more.

    >>> at_a_time(500, (32, 32)), at_a_time(500, (224, 224))
    (500, 40)
    """
    return max(1, min(most, most * 64 * 64 // (size[0] * size[1])))


def _streamed(images: Images, parts: list[Tensor], device: torch.device) -> Iterator[Tensor]:
    for size, group in groupby(parts, key=len):
        for batch in images.select(torch.cat(list(group))).batches(size, device):
            yield batch.pixels


def _bytes(images: Images) -> Tensor:
    """(n, h, w, c) uint8."""
    raw = images.bytes()
    if raw is not None:
        return raw.permute(0, 2, 3, 1).contiguous()
    channels, height, width = images.shape
    pool = torch.empty((len(images), height, width, channels), dtype=torch.uint8)
    for batch in images.batches(256):
        pool[batch.positions] = (batch.pixels * 255).round_().to(torch.uint8).permute(0, 2, 3, 1)
    return pool


def mean_and_std(feed: DeviceDataset, *, most: int = 10_000) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel over all pixels; of `most` images, spread evenly, where they stream."""
    count, taken = 0, len(feed) if feed.pool is not None else min(most, len(feed))
    rows = torch.arange(taken) * len(feed) // taken
    plain = Augmentation((), feed.size)
    sums = []
    for pixels, _ in feed.batches(even_parts(rows, at_a_time(1000, feed.size)), plain, None, slice(None)):
        values = pixels.double()
        sums.append(torch.stack([values.sum((0, 2, 3)), values.square().sum((0, 2, 3))]))
        count += pixels.shape[0] * pixels.shape[2] * pixels.shape[3]
    total, squares = torch.stack(sums).sum(0) / count
    std = (squares - total.square()).clamp(min=0).sqrt().clamp(min=1 / 255)
    return tuple(round(v, 4) for v in total.tolist()), tuple(round(v, 4) for v in std.tolist())
