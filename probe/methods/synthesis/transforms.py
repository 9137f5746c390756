"""Random affine transforms of images (shift, rotation, zoom), drawn for each image by itself."""

from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class RandomAffine:
    """Ranges of a random transform: shift by up to `shift` pixels, rotation by up to `degrees`, zoom by 1 +- `zoom`.

    What enters at the border is the reflection of the image, never black: zeros would fill half of a small
    image. The size of the image is unchanged.
    """

    shift: float = 3.0
    degrees: float = 10.0
    zoom: float = 0.1

    @classmethod
    def for_side(cls, side: int, strength: float = 1.0) -> "RandomAffine":
        """Ranges in proportion to the side of the image: 3 pixels at 32, 6 at 64, 16 at most, all times `strength`.

        Half the strength leaves loose strokes on LeNet's digits, half as much again no longer helps.
        """
        shift = min(16.0, side * 3 / 32)
        return cls(shift=shift * strength, degrees=10 * strength, zoom=min(0.1 * strength, 0.5))

    def sample(self, count: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
        """(count, 2, 3) transforms of images of `size` (height, width), drawn from a CPU `generator`.

        Each maps normalised output coordinates to input coordinates, as `affine_grid` expects them.
        """
        height, width = size
        drawn = torch.rand(count, 4, generator=generator) * 2 - 1
        angle, factor = drawn[:, 0] * self.degrees * pi / 180, 1 + drawn[:, 1] * self.zoom
        cos, sin = angle.cos() / factor, angle.sin() / factor
        transforms = torch.empty(count, 2, 3)
        transforms[:, 0, 0], transforms[:, 1, 1] = cos, cos
        # Normalised coordinates are not square where the image is not.
        transforms[:, 0, 1], transforms[:, 1, 0] = -sin * height / width, sin * width / height
        transforms[:, 0, 2] = drawn[:, 2] * self.shift * 2 / width
        transforms[:, 1, 2] = drawn[:, 3] * self.shift * 2 / height
        return transforms


def anneal(transforms: Tensor, fraction: float) -> Tensor:
    """Shrink transforms (steps, ..., 2, 3) linearly to the identity over the last `fraction` of the steps."""
    steps = len(transforms)
    strength = ((steps - 1 - torch.arange(steps)) / max(1.0, fraction * steps)).clamp(0, 1)
    identity = torch.eye(2, 3)
    return identity + strength.view(-1, *[1] * (transforms.ndim - 1)) * (transforms - identity)


def warp(pixels: Tensor, transforms: Tensor) -> Tensor:
    """Transform image i of (n, c, h, w) by transforms[i] (2, 3): bilinear, reflected at the border, same size."""
    grid = functional.affine_grid(transforms.to(pixels), list(pixels.shape), align_corners=False)
    return functional.grid_sample(
        pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )
