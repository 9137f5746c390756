"""Whitening: each image by itself brought to mean 0 and variance 1, as the first layer of a network."""

from math import prod

from torch import Tensor, nn
from torch.nn import functional

_GREY_LEVEL = 1 / 255


class Standardise(nn.Module):
    """(n, c, h, w) -> the same with mean 0 and variance 1 over the pixels and channels of each image. No parameters.

    TensorFlow's per_image_standardization, which the networks of its CIFAR tutorial see. Its floor under the
    deviation, here added to the variance, is what one grey level in one pixel makes of a constant image: so a
    constant image becomes zeros, and its gradient is finite.
    """

    def forward(self, pixels: Tensor) -> Tensor:
        shape = pixels.shape[1:]
        return functional.layer_norm(pixels, shape, eps=_GREY_LEVEL**2 / prod(shape))
