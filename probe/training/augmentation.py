"""How are training images varied? By the batch, on the device, from draws of their own generator."""

import math

import torch
from torch import Tensor

from probe.device import to_device

Draws = dict[str, Tensor]

_LUMA = (0.299, 0.587, 0.114)
_STRENGTH = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}
_MOVED = 1 / 8  # of the side, how far a crop moves: 4 pixels of 32, as He et al. 2016 have it


class Augmentation:
    """Variations by name, for images that are brought to `size` (height, width).

    crop: a window of `size` out of a larger image, or the image moved by up to an eighth with its edges
    mirrored. flip: left to right, every second. brightness, contrast, saturation: by a factor in
    [0.6, 1.4]. hue: by up to a tenth of the circle. jitter: all four. cutout: a square of half the side
    given the colour `mean` (DeVries & Taylor 2017).
    """

    def __init__(
        self,
        names: tuple[str, ...],
        size: tuple[int, int],
        mean: tuple[float, ...] = (0.5,),
    ) -> None:
        self.names = set(names) | (set(_STRENGTH) if "jitter" in names else set())
        self.size = size
        self.mean = torch.tensor(mean)

    def draw(self, count: int, source: tuple[int, int], rng: torch.Generator) -> Draws:
        """Random numbers for `count` images of `source` (height, width), drawn on the CPU."""
        drawn: Draws = {}
        if "crop" in self.names:
            for side, (old, new) in zip(("top", "left"), zip(source, self.size, strict=True), strict=True):
                moved = round(new * _MOVED)
                low, high = (0, old - new) if old > new else (-moved, moved)
                drawn[side] = torch.randint(low, high + 1, (count,), generator=rng)
        if "flip" in self.names:
            drawn["flip"] = torch.rand(count, generator=rng) < 0.5
        for name, strength in _STRENGTH.items():
            if name in self.names:
                drawn[name] = (2 * torch.rand(count, generator=rng) - 1) * strength
        if "cutout" in self.names:
            drawn["cutout"] = torch.rand(count, 2, generator=rng)
        return drawn

    def apply(self, pool: Tensor, rows: Tensor, drawn: Draws) -> Tensor:
        """The images `rows` of `pool` (n, h, w, c), varied as `drawn`: (rows, c, h, w) in [0, 1], channels last.

        pool: bytes, or floats in [0, 1], on any device. rows, drawn: on the CPU. Without a crop a larger image is cut
        at its centre. No device is waited for.
        """
        if "hue" in drawn:
            drawn = {**drawn, "hue": _turns(drawn["hue"])}
        drawn = {name: to_device(values, pool.device) for name, values in drawn.items()}
        pixels = self._cut(pool, rows, drawn).permute(0, 3, 1, 2)
        pixels = pixels.float().div_(255) if pixels.dtype == torch.uint8 else pixels
        if "brightness" in drawn:
            pixels = pixels * _each(1 + drawn["brightness"])
        if "contrast" in drawn:
            pixels = _spread(pixels, _luma(pixels).mean((1, 2, 3), keepdim=True), drawn["contrast"])
        if pixels.shape[1] == 3 and "saturation" in drawn:
            pixels = _spread(pixels, _luma(pixels), drawn["saturation"])
        if pixels.shape[1] == 3 and "hue" in drawn:
            pixels = torch.einsum("nij,njhw->nihw", drawn["hue"], pixels)
        if "cutout" in drawn:
            pixels = self._cut_out(pixels, drawn["cutout"])
        if drawn.keys() - {"top", "left", "flip", "cutout"}:
            pixels = pixels.clamp(0, 1)
        return pixels.contiguous(memory_format=torch.channels_last)

    def _cut(self, pool: Tensor, rows: Tensor, drawn: Draws) -> Tensor:
        height, width = pool.shape[1:3]
        if not {"top", "flip"} & drawn.keys():
            top, left = round((height - self.size[0]) / 2), round((width - self.size[1]) / 2)
            all_in_order = len(rows) == len(pool) and bool((rows.diff() == 1).all())
            chosen = pool if all_in_order else pool[to_device(rows, pool.device)]
            return chosen[:, top : top + self.size[0], left : left + self.size[1]]
        down, across = (torch.arange(side, device=pool.device)[None] for side in self.size)
        if "top" in drawn:
            down, across = down + drawn["top"][:, None], across + drawn["left"][:, None]
        else:
            down, across = (
                down + round((height - self.size[0]) / 2),
                across + round((width - self.size[1]) / 2),
            )
        if "flip" in drawn:
            across = torch.where(drawn["flip"][:, None], across.flip(1), across)
        chosen = to_device(rows, pool.device)
        return pool[
            chosen[:, None, None], _mirrored(down, height)[:, :, None], _mirrored(across, width)[:, None, :]
        ]

    def _cut_out(self, pixels: Tensor, centres: Tensor) -> Tensor:
        inside = []
        for axis, side in enumerate(self.size):
            distance = torch.arange(side, device=pixels.device) - (centres[:, axis, None] * side).floor()
            inside.append((distance >= -(side // 4)) & (distance < side // 4))
        hidden = inside[0][:, None, :, None] & inside[1][:, None, None, :]
        return torch.where(hidden, to_device(self.mean, pixels.device).view(1, -1, 1, 1), pixels)


def _mirrored(index: Tensor, side: int) -> Tensor:
    """Indices beyond the edge reflected into [0, side); the edge itself is not repeated."""
    last = side - 1
    return last - (last - index.abs()).abs()


def _each(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


def _luma(pixels: Tensor) -> Tensor:
    if pixels.shape[1] != 3:
        return pixels.mean(1, keepdim=True)
    red, green, blue = pixels.split(1, 1)
    return _LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue


def _spread(pixels: Tensor, centre: Tensor, by: Tensor) -> Tensor:
    return centre + (pixels - centre) * _each(1 + by)


def _turns(shares: Tensor) -> Tensor:
    """Matrices (n, 3, 3) that turn colours about the grey axis by shares (n,) of a full circle; luma stays (YIQ)."""
    to_yiq = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
    cos, sin = torch.cos(2 * math.pi * shares), torch.sin(2 * math.pi * shares)
    turn = torch.zeros(len(shares), 3, 3)
    turn[:, 0, 0] = 1
    turn[:, 1, 1], turn[:, 1, 2], turn[:, 2, 1], turn[:, 2, 2] = cos, -sin, sin, cos
    return torch.linalg.inv(to_yiq) @ turn @ to_yiq
