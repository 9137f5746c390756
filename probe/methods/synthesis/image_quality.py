"""How near an image is to another one: peak signal-to-noise ratio and structural similarity."""

import torch
from torch import Tensor
from torch.nn import functional

_BLACK, _CONTRAST = 0.01**2, 0.03**2


def psnr(images: Tensor, originals: Tensor) -> Tensor:
    """(n,) peak signal-to-noise ratio in dB of (n, c, h, w) in [0, 1]; at most 100, that of equal images."""
    error = (images - originals).flatten(1).square().mean(1)
    return -10 * error.clamp_min(1e-10).log10()


def ssim(images: Tensor, originals: Tensor) -> Tensor:
    """(n,) mean structural similarity of (n, c, h, w) in [0, 1]: 1 for equal images, about 0 for unrelated ones.

    Windows of 11 x 11 pixels, Gaussian with standard deviation 1.5, smaller where the images are; inside the image
    alone, and averaged over the channels. Wang et al. 2004, equation 13.
    """
    originals = originals.to(images.dtype)
    size = min(11, *images.shape[2:])
    offsets = torch.arange(size, dtype=images.dtype, device=images.device) - (size - 1) / 2
    profile = (-offsets.square() / (2 * 1.5**2)).exp()
    profile = profile / profile.sum()
    channels = images.shape[1]
    window = (profile[:, None] * profile[None]).expand(channels, 1, size, size)

    def smooth(values: Tensor) -> Tensor:
        return functional.conv2d(values, window, groups=channels)

    mean_a, mean_b = smooth(images), smooth(originals)
    var_a = smooth(images * images) - mean_a * mean_a
    var_b = smooth(originals * originals) - mean_b * mean_b
    covariance = smooth(images * originals) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + _BLACK) / (mean_a.square() + mean_b.square() + _BLACK)
    structure = (2 * covariance + _CONTRAST) / (var_a + var_b + _CONTRAST)
    return (luminance * structure).flatten(1).mean(1)
