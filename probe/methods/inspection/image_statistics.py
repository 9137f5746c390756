"""Statistics of the pixels of a set of images in one pass: colours, neighbouring pixels, power spectrum."""

from collections.abc import Iterable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from probe.data.images import Batch


@dataclass(frozen=True)
class PixelStatistics:
    """Statistics over the pixels of a set of images. All tensors are float64 on the CPU.

    count: number of images. mean: (c,). covariance: (c, c), of the channels of single pixels. mean_image: (c, h, w).
    distances: (d,) in pixels, from 0. euclidean: (d,) root mean square of the Euclidean distance between the colours
    of two pixels that far apart, along rows and columns. cosine: (d,) cosine between the pixels as vectors over all
    images; centred_cosine: (d,) the same after the mean colour is subtracted, which is their correlation.
    frequencies: (f,) cycles per pixel. power: (f,) of the brightness, mean over images and directions.
    """

    count: int
    mean: Tensor
    covariance: Tensor
    mean_image: Tensor
    distances: Tensor
    euclidean: Tensor
    cosine: Tensor
    centred_cosine: Tensor
    frequencies: Tensor
    power: Tensor

    @property
    def correlation(self) -> Tensor:
        """(c, c) correlations between channels; NaN where a channel is constant."""
        deviation = self.covariance.diagonal().clamp(min=0).sqrt()
        return self.covariance / torch.where(deviation > 1e-9, deviation, torch.nan).outer(deviation)

    @property
    def spectral_exponent(self) -> float:
        """Exponent a of power = f ** -a, fitted from the second frequency to 0.4; NaN without power. Field 1987."""
        # The window spreads the mean, which was subtracted, over the first frequency.
        use = (self.frequencies < 0.4) & (self.frequencies > 1.5 * self.frequencies[0]) & (self.power > 1e-20)
        if int(use.sum()) < 2:
            return float("nan")
        x, y = self.frequencies[use].log(), self.power[use].log()
        return float(-((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum())


@dataclass(frozen=True)
class PixelSums:
    """Sums over some images, from which with those over the others statistics follow; all but `count` in float64.

    total: (c,) of the pixels. image: (c, h, w). products: (c, c) of two channels. pairs: (d, 6, c), see `_pair_sums`.
    spectrum: (h, w) power of the brightness.
    """

    count: int
    total: Tensor
    image: Tensor
    products: Tensor
    pairs: Tensor
    spectrum: Tensor

    def __add__(self, other: "PixelSums") -> "PixelSums":
        """The sums over the images of both."""
        return PixelSums(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


def pixel_sums(batches: Iterable[Batch], shape: tuple[int, int, int]) -> PixelSums:
    """Sums over images of `shape` (c, h, w) in one pass.

    The spectrum is that of the brightness under a Hann window with its mean subtracted, so that borders make no edges.
    """
    c, h, w = shape
    offsets = _pixel_offsets(min(h, w))
    window = torch.outer(_hann_window(h), _hann_window(w))
    count, total, image = 0, torch.zeros(c, dtype=torch.double), torch.zeros(shape, dtype=torch.double)
    products = torch.zeros(c, c, dtype=torch.double)
    pair_sums = torch.zeros(len(offsets), 6, c, dtype=torch.double)
    spectrum = torch.zeros(h, w, dtype=torch.double)
    for batch in batches:
        pixels = batch.pixels.cpu()
        count += len(pixels)
        image += pixels.double().sum(0)
        colours = pixels.double().transpose(0, 1).flatten(1)
        total += colours.sum(1)
        products += colours @ colours.T
        for axis in (2, 3):
            pair_sums += _pair_sums(pixels.double(), axis, offsets)
        grey = pixels.double().mean(1)
        grey = (grey - (grey * window).sum((1, 2), keepdim=True) / window.sum()) * window
        spectrum += torch.fft.fft2(grey).abs().square().sum(0)
    return PixelSums(count, total, image, products, pair_sums, spectrum)


def pixel_statistics(sums: PixelSums) -> PixelStatistics:
    """The statistics of the images over which these are the sums."""
    _, h, w = sums.image.shape
    offsets, count = _pixel_offsets(min(h, w)), sums.count
    window = torch.outer(_hann_window(h), _hann_window(w))
    n = count * h * w
    mean = sums.total / n
    a, b, ab, aa, bb, pairs = sums.pairs.unbind(1)
    centred_ab = ab - mean * (a + b) + mean**2 * pairs
    centred_aa, centred_bb = aa - 2 * mean * a + mean**2 * pairs, bb - 2 * mean * b + mean**2 * pairs
    # What is left of images of one colour after the mean is subtracted.
    rounding = 1e-11 * float(aa.sum(1).max())
    frequencies, power = _radial_mean(sums.spectrum / max(count, 1) / window.square().sum())
    return PixelStatistics(
        count=count,
        mean=mean,
        covariance=sums.products / n - mean.outer(mean),
        mean_image=sums.image / count,
        distances=torch.tensor(offsets, dtype=torch.double),
        euclidean=((aa + bb - 2 * ab).sum(1).clamp(min=0) / pairs[:, 0]).sqrt(),
        cosine=_cosine(ab.sum(1), aa.sum(1), bb.sum(1), rounding),
        centred_cosine=_cosine(centred_ab.sum(1), centred_aa.sum(1), centred_bb.sum(1), rounding),
        frequencies=frequencies,
        power=power,
    )


def _pixel_offsets(side: int) -> list[int]:
    """Distances from 0 to half the image, denser where pixels are near."""
    steps = torch.logspace(0, float(torch.tensor(max(1, side // 2)).log10()), 24).round().int().tolist()
    return [0, *sorted({step for step in steps if step < side})]


def _pair_sums(pixels: Tensor, axis: int, offsets: list[int]) -> Tensor:
    """Sums over all pairs of pixels a, b at each offset along an axis: (offsets, 6, c) of a, b, ab, aa, bb and 1."""
    side = pixels.shape[axis]
    other_axes = [0, 5 - axis]
    # Every distance at once: the sums of a * b are the autocorrelation, whose transform is the power.
    power = torch.fft.rfft(pixels, n=2 * side, dim=axis).abs().square().sum(other_axes)
    autocorrelation = torch.fft.irfft(power, n=2 * side)
    sums, squares = pixels.sum(other_axes), pixels.square().sum(other_axes)
    count = torch.full((pixels.shape[1], side), pixels[:, 0].numel() / side, dtype=torch.double)
    return torch.stack(
        [
            torch.stack(
                [
                    sums[:, : side - d].sum(1),
                    sums[:, d:].sum(1),
                    autocorrelation[:, d],
                    squares[:, : side - d].sum(1),
                    squares[:, d:].sum(1),
                    count[:, : side - d].sum(1),
                ]
            )
            for d in offsets
        ]
    )


def _cosine(ab: Tensor, aa: Tensor, bb: Tensor, rounding: float) -> Tensor:
    """ab / sqrt(aa bb); NaN where the norms are within rounding of zero."""
    norm = (aa.clamp(min=0) * bb.clamp(min=0)).sqrt()
    return torch.where(norm > max(rounding, 1e-18), ab / norm, torch.nan)


def _hann_window(side: int) -> Tensor:
    return (
        torch.hann_window(side, periodic=False, dtype=torch.double)
        if side > 2
        else torch.ones(side, dtype=torch.double)
    )


def _radial_mean(power: Tensor) -> tuple[Tensor, Tensor]:
    """Frequencies and the mean over directions, in rings one frequency step wide, up to half a cycle per pixel."""
    h, w = power.shape
    radius = torch.hypot(torch.fft.fftfreq(h)[:, None].double(), torch.fft.fftfreq(w).double())
    rings = min(h, w) // 2
    ring = (radius * min(h, w)).round().long().flatten()
    counts = torch.bincount(ring, minlength=rings + 1)[1 : rings + 1]
    sums = torch.bincount(ring, weights=power.flatten(), minlength=rings + 1)[1 : rings + 1]
    return torch.arange(1, rings + 1).double() / min(h, w), sums / counts.clamp(min=1)
