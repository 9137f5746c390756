"""Exhibits and warnings of tuning curves: curves, kernels with Gabor fits, orientations, Sobel edges, a table."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from probe.exhibits.exhibits import Array, Cell, Chart, Exhibit, ImageGrid, Line, Table
from probe.exhibits.tiles import to_image
from probe.exhibits.wording import counted, listed, sentences
from probe.methods.units.gabor import Gabor
from probe.methods.units.gratings import Tuning
from probe.methods.units.sobel import edges

SIGNIFICANCE_LEVEL = 0.05
"""Largest p of a channel that counts as tuned."""

DIFFERENT = 30
"""Degrees between the preferred orientation of a channel and that of its Gabor fit, from which they are said to differ."""

_SMALL_KERNEL = 5
_BINS = 8


@dataclass(frozen=True)
class Measurements:
    """The channels of a layer: tuning, Gabor fits and their p-values (channels,), and which are tuned (channels,) bool.

    sobel: the tuning of Sobel's two operators, with the same gratings.
    """

    address: str
    tuning: Tuning
    sobel: Tuning
    fits: list[Gabor]
    p: Tensor
    tuned: Tensor

    @property
    def median_half_width(self) -> float:
        """Of the tuned channels, in degrees; nan where none is tuned."""
        return float(self.tuning.half_width[self.tuned].median())

    @property
    def differing(self) -> int:
        """Tuned channels whose preferred orientation and Gabor fit are more than `DIFFERENT` degrees apart."""
        fitted = torch.tensor([fit.orientation for fit in self.fits])
        apart = (self.tuning.preferred_orientation - fitted).abs() % 180
        return int((torch.minimum(apart, 180 - apart)[self.tuned] > DIFFERENT).sum())

    @property
    def counts(self) -> "Counts":
        n = len(self.tuned)
        return Counts(self.address, int(self.tuned.sum()), n, SIGNIFICANCE_LEVEL * n)


@dataclass(frozen=True)
class Counts:
    """How many of the n channels are tuned, and how many are expected by chance."""

    address: str
    tuned: int
    n: int
    expected: float


def orientation_chart(measured: Measurements, shown: list[int]) -> Exhibit:
    """Orientation curves of the channels `shown`, with that of Sobel's operator."""
    tuning, sobel, counts = measured.tuning, measured.sobel, measured.counts
    sobel_width = float(sobel.half_width[0])
    facts: dict[str, float] = {"tuned": counts.tuned, "channels": counts.n, "expected": counts.expected}
    return Chart(
        title="Orientation tuning",
        caption=caption_of_orientation(counts, measured.median_half_width, sobel_width),
        lines=_lines(shown, tuning.orientation_curves, sobel.orientation_curves, tuning.orientations.numpy()),
        x_label="orientation of the bars, degrees (0 horizontal, 90 vertical)",
        y_label="response, relative to the maximum",
        y_range=(0, 1.05),
        facts=facts | {"sobel_half_width": sobel_width, "better_than": 1 - SIGNIFICANCE_LEVEL},
    )


def frequency_chart(measured: Measurements, shown: list[int]) -> Exhibit:
    """Frequency curves of the channels `shown`, with that of Sobel's operator."""
    tuning, sobel = measured.tuning, measured.sobel
    preferred, highest = tuning.preferred_frequency, float(tuning.frequencies[-1])
    median, at_limit = float(preferred.median()), int((preferred == highest).sum())
    return Chart(
        title="Frequency tuning",
        caption=caption_of_frequency(measured.counts, median, at_limit, highest),
        lines=_lines(shown, tuning.frequency_curves, sobel.frequency_curves, tuning.frequencies.numpy()),
        x_label="spatial frequency, cycles per pixel",
        y_label="response, relative to the maximum",
        x_log=True,
        y_range=(0, 1.05),
        facts={
            "median_preferred_frequency": median,
            "at_limit": at_limit,
            "highest_frequency": highest,
            "channels": len(preferred),
        },
    )


def kernels(measured: Measurements, weights: Tensor, shown: list[int]) -> Exhibit:
    """Kernels above their Gabor fits and the residuals. weights: (channels, c, h, w)."""
    fits = measured.fits
    rows: list[list[Array]] = [[], [], []]
    for channel in shown:
        kernel, fit = weights[channel].numpy(), fits[channel].fit
        limit = max(float(np.abs(kernel).max()), 1e-12)
        for row, values in zip(rows, (kernel, fit, kernel - fit), strict=True):
            colours = values if len(values) in (1, 3) else values.mean(0, keepdims=True)
            row.append(np.clip(0.5 + 0.5 * colours / limit, 0, 1).transpose(1, 2, 0).astype(np.float32))
    blank = [""] * len(shown)
    errors = [fits[channel].error for channel in shown]
    return ImageGrid(
        title="Kernels and their Gabor fits",
        caption=caption_of_kernels(measured.counts, errors),
        images=[image for row in rows for image in row],
        labels=[
            *blank,
            *blank,
            *(f"channel {channel}\nerror {error:.0%}" for channel, error in zip(shown, errors, strict=True)),
        ],
        columns=len(shown),
        row_headers=["kernel", "Gabor fit", "residual"],
        facts={"tuned": measured.counts.tuned, "channels": measured.counts.n},
    )


def preferred_orientations(measured: Measurements) -> Exhibit:
    """How many tuned channels prefer each orientation."""
    binned = (measured.tuning.preferred_orientation[measured.tuned] + 90 / _BINS) % 180
    counts = torch.histc(binned, _BINS, 0, 180).int().numpy()
    names = [f"{180 / _BINS * k:g}°" for k in range(_BINS)]
    most_frequent = [name for name, count in zip(names, counts, strict=True) if count == counts.max()]
    n = measured.counts.tuned
    return Chart(
        title="Preferred orientations",
        caption=caption_of_orientations(most_frequent, int(counts.max()), n),
        lines=[Line(name="tuned channels", x=np.arange(_BINS).astype(float), y=counts)],
        x_label="preferred orientation of the bars",
        y_label="channels",
        kind="bar",
        ticks=names,
        facts={"tuned": n},
    )


def sobel_edges(pixels: Tensor) -> Exhibit:
    """Images (n, c, h, w), their gradient magnitude and the orientation of their edges."""
    images: list[Array] = []
    largest = 0.0
    for image, magnitude, orientation in zip(pixels, *edges(pixels), strict=True):
        relative = (magnitude / magnitude.amax().clamp(min=1e-12))[..., None].numpy()
        images += [to_image(image), relative, orientation_image(magnitude, orientation)]
        largest = max(largest, float(magnitude.amax()))
    return ImageGrid(
        title="Edges by Sobel's operators",
        caption=f"Magnitude of the brightness gradient of {counted(len(pixels))}, at most {largest:.2f} per pixel; in the "
        "third column the hue is the orientation of the edge (red horizontal, cyan vertical).",
        images=images,
        columns=3,
        column_headers=["image", "gradient magnitude", "edge orientation"],
        facts={"largest_gradient": largest, "images": len(pixels)},
    )


def table(measured: Measurements) -> Exhibit:
    """The tuning and the Gabor fit of every channel."""
    tuning = measured.tuning
    peaks, single = tuning.peaks.tolist(), tuning.single_peak.tolist()
    rows: list[list[Cell]] = [
        [
            channel,
            "yes" if bool(measured.tuned[channel]) else "",
            float(tuning.preferred_orientation[channel]) if single[channel] else None,
            peaks[channel],
            float(tuning.selectivity[channel]),
            _finite(tuning.half_width[channel]),
            float(tuning.preferred_frequency[channel]),
            _finite(tuning.bandwidth[channel]),
            fit.orientation,
            fit.frequency,
            fit.error,
            float(measured.p[channel]),
        ]
        for channel, fit in enumerate(measured.fits)
    ]
    columns = [
        "channel",
        "tuned",
        "orientation",
        "peaks",
        "selectivity",
        "half width",
        "frequency",
        "bandwidth",
    ]
    columns += ["Gabor angle", "Gabor freq.", "Gabor error", "p"]
    degrees = dict.fromkeys(["orientation", "half width", "Gabor angle"], "{:.0f}°")
    decimals = ["selectivity", "frequency", "bandwidth", "Gabor freq.", "Gabor error", "p"]
    counts = measured.counts
    differing = measured.differing
    return Table(
        title="Tuning of all channels",
        caption=caption_of_table(counts, differing),
        columns=columns,
        rows=rows,
        formats=degrees | dict.fromkeys(decimals, "{:.2f}"),
        facts={"tuned": counts.tuned, "channels": counts.n, "differing": differing, "degrees": DIFFERENT},
    )


def orientation_image(magnitude: Tensor, orientation: Tensor) -> Array:
    """Orientation as hue and magnitude as brightness: (h, w) each -> (h, w, 3) in [0, 1]."""
    hue = orientation[..., None] / 180 * 6
    pure = ((hue + torch.tensor([0.0, 4.0, 2.0])).remainder(6) - 3).abs().sub(1).clamp(0, 1)
    return (pure * (magnitude / magnitude.amax().clamp(min=1e-12))[..., None]).numpy()


def caption_of_orientation(counts: Counts, half_width: float, sobel_half_width: float) -> str:
    """half_width: median of the tuned channels, in degrees."""
    return sentences(
        f"Tuned channels of {counts.address}: {counts.tuned} of {counts.n}; {counts.expected:.1f} are expected by chance.",
        f"In a tuned channel a Gabor function describes the kernel better than {1 - SIGNIFICANCE_LEVEL:.0%} of its "
        "permutations, and the orientation curve has a single peak and falls to half of its maximum.",
        counts.tuned > 0
        and f"The median half width at half height is {half_width:.0f}°, that of Sobel's operator {sobel_half_width:.0f}°.",
        "Each curve is at the preferred frequency of its channel.",
    )


def caption_of_frequency(counts: Counts, median: float, at_limit: int, highest: float) -> str:
    """median: preferred frequency in cycles per pixel. at_limit: channels that prefer the highest frequency tested."""
    return sentences(
        f"The median preferred frequency of the channels of {counts.address} is {median:.2f} cycles per pixel.",
        at_limit > 0
        and f"{at_limit} of {counts.n} prefer the highest that was tested, {highest:.2f}: their maximum may lie beyond it.",
        "Each curve is at the preferred orientation of its channel.",
    )


def caption_of_kernels(counts: Counts, errors: list[float]) -> str:
    """errors: proportion of the energy of each kernel shown that its fit does not explain."""
    low, high = f"{min(errors):.0%}", f"{max(errors):.0%}"
    n, among = len(errors), counts.tuned or counts.n
    tuned = "tuned " if counts.tuned else ""
    chosen = f"the {n}" if n > 1 else "the one"
    return sentences(
        not counts.tuned and f"No channel of {counts.address} is tuned.",
        n == among == 1 and f"The only {tuned}channel of {counts.address}.",
        1 < n == among and f"All {n} {tuned}channels of {counts.address}.",
        n < among
        and f"Of the {among} {tuned}channels of {counts.address}, {chosen} with the smallest error of the Gabor fit.",
        f"The fit leaves {low if low == high else f'{low} to {high}'} of the energy unexplained (last row).",
        f"Grey is zero{', each kernel scaled separately' if n > 1 else ''}.",
    )


def caption_of_orientations(most_frequent: list[str], count: int, n: int) -> str:
    """count: of the n tuned channels prefer each of the most frequent orientations."""
    channels = f"{count} of {counted(n, 'tuned channel')}"
    return sentences(
        n == 1 and f"The only tuned channel prefers an orientation near {most_frequent[0]}.",
        n > 1 == len(most_frequent)
        and f"The most frequent preferred orientation is near {most_frequent[0]}: {channels}.",
        n > 1 < len(most_frequent)
        and f"The most frequent preferred orientations are near {listed(most_frequent)}: {channels} each.",
    )


def caption_of_table(counts: Counts, differing: int) -> str:
    """differing: tuned channels whose Gabor fit has another orientation than their responses."""
    return sentences(
        f"Tuned channels of {counts.address}: {counts.tuned} of {counts.n}.",
        differing > 0
        and f"In {differing} of them the preferred orientation and that of the Gabor fit differ by more than {DIFFERENT}°.",
        "Orientation: preferred by the channel, of the bars, anticlockwise from horizontal; empty where the orientation "
        "curve has several peaks or does not fall to half of its maximum. Peaks: ranges of orientations with more than half, "
        "or three quarters, of the maximum. Selectivity: one minus the circular variance. Half width: at half height of the orientation curve. Frequency: preferred, in cycles "
        "per pixel. Bandwidth: full width at half height of the frequency curve, in octaves. Gabor: orientation, frequency "
        "and unexplained energy of the fit. p: of the permutation test of the fit.",
    )


def warnings(address: str, side: int, unresponsive: int) -> list[str]:
    """side: of the kernels in pixels. unresponsive: number of channels that respond to no grating."""
    lines = []
    if side < _SMALL_KERNEL:
        lines.append(
            f"Kernels of {side} x {side} pixels are too small to tell a Gabor function from random weights."
        )
    if unresponsive:
        lines.append(f"Channels of {address} that respond to no grating: {unresponsive}.")
    return lines


def _lines(shown: list[int], curves: Tensor, sobel: Tensor, x: Array) -> list[Line]:
    """A line for each channel, relative to its maximum, and one for Sobel's horizontal derivative."""
    lines = [Line(name=f"channel {channel}", x=x, y=_relative(curves[channel])) for channel in shown]
    return [*lines, Line(name="Sobel, left to right", x=x, y=_relative(sobel[0]), dashed=True)]


def _relative(curve: Tensor) -> Array:
    return (curve / curve.amax().clamp(min=1e-12)).numpy()


def _finite(value: Tensor) -> float | None:
    return float(value) if bool(value.isfinite()) else None
