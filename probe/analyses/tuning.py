"""Which edges do the first filters answer to? Orientation and frequency tuning, measured with gratings."""

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from probe.analyses.analysis import Analysis, Job
from probe.data.images import Images
from probe.errors import UserError
from probe.exhibits.exhibits import Cell, Chart, Exhibit, Line, Pictures, Table
from probe.exhibits.result import Number, Result
from probe.methods.gabor import Gabor, better_than_shuffled, fit_gabor
from probe.methods.gratings import Tuning, tuning
from probe.methods.intervals import wilson
from probe.methods.sobel import coloured, edges, gradient
from probe.subject.layers import Layer
from probe.subject.subject import Subject

_CHANCE = 0.05
_HIGHEST = 0.45  # cycles per pixel: at 0.5 a grating's contrast depends on its phase


def first_layer(subject: Subject) -> tuple[Layer, nn.Conv2d]:
    """The first convolution; a UserError where something else comes first."""
    found = subject.layers.convolutions
    if not found or found[0].shape[1] * found[0].shape[2] < 2:
        raise UserError(f"tuning needs a convolution, and {subject.name} has none with maps")
    module = subject.network.get_submodule(found[0].address)
    if not isinstance(module, nn.Conv2d) or module.weight.shape[1] != subject.shape[0]:
        raise UserError(
            f"the first convolution of {subject.name}, {found[0].address}, does not see the image itself"
        )
    return found[0], module


class TuningCurves(Analysis):
    """Which edges do the first filters answer to?"""

    name = "tuning"
    title = "Orientation and frequency tuning of the first layer"
    source = "Hubel and Wiesel 1962; Jones and Palmer 1987; Ringach et al. 2002"
    quick = {"orientations": 8, "frequencies": 4}

    orientations: int = Field(
        18, ge=4, le=90, description="orientations of the gratings between 0 and 180 degrees"
    )
    frequencies: int = Field(8, ge=3, le=32, description="spatial frequencies of the gratings")
    shown: int = Field(6, ge=1, le=24, description="channels to draw, the best described ones")

    def run(self, subject: Subject, images: Images, job: Job) -> Result:
        layer, module = first_layer(subject)
        kernels = module.weight.detach().cpu().float()
        size = max(kernels.shape[2:])
        low = max(1 / max(subject.shape[1:]), 0.25 / size)
        steps = torch.linspace(0, 1, self.frequencies)
        frequencies = low * (_HIGHEST / low) ** steps
        shots = iter(
            job.progress(
                range(self.frequencies * self.orientations), "gratings", self.frequencies * self.orientations
            )
        )

        def respond(pixels: Tensor) -> Tensor:
            next(shots, None)
            return subject.features(pixels, layer.address)[layer.address]

        setting = {"frequencies": frequencies, "orientations": self.orientations}
        curves = tuning(respond, subject.shape, **setting, device=subject.device)
        sobel = tuning(gradient, (1, 33, 33), **setting)
        fits = [fit_gabor(kernel) for kernel in job.progress(kernels, "Gabor fits", len(kernels))]
        luck = better_than_shuffled(kernels, rng=job.rng)
        alive = curves.response.flatten(1).amax(1) > 1e-6 * curves.response.amax()
        tuned = (luck <= _CHANCE) & curves.half_width.isfinite() & alive
        count, n = int(tuned.sum()), len(tuned)
        order = torch.tensor(
            [fit.error + (0 if t else 10) for fit, t in zip(fits, tuned.tolist(), strict=True)]
        ).argsort()
        drawn = order[: self.shown].tolist()
        low_end, high_end = wilson(count, n)
        numbers = {
            "tuned channels": Number(value=count / n, low=low_end, high=high_end, n=n, format="{:.0%}")
        }
        said = (
            f"{count} of the {n} channels of {layer.address} have a clear peak (their kernel is more like a Gabor function"
            f" than 95 % of its own shuffles, and the curve falls to half); at random it would be {_CHANCE * n:.1f}."
        )
        if count:
            width = float(curves.half_width[tuned].median())
            numbers["median half width"] = Number(value=width, n=count, format="{:.0f}°")
            said += f" Their median half width at half height is {width:.0f}°, Sobel's {float(sobel.half_width[0]):.0f}°."
        numbers["median Gabor error"] = Number(
            value=float(np.median([f.error for f in fits])), n=n, format="{:.2f}"
        )
        warnings = []
        if size < 5:
            warnings.append(
                f"Kernels of {size} x {size} pixels are too small to tell a Gabor function from a few random weights."
            )
        if not bool(alive.all()):
            mute = int((~alive).sum())
            answer = "channel of {} answers" if mute == 1 else "channels of {} answer"
            warnings.append(f"{mute} {answer.format(layer.address)} to no grating at all.")
        exhibits: list[Exhibit] = [
            *self._curves(layer, curves, sobel, drawn, said),
            self._kernels(layer, kernels, fits, drawn),
            *([self._compass(curves, tuned)] if count else []),
            self._sobel(images, job),
            self._table(layer, curves, fits, luck, tuned),
        ]
        return Result(exhibits=exhibits, numbers=numbers, warnings=warnings)

    def _curves(
        self, layer: Layer, curves: Tuning, sobel: Tuning, drawn: list[int], said: str
    ) -> list[Exhibit]:
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

    def _kernels(self, layer: Layer, kernels: Tensor, fits: list[Gabor], drawn: list[int]) -> Pictures:
        rows: list[list[np.ndarray]] = [[], [], []]
        for c in drawn:
            kernel = kernels[c].numpy()
            reach = max(float(np.abs(kernel).max()), 1e-12)
            for row, values in zip(rows, (kernel, fits[c].fit, kernel - fits[c].fit), strict=True):
                colours = values if len(values) in (1, 3) else values.mean(0, keepdims=True)
                row.append(np.clip(0.5 + 0.5 * colours / reach, 0, 1).transpose(1, 2, 0).astype(np.float32))
        blank = [""] * len(drawn)
        return Pictures(
            title="Kernels and their Gabor fits",
            caption=f"The {len(drawn)} channels of {layer.address} that a Gabor function describes best, tuned ones first: it"
            f" leaves {min(fits[c].error for c in drawn):.0%} to {max(fits[c].error for c in drawn):.0%} of their energy over"
            " (last row). Grey is zero, each kernel on its own scale.",
            images=[picture for row in rows for picture in row],
            labels=[*blank, *blank, *(f"channel {c}\nerror {fits[c].error:.0%}" for c in drawn)],
            columns=len(drawn),
            row_heads=["kernel", "Gabor fit", "left over"],
        )

    def _compass(self, curves: Tuning, tuned: Tensor) -> Chart:
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

    def _sobel(self, images: Images, job: Job) -> Pictures:
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
        return Pictures(
            title="Edges by Sobel's operators",
            caption=f"Gradient of brightness of {len(chosen)} image{'s' if len(chosen) > 1 else ''}, up to {max(strongest):.2f} per pixel; in the third column"
            " the hue is the orientation of the edge (red lying, cyan upright).",
            images=pictures,
            columns=3,
            column_heads=["image", "gradient magnitude", "edge orientation"],
        )

    def _table(self, layer: Layer, curves: Tuning, fits: list[Gabor], luck: Tensor, tuned: Tensor) -> Table:
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
