"""What is changed when an image is optimised? Its pixels, or Fourier coefficients behind them."""

from collections.abc import Iterable
from typing import Protocol

import torch
from torch import Tensor

from probe.data.sending import sent

_DARKEST = 0.005


class Parametrisation(Protocol):
    """A way to write down an image. All variables of a batch lie in one tensor, image i in row i."""

    def start(self, generator: torch.Generator, contrast: float = 1.0) -> Tensor:
        """The variables of one faint random image, drawn on the CPU; contrast: how faint, 1 being usual."""
        ...

    def paint(self, variables: Tensor) -> Tensor:
        """(n, ...) variables -> (n, c, h, w) pixels in [0, 1], differentiable."""
        ...

    def settle(self, variables: Tensor) -> Tensor:
        """The nearest variables that stand for an image; taken after each step."""
        ...


class Pixels:
    """The pixels themselves, clipped to [0, 1] after each step; starts from grey with a little noise."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.shape = shape

    def start(self, generator: torch.Generator, contrast: float = 1.0) -> Tensor:
        noise = torch.randn(self.shape, generator=generator)
        return (0.5 + 0.01 * contrast * noise).clamp(0, 1)

    def paint(self, variables: Tensor) -> Tensor:
        return variables

    def settle(self, variables: Tensor) -> Tensor:
        return variables.clamp(0, 1)


class Fourier:
    """Coefficients of the two-dimensional Fourier series, scaled by 1 / frequency, behind a sigmoid.

    Steps of equal length in these coordinates give natural images' spectrum instead of high-frequency
    noise. covariance: (c, c) of the data's colours, which the channels then share; none for grey.
    ground: (c, h, w) in [0, 1], what zero coefficients stand for, such as the mean image of the data: where it
    is black for all classes (the rim of handwritten digits), the picture stays black. Grey where not given.
    decay: power of the frequency that coefficients fall with; above 1 shapes are larger, colours flatter.

    Olah et al. 2017 (lucid's `fft_image` and `to_valid_rgb`); the mean image as in Simonyan et al. 2014.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        *,
        covariance: Tensor | None = None,
        ground: Tensor | None = None,
        decay: float = 1.0,
    ) -> None:
        channels, self.height, self.width = shape
        rows = torch.fft.fftfreq(self.height, dtype=torch.float64)[:, None]
        columns = torch.fft.rfftfreq(self.width, dtype=torch.float64)[None]
        frequency = (rows**2 + columns**2).sqrt().clamp(min=1 / max(self.height, self.width))
        self.scale = (frequency**-decay / 4).float()
        self.colours = torch.eye(channels) if covariance is None else decorrelation(covariance)
        ground = torch.full((channels, 1, 1), 0.5) if ground is None else ground.cpu()
        # At 0 and 1 themselves the sigmoid would let no gradient through.
        self.ground = ground.clamp(_DARKEST, 1 - _DARKEST).logit()

    def start(self, generator: torch.Generator, contrast: float = 1.0) -> Tensor:
        size = (len(self.colours), *self.scale.shape, 2)
        return 0.01 * contrast * torch.randn(size, generator=generator)

    def paint(self, variables: Tensor) -> Tensor:
        spectrum = torch.view_as_complex(variables) * sent(self.scale, variables.device).to(variables)
        waves = torch.fft.irfft2(spectrum, s=(self.height, self.width), norm="ortho")
        coloured = torch.einsum("dc,nchw->ndhw", sent(self.colours, variables.device).to(variables), waves)
        return torch.sigmoid(coloured + sent(self.ground, variables.device).to(variables))

    def settle(self, variables: Tensor) -> Tensor:
        return variables


def decorrelation(covariance: Tensor) -> Tensor:
    """(c, c) matrix M that turns independent values into colours with `covariance`, up to a factor.

    M M^T is the covariance over the square of M's longest column, so that no channel is moved more than by 1.
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
        raise ValueError("there are no images to take the colours from")
    mean = total / count
    colour = mean.mean((1, 2))
    return mean.float(), products / (count * area) - colour[:, None] * colour[None]
