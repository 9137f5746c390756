"""Tensors as images of an exhibit: conversion, crops in frames of one size, contact sheets."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

Box = tuple[int, int, int, int]

OUTSIDE = 0.92
"""Brightness of what lies outside the image."""


def to_image(pixels: Tensor) -> np.ndarray:
    """(c, h, w) of about [0, 1] on any device -> (h, w, c) float32, clipped to [0, 1]."""
    return pixels.clamp(0, 1).permute(1, 2, 0).cpu().float().numpy()


def to_images(pixels: Tensor) -> list[np.ndarray]:
    """A batch (n, c, h, w) as the images of an exhibit."""
    return [to_image(image) for image in pixels]


def framed_crop(
    image: Tensor, box: Box, frame: tuple[int, int], *, limit: int, blank: float = OUTSIDE
) -> Tensor:
    """What `box` cuts out of an image (c, h, w), set in a `frame` (h, w) that it may not fill: (c, h', w').

    A crop at the border of the image lies at that border of the frame, the rest is `blank`.
    box: left, top, right, bottom, the last two exclusive. limit: the longer side of a larger frame is reduced to it.
    """
    left, top, right, bottom = box
    crop = image[:, top:bottom, left:right]
    height, width = crop.shape[1:]
    above = frame[0] - height if top == 0 and bottom < image.shape[1] else 0
    before = frame[1] - width if left == 0 and right < image.shape[2] else 0
    framed = functional.pad(
        crop, (before, frame[1] - width - before, above, frame[0] - height - above), value=blank
    )
    if max(frame) <= limit:
        return framed
    size = [max(1, round(side * limit / max(frame))) for side in frame]
    return functional.interpolate(framed[None], size, mode="bilinear", antialias=True, align_corners=False)[0]


def contact_sheet(tiles: Sequence[Tensor], columns: int, *, blank: float = 1.0) -> np.ndarray:
    """Tiles (c, h, w) of one size in rows of `columns`, a gap between them: (H, W, c)."""
    channels, height, width = tiles[0].shape
    gap = max(1, round(max(height, width) / 32))
    rows = -(-len(tiles) // columns)
    sheet = torch.full((channels, rows * (height + gap) - gap, columns * (width + gap) - gap), blank)
    for i, tile in enumerate(tiles):
        y, x = i // columns * (height + gap), i % columns * (width + gap)
        sheet[:, y : y + height, x : x + width] = tile
    return to_image(sheet)


def centred_on_grey(values: Tensor) -> Tensor:
    """Signed values (c, h, w) around mid-grey on a scale of their own: all but the largest 0.2 % lie in [0, 1]."""
    sizes = values.abs().flatten()
    limit = sizes.kthvalue(max(1, int(0.998 * len(sizes)))).values
    # Few pixels may carry all of a signal.
    limit = limit if limit > 0.05 * sizes.amax() else sizes.amax()
    return (0.5 + 0.5 * values / limit.clamp(min=1e-12)).clamp(0, 1)
