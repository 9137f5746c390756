"""How is an image moved a little before the network sees it? One affine warp, drawn for each image by itself."""

from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class RandomAffine:
    """Ranges of a random move: `shift` pixels in each direction, a turn by `degrees`, a zoom by 1 +- `zoom`.

    What comes in at the border is the reflection of the image, never black: zeros would take half of a small
    image. The size stays that of the network; nothing is enlarged.
    """

    shift: float = 3.0
    degrees: float = 10.0
    zoom: float = 0.1

    @classmethod
    def sized(cls, side: int, strength: float = 1.0) -> "RandomAffine":
        """Moves in proportion to the image: 3 pixels at 32, 6 at 64, 16 at most, all times `strength`.

        A half of this leaves loose strokes on LeNet's digits, half as much again no longer helps.
        """
        shift = min(16.0, side * 3 / 32)
        return cls(shift=shift * strength, degrees=10 * strength, zoom=min(0.1 * strength, 0.5))

    def draw(self, count: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
        """(count, 2, 3) moves for images of `size` (height, width), from a CPU `generator`.

        Each maps normalised output coordinates to input ones, as affine_grid takes them.
        """
        height, width = size
        drawn = torch.rand(count, 4, generator=generator) * 2 - 1
        angle, factor = drawn[:, 0] * self.degrees * pi / 180, 1 + drawn[:, 1] * self.zoom
        cos, sin = angle.cos() / factor, angle.sin() / factor
        moves = torch.empty(count, 2, 3)
        moves[:, 0, 0], moves[:, 1, 1] = cos, cos
        # Normalised coordinates are not square where the image is not.
        moves[:, 0, 1], moves[:, 1, 0] = -sin * height / width, sin * width / height
        moves[:, 0, 2] = drawn[:, 2] * self.shift * 2 / width
        moves[:, 1, 2] = drawn[:, 3] * self.shift * 2 / height
        return moves


def anneal(moves: Tensor, share: float) -> Tensor:
    """(steps, ..., 2, 3) moves of which the last `share` of the steps shrink to none, evenly."""
    steps = len(moves)
    left = ((steps - 1 - torch.arange(steps)) / max(1.0, share * steps)).clamp(0, 1)
    still = torch.eye(2, 3)
    return still + left.view(-1, *[1] * (moves.ndim - 1)) * (moves - still)


def warp(pixels: Tensor, moves: Tensor) -> Tensor:
    """Move image i of (n, c, h, w) by moves[i] (2, 3): bilinear, reflected at the border, same size."""
    grid = functional.affine_grid(moves.to(pixels), list(pixels.shape), align_corners=False)
    return functional.grid_sample(
        pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )
