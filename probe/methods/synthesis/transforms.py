"""Random transforms of images (shift, rotation, zoom, crops, rolls), drawn for each image by itself."""

from dataclasses import dataclass
from math import pi
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional


class Transforms(Protocol):
    """A random transform: drawn on the CPU as a tensor, one row an image, and applied to images by it.

    noise: standard deviation of Gaussian noise that is added to the transformed pixels.
    """

    @property
    def noise(self) -> float: ...

    def sample(self, count: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
        """(count, ...) transforms of images of `size` (height, width), in the order of the steps."""
        ...

    def anneal(self, drawn: Tensor, fraction: float) -> Tensor:
        """Weaken drawn (steps, ...) transforms over the last `fraction` of the steps."""
        ...

    def apply(self, pixels: Tensor, drawn: Tensor) -> Tensor:
        """Transform image i of (n, c, h, w) by drawn[i], differentiably and at the same size."""
        ...


@dataclass(frozen=True)
class RandomAffine:
    """Ranges of a random transform: shift by up to `shift` pixels, rotation by up to `degrees`, zoom by 1 +- `zoom`.

    What enters at the border is the reflection of the image, never black: zeros would fill half of a small
    image. The size of the image is unchanged.
    """

    shift: float = 3.0
    degrees: float = 10.0
    zoom: float = 0.1
    noise: float = 0.0

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

    def anneal(self, drawn: Tensor, fraction: float) -> Tensor:
        """The transforms, shrunk linearly to the identity over the last `fraction` of the steps."""
        return anneal(drawn, fraction)

    def apply(self, pixels: Tensor, drawn: Tensor) -> Tensor:
        """The images, warped bilinearly and reflected at the border."""
        return warp(pixels, drawn)


@dataclass(frozen=True)
class RandomCrops:
    """Square crops about the centre, enlarged to the size of the image, with noise: the transforms of MACO.

    The side of a crop, as a fraction of the image's, falls linearly from `largest` to `smallest` over the steps; its
    centre is normally distributed about that of the image with standard deviation `spread`. They suit images larger than
    the input of the network, such as the paper's. Fel et al. 2023, arXiv 2306.06805, section 3 and appendix.
    """

    largest: float = 0.5
    smallest: float = 0.05
    spread: float = 0.15
    noise: float = 0.08

    def sample(self, count: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
        """(count, 2, 3) transforms, as `affine_grid` expects them."""
        drawn = torch.randn(count, 3, generator=generator)
        sides = torch.linspace(self.largest, self.smallest, count)
        sides = (sides + 0.05 * drawn[:, 0]).clamp(0.05, 1)
        transforms = torch.zeros(count, 2, 3)
        transforms[:, 0, 0] = transforms[:, 1, 1] = sides
        transforms[:, :, 2] = 2 * (self.spread * drawn[:, 1:]).clamp(-0.5, 0.5)
        return transforms

    def anneal(self, drawn: Tensor, fraction: float) -> Tensor:
        """The transforms as they are: their schedule is in the crops."""
        return drawn

    def apply(self, pixels: Tensor, drawn: Tensor) -> Tensor:
        """The crops at the size of the image."""
        return warp(pixels, drawn)


@dataclass(frozen=True)
class RandomRoll:
    """A shift by up to `shift` whole pixels in which what leaves at one side enters at the other (DeepDream)."""

    shift: int = 32
    noise: float = 0.0

    def sample(self, count: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
        """(count, 2) rows and columns."""
        return torch.randint(-self.shift, self.shift + 1, (count, 2), generator=generator)

    def anneal(self, drawn: Tensor, fraction: float) -> Tensor:
        """The shifts as they are."""
        return drawn

    def apply(self, pixels: Tensor, drawn: Tensor) -> Tensor:
        """The images, rolled."""
        shifts = drawn.tolist()
        if len(shifts) == 1:
            return pixels.roll(shifts[0], (2, 3))
        return torch.stack([image.roll(shift, (1, 2)) for image, shift in zip(pixels, shifts, strict=True)])


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
