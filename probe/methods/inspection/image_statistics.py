"""What do the pixels of a set of images have in common? Colours, neighbours, spectrum, in one pass."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from probe.data.images import Batch


@dataclass(frozen=True)
class PixelStatistics:
    """Sums over a set of images, as figures. All float64 on the CPU.

    mean: (c,). covariance: (c, c), of the colours of single pixels. mean_image: (c, h, w).
    distances: (d,) in pixels, from 0. euclidean: (d,) root mean square of the Euclidean distance of the colours of two
    pixels that far apart, along rows and columns. cosine: (d,) cosine of the pixels as vectors over all images;
    centred: (d,) the same after the mean colour is taken away, which is their correlation.
    frequencies: (f,) cycles per pixel. power: (f,) of the brightness, mean over the images and over directions.
    """

    count: int
    mean: Tensor
    covariance: Tensor
    mean_image: Tensor
    distances: Tensor
    euclidean: Tensor
    cosine: Tensor
    centred: Tensor
    frequencies: Tensor
    power: Tensor

    @property
    def correlation(self) -> Tensor:
        """(c, c) of the channels; nan where a channel never changes."""
        deviation = self.covariance.diagonal().clamp(min=0).sqrt()
        return self.covariance / torch.where(deviation > 1e-9, deviation, torch.nan).outer(deviation)

    @property
    def slope(self) -> float:
        """Exponent a of power = f ** -a, fitted from the second frequency to 0.4; nan without power. Field 1987."""
        # The window spreads the mean, which was taken away, over the first frequency.
        use = (self.frequencies < 0.4) & (self.frequencies > 1.5 * self.frequencies[0]) & (self.power > 1e-20)
        if int(use.sum()) < 2:
            return float("nan")
        x, y = self.frequencies[use].log(), self.power[use].log()
        return float(-((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum())


def pixel_statistics(batches: Iterable[Batch], shape: tuple[int, int, int]) -> PixelStatistics:
    """Sum up a set of images of `shape` (c, h, w) in one pass; nothing but sums is kept.

    The spectrum is that of brightness under a Hann window, its mean taken away, so that borders make no edges.
    """
    c, h, w = shape
    apart = _apart(min(h, w))
    window = torch.outer(_hann(h), _hann(w))
    count, total, image = 0, torch.zeros(c, dtype=torch.double), torch.zeros(shape, dtype=torch.double)
    products = torch.zeros(c, c, dtype=torch.double)
    pairs = torch.zeros(len(apart), 6, c, dtype=torch.double)
    spectrum = torch.zeros(h, w, dtype=torch.double)
    for batch in batches:
        pixels = batch.pixels.cpu()
        count += len(pixels)
        image += pixels.double().sum(0)
        colours = pixels.double().transpose(0, 1).flatten(1)
        total += colours.sum(1)
        products += colours @ colours.T
        for axis in (2, 3):
            pairs += _pairs(pixels.double(), axis, apart)
        grey = pixels.double().mean(1)
        grey = (grey - (grey * window).sum((1, 2), keepdim=True) / window.sum()) * window
        spectrum += torch.fft.fft2(grey).abs().square().sum(0)
    n = count * h * w
    mean = total / n
    first, second, ab, aa, bb, values = pairs.unbind(1)
    cross = ab - mean * (first + second) + mean**2 * values
    left, right = aa - 2 * mean * first + mean**2 * values, bb - 2 * mean * second + mean**2 * values
    rounding = 1e-11 * float(
        aa.sum(1).max()
    )  # what is left of images of one colour once the mean is taken away
    frequencies, power = _radial(spectrum / max(count, 1) / window.square().sum())
    return PixelStatistics(
        count=count,
        mean=mean,
        covariance=products / n - mean.outer(mean),
        mean_image=image / count,
        distances=torch.tensor(apart, dtype=torch.double),
        euclidean=((aa + bb - 2 * ab).sum(1).clamp(min=0) / values[:, 0]).sqrt(),
        cosine=_ratio(ab.sum(1), aa.sum(1), bb.sum(1), rounding),
        centred=_ratio(cross.sum(1), left.sum(1), right.sum(1), rounding),
        frequencies=frequencies,
        power=power,
    )


def _apart(side: int) -> list[int]:
    """Distances from 0 to half the image, denser where pixels are near."""
    steps = torch.logspace(0, float(torch.tensor(max(1, side // 2)).log10()), 24).round().int().tolist()
    return [0, *sorted({step for step in steps if step < side})]


def _pairs(pixels: Tensor, axis: int, apart: list[int]) -> Tensor:
    """Sums over all pairs of pixels a, b so far apart along an axis: (distances, 6, c) of a, b, ab, aa, bb and 1."""
    side = pixels.shape[axis]
    rest = [0, 5 - axis]
    # Every distance at once: the sums of a * b are the autocorrelation, whose transform is the power.
    power = torch.fft.rfft(pixels, n=2 * side, dim=axis).abs().square().sum(rest)
    ab = torch.fft.irfft(power, n=2 * side)
    ones, squares = pixels.sum(rest), pixels.square().sum(rest)
    count = torch.full((pixels.shape[1], side), pixels[:, 0].numel() / side, dtype=torch.double)
    first, last = (
        ([values[:, : side - d].sum(1) for values in (ones, squares, count)] for d in apart),
        ([values[:, d:].sum(1) for values in (ones, squares)] for d in apart),
    )
    return torch.stack(
        [
            torch.stack([a, b, ab[:, d], aa, bb, n])
            for d, (a, aa, n), (b, bb) in zip(apart, first, last, strict=True)
        ]
    )


def _ratio(cross: Tensor, left: Tensor, right: Tensor, rounding: float) -> Tensor:
    scale = (left.clamp(min=0) * right.clamp(min=0)).sqrt()
    return torch.where(scale > max(rounding, 1e-18), cross / scale, torch.nan)


def _hann(side: int) -> Tensor:
    return (
        torch.hann_window(side, periodic=False, dtype=torch.double)
        if side > 2
        else torch.ones(side, dtype=torch.double)
    )


def _radial(power: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over the directions, in rings one frequency step wide, up to half a cycle per pixel."""
    h, w = power.shape
    radius = torch.hypot(torch.fft.fftfreq(h)[:, None].double(), torch.fft.fftfreq(w).double())
    rings = min(h, w) // 2
    ring = (radius * min(h, w)).round().long().flatten()
    counts = torch.bincount(ring, minlength=rings + 1)[1 : rings + 1]
    sums = torch.bincount(ring, weights=power.flatten(), minlength=rings + 1)[1 : rings + 1]
    return torch.arange(1, rings + 1).double() / min(h, w), sums / counts.clamp(min=1)
