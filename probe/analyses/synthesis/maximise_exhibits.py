"""Exhibits, numbers and warnings of activation maximisation."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import Tensor

from probe.data.images import Images
from probe.exhibits.exhibits import Array, Cell, Chart, Exhibit, ImageGrid, Line, Table
from probe.exhibits.result import Number
from probe.exhibits.tiles import contact_sheet, framed_crop, to_images
from probe.exhibits.wording import listed, percent, sentences, snake_case
from probe.methods.synthesis.evaluation import N_TRANSFORMS
from probe.methods.units.top_patches import TopActivations, patch_size, receptive_box
from probe.model.layers import Layer

_CONFIDENT = 0.99
_MOST_LINES = 10
_MOST_NAMES = 5
_MOST_ON_SHEET = 24


@dataclass(frozen=True)
class Findings:
    """The values that n optimised images reach.

    names: of the classes or channels. layer: the address that was maximised, "" for the logits; activation: the
    address that was requested, where it differs. mean_image: what the images start from, "" for grey.
    values, maxima: (n,) of the images, not transformed, and the largest over the data. dead: (n,) bool, no start
    had a gradient. diverged: (n,) bool, the values became NaN or infinite. start, method: where the images start, and
    the preset or parametrisation. diverse: images of each unit. direction: whether they lie between two units.
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
    diverged: Array
    start: str = "mean"
    method: str = "fourier"
    diverse: int = 1
    direction: bool = False

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
class Agreement:
    """How many images another model predicts as their class, and how many of those without regularisers."""

    name: str
    images: int
    control: int


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
        [
            name,
            float(value),
            float(maximum),
            float(value / maximum) if maximum > 0 else None,
            "yes" if first else "no",
        ]
        for name, value, maximum, first in zip(
            findings.names, findings.values, findings.maxima, top, strict=True
        )
    ]
    return [
        ImageGrid(
            title=f"Images that maximise channels of {findings.layer_title}",
            caption=caption_of_channels(findings, int(top.sum())),
            images=to_images(pixels),
            labels=[f"{name}\n{value:.3g} ({maximum:.3g})" for name, value, maximum, *_ in rows],
            facts={"exceeding": int(findings.exceeding.sum()), "top": int(top.sum())},
        ),
        _table(
            findings,
            ["channel", "mean", "maximum of the data", "times the maximum", "largest of the layer"],
            rows,
        ),
    ]


def sheet(
    findings: Findings,
    pixels: Tensor,
    images: Images,
    ranked: TopActivations,
    layer: Layer,
    units: Tensor,
) -> Exhibit:
    """Each optimised image beside the top patches of its channel in the data."""
    optimised, tiles = to_images(pixels), []
    size = (pixels.shape[2], pixels.shape[3])
    frame = patch_size(layer, size)
    for image, unit in zip(optimised[:_MOST_ON_SHEET], units.tolist(), strict=False):
        shown = images.select(ranked.image[unit]).pixels()
        crops = [
            framed_crop(whole, receptive_box(layer, row, column, size), frame, limit=max(size))
            for whole, row, column in zip(
                shown, ranked.row[unit].tolist(), ranked.column[unit].tolist(), strict=True
            )
        ]
        tiles += [image, contact_sheet(crops, 2)]
    reached = findings.values / np.where(findings.maxima > 0, findings.maxima, np.nan)
    labels = [
        text
        for name, ratio in zip(findings.names[:_MOST_ON_SHEET], reached, strict=False)
        for text in (f"{name}\n{ratio:.1f} x" if np.isfinite(ratio) else name, "top patches")
    ]
    known = reached[np.isfinite(reached)]
    median = float(np.median(known)) if len(known) else 0.0
    return ImageGrid(
        title="Beside the top patches of the data",
        caption=caption_of_sheet(
            median, shown=len(tiles) // 2, n=len(optimised), per_channel=ranked.value.shape[1]
        ),
        images=tiles,
        labels=labels,
        columns=4,
        facts={"median_ratio": median, "patches": ranked.value.shape[1], "n": len(optimised)},
    )


def agreement(agreements: list[Agreement], n: int) -> Exhibit:
    """A table of how often other models agree, with the images without regularisers as a control."""
    return Table(
        title="Agreement of other networks",
        caption=caption_of_agreement(agreements, n),
        columns=["network", "these images", "without regularisers"],
        rows=[[each.name, each.images / n, each.control / n] for each in agreements],
        formats={"these images": "{:.0%}", "without regularisers": "{:.0%}"},
        facts={"n": n},
    )


def numbers_of_agreement(agreements: list[Agreement]) -> dict[str, Number]:
    numbers = {}
    for each in agreements:
        key = snake_case(each.name)
        numbers[f"agreement_{key}"] = Number(
            value=each.images, label=f"images that {each.name} predicts as their class", format="{:.0f}"
        )
        numbers[f"control_agreement_{key}"] = Number(
            value=each.control,
            label=f"images without regularisers that {each.name} predicts as their class",
            format="{:.0f}",
        )
    return numbers


def caption_of_sheet(median: float, *, shown: int, n: int, per_channel: int) -> str:
    return sentences(
        f"Each optimised image, and beside it the {per_channel} patches of the data that activate single units of its channel most.",
        median > 0
        and f"Below: how many times as large the channel's mean is as for any image of the data (median {median:.1f}).",
        shown < n and f"The first {shown} of {n} are shown.",
    )


def caption_of_agreement(agreements: list[Agreement], n: int) -> str:
    first = agreements[0]
    return sentences(
        f"How many of the {n} images other networks predict as their class, and of images of the same classes that were "
        "optimised on pixels without transforms: what only one network sees is no picture of the class.",
        f"{first.name} agrees on {first.images} and {first.control} of {n}.",
    )


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
        y_label="objective",
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
            f"No start had a gradient for {listed(dead, _MOST_NAMES)}, of 6 with contrasts up to 243 times the first: the "
            "image shown is the random start. The unit may be dead."
        )
    diverged = [names[i] for i in np.flatnonzero(findings.diverged)]
    if diverged:
        lines.append(
            f"The values of {listed(diverged, _MOST_NAMES)} became NaN or infinite: the images are the last before that. The "
            "learning rate was too high: a smaller --lr may help."
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
    if findings.start == "class-mean":
        start = "the mean image of the class"
    colours = ", with the colour covariance of the data" if findings.mean_image and findings.coloured else ""
    noise = "noise of ten times the usual contrast" if findings.start == "noise" else "low-contrast noise"
    if findings.method == "maco":
        return (
            f", in {findings.steps} steps from random phases, with the spatial frequencies of the data (MACO)"
        )
    setting = {"simonyan": ", as Simonyan et al. 2014", "yosinski": ", as Yosinski et al. 2015"}.get(
        findings.method, ""
    )
    return f", in {findings.steps} steps from {start} with {noise}{colours}{setting}"
