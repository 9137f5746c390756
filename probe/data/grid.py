"""Tensors as pictures: a grid of images, or of images with their attributions, that a notebook shows."""

from collections.abc import Sequence

import torch
from torch import Tensor

from probe.errors import UserError
from probe.exhibits.exhibits import ImageGrid
from probe.exhibits.heatmaps import heatmap_scale, side_by_side
from probe.exhibits.wording import counted

MOST = 100
"""Images of a grid."""


def grid(
    pixels: Tensor,
    maps: Tensor | None = None,
    *,
    labels: Sequence[str] = (),
    title: str = "Images",
    caption: str = "",
) -> ImageGrid:
    """Show a grid of images; if `maps` is given, with their attributions next to and over the images.

        probe.grid(pixels, probe.attribution.GradCAM()(model, pixels, targets))

    pixels: (n, c, h, w) in [0, 1], on any device. maps: (n, h, w), or (n, c, h, w), which are reduced to one value per
    pixel: the sum over channels if they have signs, otherwise the largest value. labels: one per image. All maps share a
    scale that ends at the 99.5th percentile of their magnitude. Raises UserError for other shapes and more than 100 images.
    """
    if pixels.ndim != 4 or pixels.shape[1] not in (1, 3):
        raise UserError(f"pixels must be (n, c, h, w) with 1 or 3 channels, got {tuple(pixels.shape)}")
    if len(pixels) > MOST:
        raise UserError(
            f"a grid shows at most {MOST} images, got {len(pixels)}: pass a part of them, such as pixels[:{MOST}]"
        )
    if labels and len(labels) != len(pixels):
        raise UserError(f"there are {len(pixels)} images, but {len(labels)} labels")
    shown = pixels.detach().float().cpu()
    if not bool(torch.isfinite(shown).all()):
        raise UserError("pixels contain NaN or infinity")
    caption = caption or f"{counted(len(pixels))}."
    images = list(shown.clamp(0, 1).permute(0, 2, 3, 1).numpy())
    if maps is None:
        return ImageGrid(title=title, caption=caption, images=images, labels=list(labels))
    values = maps.detach().float().cpu()
    signed = bool((values < 0).any())
    if values.ndim == 4:
        values = values.sum(1) if signed else values.amax(1)
    if tuple(values.shape) != (len(pixels), *pixels.shape[2:]):
        raise UserError(
            f"maps must have the shape {(len(pixels), *pixels.shape[2:])} to match the pixels, got {tuple(maps.shape)}"
        )
    if not bool(torch.isfinite(values).all()):
        raise UserError("maps contain NaN or infinity")
    arrays = values.numpy()
    scale = heatmap_scale(arrays, "signed" if signed else "magnitude", "attribution")
    return ImageGrid(
        title=title,
        caption=caption,
        images=side_by_side(images, arrays, scale),
        columns=3,
        column_headers=["image", "attribution", "over the image"],
        row_headers=list(labels),
        scale=scale,
    )
