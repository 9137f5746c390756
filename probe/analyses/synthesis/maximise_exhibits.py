"""Exhibits, numbers and warnings of activation maximisation."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import Tensor

from probe.data.images import Images
from probe.exhibits.exhibits import Array, Cell, Chart, Exhibit, ImageGrid, Line, Table
from probe.exhibits.result import Number
from probe.exhibits.tiles import to_images
from probe.exhibits.wording import listed, percent, sentences
from probe.methods.synthesis.evaluation import N_TRANSFORMS

_CONFIDENT = 0.99
_MOST_LINES = 10
_MOST_NAMES = 5


@dataclass(frozen=True)
class Findings:
    """The values that n optimised images reach.

    names: of the classes or channels. layer: the address that was maximised, "" for the logits; activation: the
    address that was requested, where it differs. mean_image: what the images start from, "" for grey.
    values, maxima: (n,) of the images, not transformed, and the largest over the data. dead: (n,) bool, no start
    had a gradient.
    """

    names: list[str]
    layer: str
    activation: str
    steps: int
    mean_image: Literal["", "image", "colour"]
    coloured: bool
    values: Array
    maxima: Array
    dead: Array

    @property
    def exceeding(self) -> Array:
        """(n,) whether an image reaches at least the largest value over the data."""
        return self.values >= self.maxima

    @property
    def quantity(self) -> str:
        return "mean activation" if self.layer else "logit"

    @property
    def layer_title(self) -> str:
        if self.activation == self.layer:
            return self.layer
        return f"{self.layer} (the input of {self.activation})"


@dataclass(frozen=True)
class Confidence:
    """Confidence in the class of each image, (n,): of the image itself, and the mean over random transforms of it."""

    plain: Array
    transformed: Array


def classes(findings: Findings, confidence: Confidence, pixels: Tensor) -> list[Exhibit]:
    """The images (n, c, h, w) that maximise each class, and a table of their logits and confidence."""
    labels = [
        f"{name}\n{plain:.2f} ({transformed:.2f})"
        for name, plain, transformed in zip(
            findings.names, confidence.plain, confidence.transformed, strict=True
        )
    ]
    rows: list[list[Cell]] = [
        [name, *map(float, values)]
        for name, *values in zip(
            findings.names,
            findings.values,
            findings.maxima,
            confidence.plain,
            confidence.transformed,
            strict=True,
        )
    ]
    return [
        ImageGrid(
            title="Images that maximise each class",
            caption=caption_of_classes(findings, confidence),
            images=to_images(pixels),
            labels=labels,
            facts={
                "transforms": N_TRANSFORMS,
                "mean_confidence": float(confidence.transformed.mean()),
                "highest_stated_confidence": 0.99,
            },
        ),
        _table(findings, ["class", "logit", "maximum of the data", "confidence", "under transforms"], rows),
    ]


def channels(findings: Findings, top: Array, pixels: Tensor) -> list[Exhibit]:
    """The images (n, c, h, w) that maximise channels of a layer, and a table of their values.

    top: (n,) bool, whether the channel is the most active one of its layer in its image.
    """
    rows: list[list[Cell]] = [
        [name, float(value), float(maximum), "yes" if first else "no"]
        for name, value, maximum, first in zip(
            findings.names, findings.values, findings.maxima, top, strict=True
        )
    ]
    return [
        ImageGrid(
            title=f"Images that maximise channels of {findings.layer_title}",
            caption=caption_of_channels(findings, int(top.sum())),
            images=to_images(pixels),
            labels=[f"{name}\n{value:.3g} ({maximum:.3g})" for name, value, maximum, _ in rows],
            facts={"exceeding": int(findings.exceeding.sum()), "top": int(top.sum())},
        ),
        _table(findings, ["channel", "mean", "maximum of the data", "largest of the layer"], rows),
    ]


def data_maxima(findings: Findings, images: Images) -> Exhibit:
    """Of the data the image with the largest value for each class or channel."""
    gap = float(np.median(findings.values - findings.maxima))
    return ImageGrid(
        title="Images of the data with the largest values",
        caption=caption_of_data_maxima(findings, gap),
        images=to_images(images.pixels()),
        labels=[f"{name}\n{value:.3g}" for name, value in zip(findings.names, findings.maxima, strict=True)],
        facts={"median_gap": abs(gap)},
    )


def history(findings: Findings, values: Tensor) -> Exhibit:
    """The objective over the steps. values: (steps, n), on the CPU."""
    drawn = min(_MOST_LINES, len(findings.names))
    middle = float(values[len(values) // 2 :][:1].mean())
    end = float(values[-max(1, len(values) // 10) :].mean())
    steps = np.arange(1, len(values) + 1)
    return Chart(
        title="Objective over the steps",
        caption=caption_of_history(middle, end, drawn=drawn, n=len(findings.names)),
        lines=[Line(name=findings.names[i], x=steps, y=values[:, i].float().numpy()) for i in range(drawn)],
        x_label="step",
        y_label=f"mean of the channel in {findings.layer}" if findings.layer else "logit + log-probability",
        facts={"mean_at_middle": middle, "mean_at_end": end, "n": len(findings.names)},
    )


def numbers_of_classes(findings: Findings, confidence: Confidence) -> dict[str, Number]:
    n = len(findings.names)
    return {
        "min_confidence": Number(
            value=float(confidence.plain.min()),
            label="lowest confidence in the class",
            n=n,
            format="{:.3f}",
        ),
        "min_confidence_transformed": Number(
            value=float(confidence.transformed.min()),
            label="lowest mean confidence under random transforms",
            n=N_TRANSFORMS,
            format="{:.3f}",
        ),
        "proportion_exceeding_data": _proportion_exceeding(findings),
    }


def numbers_of_channels(findings: Findings, top: Array) -> dict[str, Number]:
    return {
        "proportion_exceeding_data": _proportion_exceeding(findings),
        "proportion_largest_of_layer": Number(
            value=float(top.mean()),
            label="images in which the channel is the most active of its layer",
            n=len(top),
            format="{:.0%}",
        ),
    }


def _proportion_exceeding(findings: Findings) -> Number:
    with_gradient = findings.exceeding[~findings.dead]
    return Number(
        value=float(with_gradient.mean()) if len(with_gradient) else 0.0,
        label="images that exceed the maximum of the data",
        n=len(with_gradient),
        format="{:.0%}",
    )


def _table(findings: Findings, columns: list[str], rows: list[list[Cell]]) -> Table:
    exceeding = int(findings.exceeding.sum())
    return Table(
        title="Values of the images",
        caption=caption_of_table(exceeding, len(rows)),
        columns=columns,
        rows=rows,
        formats={column: "{:.3g}" for column in columns[1:] if column != "largest of the layer"},
        facts={"exceeding": exceeding},
    )


def caption_of_classes(findings: Findings, confidence: Confidence) -> str:
    n = len(findings.names)
    plain, transformed = float(confidence.plain.min()), float(confidence.transformed.min())
    mean, lowest = float(confidence.transformed.mean()), findings.names[int(confidence.transformed.argmin())]
    transforms = f"{N_TRANSFORMS} random shifts, rotations and zooms"
    certain = min(plain, transformed) >= 0.995
    return sentences(
        f"{_images(n)} optimised to maximise the score of one class{' each' if n > 1 else ''}{_from(findings)}.",
        n == 1
        and f"Confidence in the class is {percent(plain)}, and {percent(transformed)} on average over "
        f"{transforms} of the image.",
        n > 1
        and certain
        and f"Confidence in the class is {percent(plain)} for every image, also on average over "
        f"{transforms} of it.",
        n > 1 and not certain and f"The lowest confidence in the class is {percent(plain)}.",
        n > 1
        and not certain
        and f"Over {transforms} of each image the mean confidence is {percent(mean)}; the "
        f"lowest, for {lowest}, is {percent(transformed)}.",
        f"Below {'each image' if n > 1 else 'the image'}: its confidence and, in brackets, that under the transforms.",
        f"{'They show' if n > 1 else 'It shows'} what suffices for a prediction, not what the class looks like to people.",
    )


def caption_of_channels(findings: Findings, top: int) -> str:
    n, exceeding = len(findings.names), int(findings.exceeding.sum())
    return sentences(
        f"{_images(n)} optimised to maximise the mean of one channel of {findings.layer_title}"
        f"{' each' if n > 1 else ''}{_from(findings)}.",
        f"Below {'each' if n > 1 else 'it'}: its value and, in brackets, the maximum of the data.",
        n == 1 and f"The image {'exceeds' if exceeding else 'does not exceed'} that maximum.",
        n == 1 and f"Its channel is {'' if top else 'not '}the most active one of the layer.",
        n > 1 and f"Images above that maximum: {exceeding} of {n}.",
        n > 1 and f"Images in which the channel is the most active one of the layer: {top} of {n}.",
    )


def caption_of_table(exceeding: int, n: int) -> str:
    return sentences(
        "Values of the optimised images without transforms, beside the largest over the data.",
        n > 1 and f"Images above every image of the data: {exceeding} of {n}.",
    )


def caption_of_data_maxima(findings: Findings, gap: float) -> str:
    """gap: median difference between the optimised images and these."""
    n = len(findings.names)
    verb = "exceed" if gap >= 0 else "fall short of"
    single = "exceeds" if gap >= 0 else "falls short of"
    return sentences(
        n == 1 and f"The image of the data with the largest {findings.quantity}.",
        n > 1
        and f"For each of the images above, the image of the data with the largest {findings.quantity}.",
        n == 1 and f"The optimised image {single} it by {abs(gap):.3g}.",
        n > 1 and f"The optimised images {verb} them by {abs(gap):.3g} (median).",
    )


def caption_of_history(middle: float, end: float, *, drawn: int, n: int) -> str:
    """middle, end: mean of the objective over the n images half-way and over the last tenth of the steps."""
    return sentences(
        "Objective on the transformed images at each step.",
        f"From the middle to the end its mean {'rises' if end > middle else 'changes'} from {middle:.3g} to {end:.3g}"
        f"{': more steps would raise it further' if end > middle else ''}.",
        drawn < n and f"The first {drawn} of {n} are drawn.",
    )


def warnings(findings: Findings) -> list[str]:
    """What must be known before an image is taken for what a class or channel responds to."""
    names, lines = findings.names, []
    dead = [names[i] for i in np.flatnonzero(findings.dead)]
    if dead:
        lines.append(
            f"No start had a gradient for {listed(dead, _MOST_NAMES)}: the image shown is the random start."
        )
    below = np.flatnonzero(~findings.exceeding & ~findings.dead)
    if len(below):
        worst = below[np.argmin((findings.values - findings.maxima)[below])]
        reached = f"a {findings.quantity} of {findings.values[worst]:.3g}, against {findings.maxima[worst]:.3g} for an image of the data"
        lines.append(
            f"The optimised image of {names[worst]} stays below the maximum of the data: {reached}. It is not what the unit "
            "responds to most."
            if len(below) == 1
            else f"The optimised images of {listed([names[i] for i in below], _MOST_NAMES)} stay below the maximum of the "
            f"data, most of all that of {names[worst]}: {reached}. They are not what the units respond to most."
        )
    return lines


def warnings_of_confidence(findings: Findings, confidence: Confidence) -> list[str]:
    low = np.flatnonzero((confidence.plain < _CONFIDENT) & findings.exceeding)
    if not len(low):
        return []
    names = listed([findings.names[i] for i in low], _MOST_NAMES)
    return [
        f"Confidence is below {_CONFIDENT:.0%} for {names}: more steps or less jitter may raise it, unless the network is "
        "never that confident."
    ]


def _images(n: int) -> str:
    return "Images" if n > 1 else "An image"


def _from(findings: Findings) -> str:
    """How the images were optimised, as the end of a sentence."""
    start = f"the mean {findings.mean_image} of the data" if findings.mean_image else "grey"
    colours = ", with the colour covariance of the data" if findings.mean_image and findings.coloured else ""
    return f", in {findings.steps} steps from {start} with low-contrast noise{colours}"
