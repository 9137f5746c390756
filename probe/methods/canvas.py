"""What is changed when an image is optimised? Its pixels, or Fourier coefficients behind them."""

from collections.abc import Iterable
from typing import Protocol

import torch
from torch import Tensor


class Canvas(Protocol):
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
    noise. Colours are mixed so that the three channels vary together as they do in `covariance`, which is
    (c, c) of the data's pixels; none for grey. `mean` (c,) in (0, 1) is the colour of zero coefficients.
    decay: power of the frequency that coefficients fall with.

    Olah et al. 2017 (lucid's `fft_image` and `to_valid_rgb`).
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        *,
        covariance: Tensor | None = None,
        mean: Tensor | None = None,
        decay: float = 1.0,
    ) -> None:
        channels, self.height, self.width = shape
        rows = torch.fft.fftfreq(self.height, dtype=torch.float64)[:, None]
        columns = torch.fft.rfftfreq(self.width, dtype=torch.float64)[None]
        frequency = (rows**2 + columns**2).sqrt().clamp(min=1 / max(self.height, self.width))
        self.scale = (frequency**-decay / 4).float()
        self.colours = torch.eye(channels) if covariance is None else decorrelation(covariance)
        grey = torch.full((channels,), 0.5) if mean is None else mean.cpu().clamp(0.02, 0.98)
        self.grey = (grey / (1 - grey)).log()[:, None, None]

    def start(self, generator: torch.Generator, contrast: float = 1.0) -> Tensor:
        size = (len(self.colours), *self.scale.shape, 2)
        return 0.01 * contrast * torch.randn(size, generator=generator)

    def paint(self, variables: Tensor) -> Tensor:
        spectrum = torch.view_as_complex(variables) * self.scale.to(variables)
        waves = torch.fft.irfft2(spectrum, s=(self.height, self.width), norm="ortho")
        coloured = torch.einsum("dc,nchw->ndhw", self.colours.to(variables), waves)
        return torch.sigmoid(coloured + self.grey.to(variables))

    def settle(self, variables: Tensor) -> Tensor:
        return variables


def decorrelation(covariance: Tensor) -> Tensor:
    """(c, c) matrix M that turns independent values into colours with `covariance`, up to a factor.

    M M^T is the covariance over the square of M's longest column, so that no channel is moved more than by 1.
    """
    values, vectors = torch.linalg.eigh(covariance.detach().double().cpu())
    # A colour that never varies in the data may still vary a little: no direction is closed.
    root = vectors * values.clamp(min=float(values.max()) * 1e-4).sqrt()
    signs = torch.where(root.sum(0) < 0, -1.0, 1.0).double()
    return (root * signs / root.norm(dim=0).max()).float()


def colour_statistics(batches: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean (c,) and covariance (c, c) over all pixels of batches of (b, c, h, w), in float64 on the CPU."""
    count, total, products = 0, torch.zeros(()), torch.zeros(())
    for pixels in batches:
        flat = pixels.movedim(1, 0).flatten(1).double()
        count += flat.shape[1]
        total = total + flat.sum(1).cpu()
        products = products + (flat @ flat.T).cpu()
    if not count:
        raise ValueError("there are no images to take the colours from")
    mean = total / count
    return mean, products / count - mean[:, None] * mean[None]


