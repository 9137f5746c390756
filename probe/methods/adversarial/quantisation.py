"""Pixels that survive a file: the 256 levels of eight bits inside the ball, and the way through PNG and JPEG."""

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from probe.methods.adversarial.norms import Norm, radii

_SLACK = 1e-3  # of a grey level: what float32 adds to a radius that is a whole number of levels


def quantise_in_ball(pixels: Tensor, moved: Tensor, eps: float | Tensor, norm: Norm = "linf") -> Tensor:
    """`moved` (n, c, h, w) brought to whole grey levels without leaving the ball round `pixels`.

    Linf: the nearest level that lies inside. L2, L1: rounded towards `pixels`, which never enlarges the change.
    Truncating, as is usual, makes 9/255 of 8/255. Where `pixels` lie between the levels and a ball holds none,
    the level nearest to the original is taken.
    """
    base, wanted = pixels.double() * 255, moved.double() * 255
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
    """What is read back after saving as 8-bit PNG: (n, c, h, w) with c 1 or 3."""
    return _through(pixels, "PNG")


def through_jpeg(pixels: Tensor, quality: int) -> Tensor:
    """What is read back after saving as JPEG of that quality, 1 to 95 or 100."""
    return _through(pixels, "JPEG", quality=quality)


def _through(pixels: Tensor, kind: str, **options: int) -> Tensor:
    levels = (pixels.detach().cpu() * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    read = []
    for picture in levels:
        file = io.BytesIO()
        Image.fromarray(picture[:, :, 0] if picture.shape[2] == 1 else picture).save(file, kind, **options)
        back = np.asarray(Image.open(io.BytesIO(file.getvalue())))
        read.append(torch.from_numpy(back.copy()).reshape(*picture.shape).permute(2, 0, 1))
    return torch.stack(read).to(pixels.device, pixels.dtype) / 255
