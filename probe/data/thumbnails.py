"""Downscaled copies of images, for scatter plots and grids."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from probe.data.images import Images


def thumbnails(images: Images, side: int = 32) -> np.ndarray:
    """Every image with its longer side reduced to `side` pixels: (n, h, w, c) in [0, 1]."""
    return np.concatenate([downscale(batch.pixels, side) for batch in images.batches(64)])


def downscale(pixels: Tensor, side: int) -> np.ndarray:
    """(n, c, h, w) pixels as (n, h', w', c) images whose longer side is at most `side`, in [0, 1]."""
    longest = max(pixels.shape[2:])
    if longest > side:
        size = [max(1, round(s * side / longest)) for s in pixels.shape[2:]]
        pixels = functional.interpolate(pixels, size, mode="bilinear", antialias=True, align_corners=False)
    return pixels.clamp(0, 1).permute(0, 2, 3, 1).cpu().float().numpy()


def tile(images: np.ndarray, rows: int) -> np.ndarray:
    """Images (rows * columns, h, w, c), row by row, as one image (rows * h, columns * w, c)."""
    count, h, w, c = images.shape
    columns = count // rows
    tiles = torch.from_numpy(images).view(rows, columns, h, w, c).permute(0, 2, 1, 3, 4)
    return tiles.reshape(rows * h, columns * w, c).numpy()
