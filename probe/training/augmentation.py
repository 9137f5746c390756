"""Augmentation of image batches on the device, with random values from a generator of their own."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from probe.device import to_device

_LUMA_WEIGHTS = (0.299, 0.587, 0.114)
_COLOUR_STRENGTH = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}
_MAX_SHIFT = 1 / 8  # of the side, for crops: 4 pixels of 32, as in He et al. 2016


@dataclass(frozen=True)
class RandomValues:
    """The random values of a batch, a row per image; None for what is not varied.

    top, left: (n,) integer offset of the crop. flip: (n,) bool. brightness, contrast, saturation: (n,) relative change.
    hue: (n,) as a fraction of the colour circle. cutout: (n, 2) centre of the square, as a fraction of each side.
    """

    top: Tensor | None = None
    left: Tensor | None = None
    flip: Tensor | None = None
    brightness: Tensor | None = None
    contrast: Tensor | None = None
    saturation: Tensor | None = None
    hue: Tensor | None = None
    cutout: Tensor | None = None

    def __getitem__(self, rows: slice) -> "RandomValues":
        return self._map(lambda values: values[rows])

    def to(self, device: torch.device) -> "RandomValues":
        """The values on `device`, without waiting for its queued work."""
        return self._map(lambda values: to_device(values, device))

    def _map(self, function: Callable[[Tensor], Tensor]) -> "RandomValues":
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        return RandomValues(**{name: function(v) for name, v in columns.items() if v is not None})


class Augmentation:
    """Augmentations by name, for images that are brought to `size` (height, width).

    crop: a random window of `size` from a larger image, or the image shifted by up to an eighth with reflected edges.
    flip: left to right with probability 1/2. brightness, contrast, saturation: by a factor in [0.6, 1.4]. hue: by up
    to a tenth of the colour circle. jitter: all four. cutout: a square of half the side in the colour `mean`
    (DeVries & Taylor 2017).
    """

    def __init__(
        self,
        names: tuple[str, ...],
        size: tuple[int, int],
        mean: tuple[float, ...] = (0.5,),
    ) -> None:
        self.names = set(names) | (set(_COLOUR_STRENGTH) if "jitter" in names else set())
        self.size = size
        self.mean = torch.tensor(mean)

    def draw(self, count: int, source: tuple[int, int], rng: torch.Generator) -> RandomValues:
        """Random values for `count` images of size `source` (height, width), drawn on the CPU."""
        drawn: dict[str, Tensor] = {}
        if "crop" in self.names:
            for side, (old, new) in zip(("top", "left"), zip(source, self.size, strict=True), strict=True):
                shift = round(new * _MAX_SHIFT)
                low, high = (0, old - new) if old > new else (-shift, shift)
                drawn[side] = torch.randint(low, high + 1, (count,), generator=rng)
        if "flip" in self.names:
            drawn["flip"] = torch.rand(count, generator=rng) < 0.5
        for name, strength in _COLOUR_STRENGTH.items():
            if name in self.names:
                drawn[name] = (2 * torch.rand(count, generator=rng) - 1) * strength
        if "cutout" in self.names:
            drawn["cutout"] = torch.rand(count, 2, generator=rng)
        return RandomValues(**drawn)

    def apply(self, pool: Tensor, positions: Tensor, drawn: RandomValues) -> Tensor:
        """The images at `positions` of `pool` (n, h, w, c), augmented: (b, c, h, w) in [0, 1], channels last.

        pool: uint8, or floats in [0, 1], on any device. positions, drawn: on the CPU. Without a crop a larger image is
        cropped at its centre. Does not wait for the device.
        """
        if drawn.hue is not None:
            drawn = replace(drawn, hue=_hue_rotations(drawn.hue))
        drawn = drawn.to(pool.device)
        pixels = self._crop(pool, positions, drawn).permute(0, 3, 1, 2)
        pixels = pixels.float().div_(255) if pixels.dtype == torch.uint8 else pixels
        if drawn.brightness is not None:
            pixels = pixels * _per_image(1 + drawn.brightness)
        if drawn.contrast is not None:
            pixels = _scale_around(pixels, _luma(pixels).mean((1, 2, 3), keepdim=True), drawn.contrast)
        if pixels.shape[1] == 3 and drawn.saturation is not None:
            pixels = _scale_around(pixels, _luma(pixels), drawn.saturation)
        if pixels.shape[1] == 3 and drawn.hue is not None:
            pixels = torch.einsum("nij,njhw->nihw", drawn.hue, pixels)
        if drawn.cutout is not None:
            pixels = self._cut_out(pixels, drawn.cutout)
        if any(getattr(drawn, name) is not None for name in _COLOUR_STRENGTH):
            pixels = pixels.clamp(0, 1)
        return pixels.contiguous(memory_format=torch.channels_last)

    def _crop(self, pool: Tensor, positions: Tensor, drawn: RandomValues) -> Tensor:
        height, width = pool.shape[1:3]
        top, left = round((height - self.size[0]) / 2), round((width - self.size[1]) / 2)
        if drawn.top is None and drawn.flip is None:
            all_in_order = len(positions) == len(pool) and bool((positions.diff() == 1).all())
            chosen = pool if all_in_order else pool[to_device(positions, pool.device)]
            return chosen[:, top : top + self.size[0], left : left + self.size[1]]
        rows, columns = (torch.arange(side, device=pool.device)[None] for side in self.size)
        if drawn.top is not None and drawn.left is not None:
            rows, columns = rows + drawn.top[:, None], columns + drawn.left[:, None]
        else:
            rows, columns = rows + top, columns + left
        if drawn.flip is not None:
            columns = torch.where(drawn.flip[:, None], columns.flip(1), columns)
        rows, columns = _reflect_indices(rows, height), _reflect_indices(columns, width)
        return pool[to_device(positions, pool.device)[:, None, None], rows[:, :, None], columns[:, None, :]]

    def _cut_out(self, pixels: Tensor, centres: Tensor) -> Tensor:
        inside = []
        for axis, side in enumerate(self.size):
            distance = torch.arange(side, device=pixels.device) - (centres[:, axis, None] * side).floor()
            inside.append((distance >= -(side // 4)) & (distance < side // 4))
        hidden = inside[0][:, None, :, None] & inside[1][:, None, None, :]
        return torch.where(hidden, to_device(self.mean, pixels.device).view(1, -1, 1, 1), pixels)


def _reflect_indices(indices: Tensor, side: int) -> Tensor:
    """Indices beyond the edge reflected into [0, side); the edge itself is not repeated."""
    last = side - 1
    return last - (last - indices.abs()).abs()


def _per_image(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


def _luma(pixels: Tensor) -> Tensor:
    if pixels.shape[1] != 3:
        return pixels.mean(1, keepdim=True)
    red, green, blue = pixels.split(1, 1)
    return _LUMA_WEIGHTS[0] * red + _LUMA_WEIGHTS[1] * green + _LUMA_WEIGHTS[2] * blue


def _scale_around(pixels: Tensor, centre: Tensor, change: Tensor) -> Tensor:
    return centre + (pixels - centre) * _per_image(1 + change)


def _hue_rotations(fractions: Tensor) -> Tensor:
    """Matrices (n, 3, 3) that rotate colours about the grey axis by `fractions` (n,) of a circle; luma stays (YIQ)."""
    to_yiq = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
    cos, sin = torch.cos(2 * math.pi * fractions), torch.sin(2 * math.pi * fractions)
    rotation = torch.zeros(len(fractions), 3, 3)
    rotation[:, 0, 0] = 1
    rotation[:, 1, 1], rotation[:, 1, 2], rotation[:, 2, 1], rotation[:, 2, 2] = cos, -sin, sin, cos
    return torch.linalg.inv(to_yiq) @ rotation @ to_yiq
