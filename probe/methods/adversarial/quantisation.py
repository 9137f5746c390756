"""Quantisation of perturbed images to eight bits, within the ball and through PNG and JPEG files."""

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from probe.methods.adversarial.norms import Norm, radii

_SLACK = 1e-3  # of a grey level: what float32 adds to a radius that is a whole number of levels


def quantise_in_ball(pixels: Tensor, perturbed: Tensor, eps: float | Tensor, norm: Norm = "linf") -> Tensor:
    """`perturbed` (n, c, h, w) rounded to whole grey levels without leaving the ball around `pixels`.

    Linf: the nearest level inside. L2, L1: rounded towards `pixels`, which never enlarges the change.
    Truncating, as is usual, makes 9/255 of 8/255. Where `pixels` lie between the levels and a ball holds none,
    the level nearest to the original is taken.
    """
    base, wanted = pixels.double() * 255, perturbed.double() * 255
    if norm == "linf":
        limit = radii(eps, base) * 255
        low, high = torch.ceil(base - limit - _SLACK), torch.floor(base + limit + _SLACK)
        levels = torch.minimum(torch.maximum(wanted.round(), low), high)
        levels = torch.where(low > high, base.round(), levels)
    else:
        towards = torch.where(wanted > base, torch.floor(wanted + _SLACK), torch.ceil(wanted - _SLACK))
        crossed = (towards - base) * (wanted - base) < 0
        levels = torch.where(crossed, base.round(), towards)
    return (levels.clamp(0, 255) / 255).to(pixels.dtype)


def through_png(pixels: Tensor) -> Tensor:
    """The images after saving as 8-bit PNG: (n, c, h, w) with c 1 or 3."""
    return _reencoded(pixels, "PNG")


def through_jpeg(pixels: Tensor, quality: int) -> Tensor:
    """The images after saving as JPEG of that quality, 1 to 95 or 100: (n, c, h, w) with c 1 or 3."""
    return _reencoded(pixels, "JPEG", quality=quality)


def _reencoded(pixels: Tensor, kind: str, **options: int) -> Tensor:
    levels = (pixels.detach().cpu() * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    decoded = []
    for image in levels:
        file = io.BytesIO()
        Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).save(file, kind, **options)
        array = np.asarray(Image.open(io.BytesIO(file.getvalue())))
        decoded.append(torch.from_numpy(array.copy()).reshape(*image.shape).permute(2, 0, 1))
    return torch.stack(decoded).to(pixels.device, pixels.dtype) / 255
