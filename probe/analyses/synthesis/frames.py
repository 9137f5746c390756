"""Frames of an optimisation, kept on the way and written as an animation."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from probe.exhibits.files import write_animation
from probe.exhibits.tiles import contact_sheet

_MOST = 40
_SMALLEST = 96  # pixels of an image on a frame: smaller ones are enlarged by whole factors

ANIMATION_HELP = "file to which an animation of the steps is written (gif, webp)"


class Frames:
    """Images (n, c, h, w) at up to 40 equally spaced steps, as (frames, n, c, h, w) of 256 levels."""

    def __init__(self, steps: int, first: int | None = None) -> None:
        """first: how many of the images are collected, of each frame."""
        self.every, self.first = max(1, -(-steps // _MOST)), first
        self.collected: list[np.ndarray] = []

    def keep(self, step: int, pixels: Callable[[], Tensor]) -> None:
        """As `Schedule.frame`."""
        if step % self.every == 0:
            self.add(pixels())

    def add(self, pixels: Tensor) -> None:
        """Collect the images as the next frame."""
        levels = (pixels[: self.first].detach().clamp(0, 1) * 255).round().byte()
        self.collected.append(levels.cpu().numpy())

    def stacked(self) -> np.ndarray:
        return np.stack(self.collected)


def write_sheets(path: Path, batches: list[np.ndarray], *, columns: int) -> None:
    """Write batches (frames, n, c, h, w) as an animation of one sheet of all their images, `columns` in a row.

    A batch with fewer frames than others, because it was interrupted, stays at its last one.
    """
    sheets = []
    for number in range(max(len(batch) for batch in batches)):
        images = [image for batch in batches for image in batch[min(number, len(batch) - 1)]]
        factor = max(1, _SMALLEST // max(images[0].shape[1:]))
        enlarged = [image.repeat(factor, 1).repeat(factor, 2) for image in images]
        tiles = [torch.from_numpy(image).float() / 255 for image in enlarged]
        sheets.append(contact_sheet(tiles, columns))
    write_animation(path, sheets)
