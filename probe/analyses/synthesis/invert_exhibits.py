"""Exhibits, captions, numbers and warnings of feature inversion."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from probe.exhibits.exhibits import Array, Cell, Chart, Exhibit, ImageGrid, Line, Table
from probe.exhibits.result import Number
from probe.exhibits.tiles import to_images
from probe.exhibits.wording import counted, listed, percent, sentences, snake_case

_LARGE_ERROR = 0.5


@dataclass(frozen=True)
class Findings:
    """Inversions of n images from several layers, in order of depth.

    names: of the images. kinds: whether a layer has maps or single values. steps: those that were taken.
    error: normalised feature error, psnr in dB, ssim: (layers, restarts, n). agreement: (layers, restarts, n) bool, the
    inversion is predicted as the image is. spread: (layers, n) standard deviation of a pixel over the restarts, of
    [0, 1]. diverged: (layers, restarts, n) bool.
    """

    names: list[str]
    layers: list[str]
    kinds: list[str]
    steps: int
    requested_steps: int
    restarts: int
    error: Array
    psnr: Array
    ssim: Array
    agreement: Array
    spread: Array
    diverged: Array

    def by_layer(self, values: Array) -> Array:
        """(layers,) means over restarts and images."""
        return values.reshape(len(self.layers), -1).mean(1)


def exhibits(findings: Findings, pixels: Tensor, best: list[Array]) -> list[Exhibit]:
    """The inversions of each image from each layer, the errors against depth, and a table.

    pixels: (n, c, h, w) the images. best: for each layer (n, c, h, w) the inversion with the least feature error.
    """
    originals = to_images(pixels)
    tiles = [
        tile
        for index, original in enumerate(originals)
        for tile in [original, *(np.clip(layer[index].transpose(1, 2, 0), 0, 1) for layer in best)]
    ]
    error, agreement = findings.by_layer(findings.error), findings.by_layer(findings.agreement)
    ratio, similarity = findings.by_layer(findings.psnr), findings.by_layer(findings.ssim)
    spread = 255 * findings.by_layer(findings.spread)
    depth = np.arange(len(findings.layers))
    rows: list[list[Cell]] = [
        [layer, *map(float, values)]
        for layer, *values in zip(findings.layers, error, ratio, similarity, agreement, spread, strict=True)
    ]
    columns = ["layer", "feature error", "PSNR (dB)", "SSIM", "same class", "spread over restarts (of 255)"]
    formats = ["{:.3f}", "{:.1f}", "{:.2f}", "{:.0%}", "{:.1f}"]
    return [
        ImageGrid(
            title="Images from the features of each layer",
            caption=caption(findings),
            images=tiles,
            columns=len(findings.layers) + 1,
            column_headers=["image", *findings.layers],
            row_headers=findings.names,
            facts={
                "first_psnr": float(ratio[0]),
                "last_psnr": float(ratio[-1]),
                "steps": findings.steps,
                "last_agreement": float(agreement[-1]),
            },
        ),
        Chart(
            title="PSNR against depth",
            caption=caption_of_psnr(findings),
            lines=[_line("mean of all images", depth, findings.psnr)],
            x_label="layer",
            y_label="PSNR (dB)",
            kind="points",
            ticks=findings.layers,
            facts={"falling": _falls(ratio)},
        ),
        Chart(
            title="Feature error against depth",
            caption=caption_of_error(findings),
            lines=[_line("mean of all images", depth, findings.error)],
            x_label="layer",
            y_label="normalised feature error",
            kind="points",
            ticks=findings.layers,
            facts={"largest": float(error.max()), "smallest": float(error.min())},
        ),
        Table(
            title="Inversions by layer",
            caption=caption_of_table(findings),
            columns=columns,
            rows=rows,
            formats=dict(zip(columns[1:], formats, strict=True)),
        ),
    ]


def numbers(findings: Findings) -> dict[str, Number]:
    values: dict[str, Number] = {}
    n = findings.error[0].size
    for index, layer in enumerate(findings.layers):
        key = snake_case(layer)
        values[f"feature_error_{key}"] = Number(
            value=float(findings.error[index].mean()), label=f"feature error, {layer}", n=n, format="{:.3f}"
        )
        values[f"psnr_{key}"] = Number(
            value=float(findings.psnr[index].mean()), label=f"PSNR (dB), {layer}", n=n, format="{:.1f}"
        )
    return values


def caption(findings: Findings) -> str:
    ratio, agreement = findings.by_layer(findings.psnr), findings.by_layer(findings.agreement)
    several = len(findings.layers) > 1
    return sentences(
        f"{'Images' if len(findings.names) > 1 else 'An image'}, and images optimised from noise for {counted(findings.steps, 'step')} "
        "so that their features in a layer are the same. Where an inversion looks different, the layer does not distinguish "
        "it from the image, or too weakly for the search.",
        several
        and f"The PSNR is {ratio[0]:.1f} dB for {findings.layers[0]} and {ratio[-1]:.1f} dB for {findings.layers[-1]}.",
        f"In {percent(agreement[-1])} of the cases, the network predicts the same class for the inversion from "
        f"{findings.layers[-1]} as for the image.",
        findings.restarts > 1 and "The restart with the smallest feature error is shown.",
    )


def caption_of_psnr(findings: Findings) -> str:
    falls, steps = _falls(findings.by_layer(findings.psnr)), len(findings.layers) - 1
    return sentences(
        "Peak signal-to-noise ratio between inversions and images: mean over images and restarts, with the smallest and "
        "the largest value.",
        steps > 0
        and f"It decreases from a layer to the next deeper one in {falls} of {counted(steps, 'case')}.",
    )


def caption_of_error(findings: Findings) -> str:
    error = findings.by_layer(findings.error)
    return sentences(
        "Squared difference of the features, relative to the squared features of the image: 0 for equal features, 1 for "
        "features of zero; mean over images and restarts, with the smallest and the largest value.",
        f"It is smallest for {findings.layers[int(error.argmin())]} ({error.min():.3f}) and largest for "
        f"{findings.layers[int(error.argmax())]} ({error.max():.3f}).",
    )


def caption_of_table(findings: Findings) -> str:
    return sentences(
        f"Means over {counted(len(findings.names))} and {counted(findings.restarts, 'restart')}.",
        "Same class: how often the predictions for the inversion and for the image agree.",
        findings.restarts > 1
        and "Spread: standard deviation of a pixel over the restarts, a measure of what the features do not determine.",
    )


def warnings(findings: Findings) -> list[str]:
    lines = []
    error = findings.by_layer(findings.error)
    poor = [layer for layer, value in zip(findings.layers, error, strict=True) if value > _LARGE_ERROR]
    if poor:
        lines.append(
            f"The features of {listed(poor, 3)} were not matched (error above {_LARGE_ERROR}): these images show the limits "
            "of the search, not those of the layer. More --steps may help."
        )
    if findings.steps < findings.requested_steps:
        lines.append(
            f"{findings.steps} instead of {findings.requested_steps} steps were taken, since this network is expensive."
        )
    if findings.diverged.any():
        lines.append(
            "For some images the features became NaN or infinite; the last images before that are shown."
        )
    return lines


def _line(name: str, depth: Array, values: Array) -> Line:
    flat = values.reshape(len(depth), -1)
    return Line(name=name, x=depth, y=flat.mean(1), low=flat.min(1), high=flat.max(1))


def _falls(values: Array) -> int:
    """How many values are below the one before."""
    return int((np.diff(values) < 0).sum())
