"""Gradients and edges of images by Sobel's operators."""

from math import pi

import torch
from torch import Tensor
from torch.nn import functional

KERNELS = torch.tensor([[[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]], [[-1, -2, -1], [0, 0, 0], [1, 2, 1]]]) / 8
"""(2, 3, 3): change from left to right and from top to bottom, per pixel."""


def sobel_gradient(pixels: Tensor) -> Tensor:
    """Change of brightness to the right and downwards, per pixel: (n, c, h, w) -> (n, 2, h, w).

    Brightness is the mean of the channels; the border is repeated. Sobel and Feldman 1968.
    """
    grey = functional.pad(pixels.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    return functional.conv2d(grey, KERNELS[:, None].to(pixels))


def edges(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Magnitude of the gradient (n, h, w) per pixel, and orientation of the edge (n, h, w) in degrees, [0, 180).

    The orientation is that of the edge itself, anticlockwise, 0 horizontal, as for gratings.
    """
    right, down = sobel_gradient(pixels).unbind(1)
    return torch.hypot(right, down), (torch.atan2(right, down) * 180 / pi) % 180
