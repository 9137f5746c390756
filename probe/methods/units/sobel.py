"""Where do images have edges, and which way do they run? Sobel's operators, as a convolution."""

from math import pi

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

KERNELS = torch.tensor([[[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]], [[-1, -2, -1], [0, 0, 0], [1, 2, 1]]]) / 8
"""(2, 3, 3): change from left to right and from top to bottom, per pixel."""


def gradient(pixels: Tensor) -> Tensor:
    """Change of brightness to the right and downwards, per pixel: (n, c, h, w) -> (n, 2, h, w).

    Brightness is the mean of the channels; the border is repeated. Sobel and Feldman 1968.
    """
    grey = functional.pad(pixels.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    return functional.conv2d(grey, KERNELS[:, None].to(pixels))


def edges(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Magnitude of the gradient (n, h, w) per pixel, and orientation of the edge (n, h, w) in degrees, [0, 180).

    The orientation is that of the edge itself, anticlockwise, 0 lying, as gratings have it.
    """
    right, down = gradient(pixels).unbind(1)
    return torch.hypot(right, down), (torch.atan2(right, down) * 180 / pi) % 180


def coloured(magnitude: Tensor, orientation: Tensor) -> np.ndarray:
    """Orientation as hue and magnitude as brightness: (h, w) each -> (h, w, 3) in [0, 1]."""
    hue = orientation[..., None] / 180 * 6
    pure = ((hue + torch.tensor([0.0, 4.0, 2.0])).remainder(6) - 3).abs().sub(1).clamp(0, 1)
    return (pure * (magnitude / magnitude.amax().clamp(min=1e-12))[..., None]).numpy()
