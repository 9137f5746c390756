"""Image parametrisations for optimisation: pixels, Fourier coefficients with decorrelated colours, Fourier phases."""

from collections.abc import Iterable
from typing import Protocol

import torch
from torch import Tensor

from probe.device import to_device

_DARKEST = 0.005


class Parametrisation(Protocol):
    """Variables that stand for images. Those of a batch lie in one tensor, image i in row i."""

    def initialise(self, generator: torch.Generator, contrast: float = 1.0) -> Tensor:
        """Variables of one random image of low contrast, drawn on the CPU; contrast: a factor, 1 by default."""
        ...

    def to_pixels(self, variables: Tensor) -> Tensor:
        """(n, ...) variables -> (n, c, h, w) pixels in [0, 1], differentiable."""
        ...

    def project(self, variables: Tensor) -> Tensor:
        """The nearest variables that stand for an image; applied after each step."""
        ...


class Pixels:
    """The pixels themselves, clipped to [0, 1] after each step; initialised as `mean_image` with little noise.

    mean_image: (c, h, w) or (c, 1, 1) in [0, 1], grey by default.
    """

    def __init__(self, shape: tuple[int, int, int], *, mean_image: Tensor | None = None) -> None:
        self.shape = shape
        self.mean_image = torch.tensor(0.5) if mean_image is None else mean_image.cpu()

    def initialise(self, generator: torch.Generator, contrast: float = 1.0) -> Tensor:
        noise = torch.randn(self.shape, generator=generator)
        return (self.mean_image + 0.01 * contrast * noise).clamp(0, 1)

    def to_pixels(self, variables: Tensor) -> Tensor:
        return variables

    def to_variables(self, pixels: Tensor) -> Tensor:
        """The variables that stand for images (n, c, h, w) in [0, 1]."""
        return pixels.clone()

    def project(self, variables: Tensor) -> Tensor:
        return variables.clamp(0, 1)


class Fourier:
    """Coefficients of the two-dimensional Fourier series, scaled by 1 / frequency, passed through a sigmoid.

    Steps of equal length in these coordinates yield the spectrum of natural images instead of high-frequency
    noise. shape: (c, h, w). covariance: (c, c) of the colours of the data, which decorrelates the channels; none
    for grey images. mean_image: (c, h, w) or (c, 1, 1) in [0, 1], what zero coefficients stand for: where the mean
    of the data is black for all classes (the border of handwritten digits), the image stays black. Mid-grey by
    default, or (n, c, h, w), one for each image of a batch. decay_power: power of the frequency by which coefficients
    decay; above 1 gives larger shapes and flatter colours. contrast: of the first images, times the usual.

    Olah et al. 2017 (lucid's `fft_image` and `to_valid_rgb`); the mean image as in Simonyan et al. 2014.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        *,
        covariance: Tensor | None = None,
        mean_image: Tensor | None = None,
        decay_power: float = 1.0,
        contrast: float = 1.0,
    ) -> None:
        self.contrast = contrast
        channels, self.height, self.width = shape
        rows = torch.fft.fftfreq(self.height, dtype=torch.float64)[:, None]
        columns = torch.fft.rfftfreq(self.width, dtype=torch.float64)[None]
        frequency = (rows**2 + columns**2).sqrt().clamp(min=1 / max(self.height, self.width))
        self.scale = (frequency**-decay_power / 4).float()
        self.colours = torch.eye(channels) if covariance is None else decorrelation(covariance)
        mean_image = torch.full((channels, 1, 1), 0.5) if mean_image is None else mean_image.cpu()
        # The sigmoid has no gradient at 0 and 1 themselves.
        self.mean_logits = mean_image.clamp(_DARKEST, 1 - _DARKEST).logit()

    def initialise(self, generator: torch.Generator, contrast: float = 1.0) -> Tensor:
        size = (len(self.colours), *self.scale.shape, 2)
        return 0.01 * self.contrast * contrast * torch.randn(size, generator=generator)

    def to_pixels(self, variables: Tensor) -> Tensor:
        spectrum = torch.view_as_complex(variables) * to_device(self.scale, variables.device).to(variables)
        waves = torch.fft.irfft2(spectrum, s=(self.height, self.width), norm="ortho")
        coloured = torch.einsum(
            "dc,nchw->ndhw", to_device(self.colours, variables.device).to(variables), waves
        )
        return torch.sigmoid(coloured + to_device(self.mean_logits, variables.device).to(variables))

    def to_variables(self, pixels: Tensor) -> Tensor:
        """The variables that stand for images (n, c, h, w); pixels within 0.005 of 0 and 1 are brought to that."""
        logits = pixels.clamp(_DARKEST, 1 - _DARKEST).logit() - to_device(self.mean_logits, pixels.device).to(
            pixels
        )
        inverse = torch.linalg.inv(self.colours.double()).to(pixels.dtype)
        waves = torch.einsum("dc,nchw->ndhw", to_device(inverse, pixels.device), logits)
        spectrum = torch.fft.rfft2(waves, norm="ortho") / to_device(self.scale, pixels.device).to(pixels)
        return torch.view_as_real(spectrum).clone()

    def project(self, variables: Tensor) -> Tensor:
        return variables


class FixedMagnitude:
    """The phases of a Fourier series whose magnitudes are those of the data (MACO).

    An image has the amount of every spatial frequency that the data have, so that none can be exaggerated; only where
    things are is free. shape: (c, h, w). magnitude: (c, h, w // 2 + 1), from `mean_magnitude` with the same colours.
    covariance, mean_image: as of `Fourier`. The waves are passed through a sigmoid of slope 1 at the mean grey.

    Fel et al. 2023, arXiv 2306.06805, section 3.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        magnitude: Tensor,
        *,
        covariance: Tensor | None = None,
        mean_image: Tensor | None = None,
    ) -> None:
        channels, self.height, self.width = shape
        self.magnitude = magnitude.cpu()
        self.colours = torch.eye(channels) if covariance is None else decorrelation(covariance)
        mean_image = torch.full((channels, 1, 1), 0.5) if mean_image is None else mean_image.cpu()
        self.mean_logits = mean_image.clamp(_DARKEST, 1 - _DARKEST).logit()

    def initialise(self, generator: torch.Generator, contrast: float = 1.0) -> Tensor:
        return (2 * torch.rand(self.magnitude.shape, generator=generator) - 1) * torch.pi

    def to_pixels(self, variables: Tensor) -> Tensor:
        magnitude = to_device(self.magnitude, variables.device).to(variables)
        spectrum = torch.complex(magnitude * variables.cos(), magnitude * variables.sin())
        waves = torch.fft.irfft2(spectrum, s=(self.height, self.width), norm="ortho")
        coloured = torch.einsum(
            "dc,nchw->ndhw", to_device(self.colours, variables.device).to(variables), waves
        )
        return torch.sigmoid(4 * coloured + to_device(self.mean_logits, variables.device).to(variables))

    def project(self, variables: Tensor) -> Tensor:
        return variables


def mean_magnitude(batches: Iterable[Tensor], *, covariance: Tensor | None = None) -> Tensor:
    """(c, h, w // 2 + 1) mean magnitude of the Fourier coefficients of batches (b, c, h, w), in decorrelated colours.

    The mean of each image is left out. Raises ValueError where there is no batch.
    """
    total, count = torch.zeros(()), 0
    for pixels in batches:
        colours = torch.eye(pixels.shape[1]) if covariance is None else decorrelation(covariance)
        inverse = to_device(torch.linalg.inv(colours.double()).float(), pixels.device)
        centred = pixels - pixels.mean((2, 3), keepdim=True)
        waves = torch.einsum("dc,nchw->ndhw", inverse, centred)
        total = total + torch.fft.rfft2(waves, norm="ortho").abs().double().sum(0).cpu()
        count += len(pixels)
    if not count:
        raise ValueError("no images to compute magnitudes of")
    return (total / count).float()


def decorrelation(covariance: Tensor) -> Tensor:
    """(c, c) matrix M that turns independent values into colours with `covariance`, up to a factor.

    M M^T is the covariance over the square of M's longest column, so that no channel is changed by more than 1.
    """
    values, vectors = torch.linalg.eigh(covariance.detach().double().cpu())
    # A colour that never varies in the data may still vary a little: no direction is closed, and images of one
    # flat colour, whose covariance is 0, leave all directions open alike.
    root = vectors * values.clamp(min=max(float(values.max()) * 1e-4, 1e-12)).sqrt()
    signs = torch.where(root.sum(0) < 0, -1.0, 1.0).double()
    return (root * signs / root.norm(dim=0).max()).float()


def mean_and_covariance(batches: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """The mean image (c, h, w) and the covariance (c, c) of the colours of all pixels, of batches (b, c, h, w).

    Summed in float64; on the CPU. Raises ValueError where there is no batch.
    """
    count, total, products, area = 0, torch.zeros(()), torch.zeros(()), 0
    for pixels in batches:
        count, area = count + len(pixels), pixels.shape[2] * pixels.shape[3]
        flat = pixels.movedim(1, 0).flatten(1).double()
        total = total + pixels.double().sum(0).cpu()
        products = products + (flat @ flat.T).cpu()
    if not count:
        raise ValueError("no images to compute a mean and a covariance of")
    mean = total / count
    colour = mean.mean((1, 2))
    return mean.float(), products / (count * area) - colour[:, None] * colour[None]
