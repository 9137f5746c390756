"""Random numbers that depend on an image, not on its position in a batch."""

import torch
from torch import Tensor


class PerImageRng:
    """A generator for each image, seeded by `seed` and the image's id.

    The random numbers of an image do not depend on the other images of the batch, their order or their number.
    """

    def __init__(self, seed: int, ids: Tensor | None = None, *, like: Tensor) -> None:
        """ids: (n,) whole numbers that identify the images, by default 0, 1, ... like: (n, ...), whose device is used."""
        self.ids = torch.arange(len(like)) if ids is None else ids
        self.seed, self._numbers, self._device = seed, self.ids.tolist(), like.device
        self._generators: dict[int, torch.Generator] = {}

    def uniform(self, rows: Tensor, *shape: int) -> Tensor:
        """The next numbers of each image in `rows` (m,), uniform in [0, 1): (m, *shape) float32."""
        drawn = torch.empty(len(rows), *shape)
        for k, row in enumerate(rows.tolist()):
            torch.rand(shape, generator=self._generator(row), out=drawn[k])
        return drawn.to(self._device)

    def _generator(self, row: int) -> torch.Generator:
        if row not in self._generators:
            self._generators[row] = torch.Generator().manual_seed(_mixed(self.seed, self._numbers[row]))
        return self._generators[row]


def _mixed(seed: int, id_: int) -> int:
    """Both in 32 bits, which is all that torch's generator reads; splitmix64, so that neighbours are independent."""
    value = (seed * 0x9E3779B97F4A7C15 + (id_ + 1) * 0xD1B54A32D192ED03) % 2**64
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) % 2**64
    return (value ^ (value >> 31)) % 2**32
