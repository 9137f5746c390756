"""How tuning is shown: curves, kernels with their Gabor fits, preferred orientations, Sobel's edges, a table."""

import numpy as np
import torch
from torch import Tensor

from probe.analyses.job import Job
from probe.data.images import Images
from probe.exhibits.exhibits import Cell, Chart, Exhibit, ImageGrid, Line, Table
from probe.exhibits.wording import counted
from probe.methods.units.gabor import Gabor
from probe.methods.units.gratings import Tuning
from probe.methods.units.sobel import coloured, edges
from probe.model.layers import Layer


def curves(layer: Layer, curves: Tuning, sobel: Tuning, drawn: list[int], said: str) -> list[Exhibit]:
    """Orientation and frequency tuning of some channels, Sobel beside them. said: what was found."""

    def lines(found: Tensor, own: Tensor, x: np.ndarray) -> list[Line]:
        made = [Line(name=f"channel {c}", x=x, y=_relative(found[c])) for c in drawn]
        return [*made, Line(name="Sobel, left to right", x=x, y=_relative(own[0]), dashed=True)]

    frequency = curves.frequencies.numpy()
    return [
        Chart(
            title="Orientation tuning",
            caption=said + " Each curve at the channel's own best frequency, relative to its peak.",
            lines=lines(curves.by_orientation, sobel.by_orientation, curves.orientations.numpy()),
            x_label="orientation of the bars, degrees (0 lying, 90 upright)",
            y_label="answer, relative to its largest",
            y_range=(0, 1.05),
        ),
        Chart(
            title="Frequency tuning",
            caption=f"The best frequency of the channels of {layer.address} is {float(curves.frequencies[curves.best[0]].median()):.2f}"
            " cycles per pixel (median). Each curve at the channel's own best orientation, relative to its peak.",
            lines=lines(curves.by_frequency, sobel.by_frequency, frequency),
            x_label="spatial frequency, cycles per pixel",
            y_label="answer, relative to its largest",
            x_log=True,
            y_range=(0, 1.05),
        ),
    ]


def kernels(layer: Layer, kernels: Tensor, fits: list[Gabor], drawn: list[int]) -> ImageGrid:
    """Kernels above the Gabor functions that fit them best, and what those leave over."""
    rows: list[list[np.ndarray]] = [[], [], []]
    for c in drawn:
        kernel = kernels[c].numpy()
        reach = max(float(np.abs(kernel).max()), 1e-12)
        for row, values in zip(rows, (kernel, fits[c].fit, kernel - fits[c].fit), strict=True):
            colours = values if len(values) in (1, 3) else values.mean(0, keepdims=True)
            row.append(np.clip(0.5 + 0.5 * colours / reach, 0, 1).transpose(1, 2, 0).astype(np.float32))
    blank = [""] * len(drawn)
    return ImageGrid(
        title="Kernels and their Gabor fits",
        caption=f"The {len(drawn)} channels of {layer.address} that a Gabor function describes best, tuned ones first: it"
        f" leaves {min(fits[c].error for c in drawn):.0%} to {max(fits[c].error for c in drawn):.0%} of their energy over"
        " (last row). Grey is zero, each kernel on its own scale.",
        images=[picture for row in rows for picture in row],
        labels=[*blank, *blank, *(f"channel {c}\nerror {fits[c].error:.0%}" for c in drawn)],
        columns=len(drawn),
        row_headers=["kernel", "Gabor fit", "left over"],
    )


def compass(curves: Tuning, tuned: Tensor) -> Chart:
    """How often each orientation is preferred."""
    bins = 8
    turned = (curves.preferred[tuned] + 90 / bins) % 180
    counts = torch.histc(turned, bins, 0, 180).int().numpy()
    names = [f"{180 / bins * k:g}°" for k in range(bins)]
    most, n = int(counts.argmax()), int(tuned.sum())
    said = f"{n} tuned channels: {counts[most]} of them near {names[most]}"
    return Chart(
        title="Preferred orientations",
        caption=f"Preferred orientation of the {said if n > 1 else f'one tuned channel: near {names[most]}'}.",
        lines=[Line(name="tuned channels", x=np.arange(bins).astype(float), y=counts)],
        x_label="preferred orientation of the bars",
        y_label="channels",
        kind="bar",
        ticks=names,
    )


def sobel(images: Images, job: Job) -> ImageGrid:
    """What Sobel and Feldman made of three of the images."""
    chosen = torch.randperm(len(images), generator=job.rng)[:3].sort().values
    pixels = images.select(chosen).pixels()
    magnitude, orientation = edges(pixels)
    pictures, strongest = [], []
    for picture, m, o in zip(pixels, magnitude, orientation, strict=True):
        pictures += [
            picture.permute(1, 2, 0).numpy(),
            (m / m.amax().clamp(min=1e-12))[..., None].numpy(),
            coloured(m, o),
        ]
        strongest.append(float(m.amax()))
    return ImageGrid(
        title="Edges by Sobel's operators",
        caption=f"Gradient of brightness of {counted(len(chosen))}, up to {max(strongest):.2f} per pixel; in the third column"
        " the hue is the orientation of the edge (red lying, cyan upright).",
        images=pictures,
        columns=3,
        column_headers=["image", "gradient magnitude", "edge orientation"],
    )


def table(layer: Layer, curves: Tuning, fits: list[Gabor], luck: Tensor, tuned: Tensor) -> Table:
    """Every channel with its tuning and its fit."""
    rows: list[list[Cell]] = []
    width, octaves, best = curves.half_width, curves.octaves, curves.frequencies[curves.best[0]]
    for c, fit in enumerate(fits):
        row: list[Cell] = [
            c,
            "yes" if bool(tuned[c]) else "",
            float(curves.preferred[c]),
            float(curves.selectivity[c]),
        ]
        row += [
            _known(width[c]),
            float(best[c]),
            _known(octaves[c]),
            fit.orientation,
            fit.frequency,
            fit.error,
            float(luck[c]),
        ]
        rows.append(row)
    columns = ["channel", "tuned", "preferred", "selectivity", "half width", "frequency", "octaves"]
    columns += ["fit angle", "fit freq.", "fit error", "p"]
    degrees = dict.fromkeys(["preferred", "half width", "fit angle"], "{:.0f}°")
    return Table(
        title="Tuning of every channel",
        caption=f"{int(tuned.sum())} of {len(rows)} channels of {layer.address} are tuned. Preferred orientation of the bars, 0°"
        " lying, anticlockwise; selectivity: one minus circular variance; half width at half height; best frequency in cycles"
        " per pixel, its breadth in octaves; orientation and frequency of the Gabor fit and the energy that it leaves over;"
        " p: chance of so good a fit after shuffling the kernel.",
        columns=columns,
        rows=rows,
        formats=degrees
        | dict.fromkeys(["selectivity", "frequency", "octaves", "fit freq.", "fit error", "p"], "{:.2f}"),
    )


def _relative(curve: Tensor) -> np.ndarray:
    return (curve / curve.amax().clamp(min=1e-12)).numpy()


def _known(value: Tensor) -> float | None:
    return float(value) if bool(value.isfinite()) else None
