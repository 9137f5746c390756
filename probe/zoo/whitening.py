"""Per-image whitening: each image standardised to mean 0 and variance 1, as the first layer of a network."""

from math import prod

from torch import Tensor, nn
from torch.nn import functional

_GREY_LEVEL = 1 / 255


class Standardise(nn.Module):
    """(n, c, h, w) -> the same with mean 0 and variance 1 over the pixels and channels of each image. No parameters.

    TensorFlow's per_image_standardization, as in its CIFAR tutorial. Its lower bound on the deviation, here added to the
    variance, is that of a constant image with one pixel one grey level off: a constant image becomes zeros, and its
    gradient is finite.
    """

    def forward(self, pixels: Tensor) -> Tensor:
        shape = pixels.shape[1:]
        return functional.layer_norm(pixels, shape, eps=_GREY_LEVEL**2 / prod(shape))
