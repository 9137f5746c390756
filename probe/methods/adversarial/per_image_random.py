"""Random numbers that belong to an image, not to its place in a batch."""

import torch
from torch import Tensor


class PerImageRng:
    """A generator for each image, seeded by `seed` and the image's index.

    What an image gets does not depend on which images stand beside it, in which order, or how many at a time.
    """

    def __init__(self, seed: int, index: Tensor, device: torch.device | str = "cpu") -> None:
        """index: (n,) whole numbers that name the images."""
        self._generators = [torch.Generator().manual_seed(_mixed(seed, i)) for i in index.tolist()]
        self._device = device

    def uniform(self, rows: Tensor, *shape: int) -> Tensor:
        """The next numbers of each image in `rows` (m,), uniform in [0, 1): (m, *shape) float32."""
        drawn = torch.empty(len(rows), *shape)
        for place, row in enumerate(rows.tolist()):
            torch.rand(shape, generator=self._generators[row], out=drawn[place])
        return drawn.to(self._device)


def _mixed(seed: int, index: int) -> int:
    """Both in 32 bits, which is all that torch's generator reads; splitmix64, so that neighbours have nothing in common."""
    value = (seed * 0x9E3779B97F4A7C15 + (index + 1) * 0xD1B54A32D192ED03) % 2**64
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) % 2**64
    return (value ^ (value >> 31)) % 2**32
