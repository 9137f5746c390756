"""Captions and warnings of activation maximisation."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from probe.exhibits.exhibits import Array
from probe.exhibits.wording import listed, percent, sentences
from probe.methods.synthesis.evaluation import N_TRANSFORMS

_CONFIDENT = 0.99
_MOST_NAMES = 5


@dataclass(frozen=True)
class Findings:
    """The values that n optimised images reach.

    names: of the classes or channels. layer: the address that was maximised, "" for the logits; activation: the
    address that was requested, where it differs. mean_image: what the images start from, "" for grey.
    values, maxima: (n,) of the images, not transformed, and the largest over the data. dead: (n,) bool, no start
    had a gradient. diverged: (n,) bool, the values became NaN or infinite. start, method: where the images start, and
    the preset or parametrisation. diverse: images of each unit.
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


def caption_of_sheet(median: float, *, shown: int, n: int, per_channel: int) -> str:
    return sentences(
        f"Each optimised image, next to the {per_channel} patches of the data with the highest activation of its channel.",
        median > 0
        and f"Below each image: the mean activation of the channel as a multiple of its maximum over the data (median {median:.1f}).",
        shown < n and f"The first {shown} of {n} are shown.",
    )


def caption_of_agreement(agreements: list[Agreement], n: int) -> str:
    first = agreements[0]
    return sentences(
        f"How many of the {n} images other networks assign to the same class, and how many of a control: images of the same "
        "classes that were optimised in pixels, without transforms or regularisation.",
        f"{first.name} agrees on {first.images} of {n} images, and on {first.control} of the control.",
        "An image that only one network recognises does not show what the class looks like.",
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
        and f"The confidence in the class is {percent(plain)}, and {percent(transformed)} on average over "
        f"{transforms} of the image.",
        n > 1
        and certain
        and f"The confidence in the class is {percent(plain)} for every image, and also on average over "
        f"{transforms} of it.",
        n > 1 and not certain and f"The lowest confidence in the class is {percent(plain)}.",
        n > 1
        and not certain
        and f"The mean confidence over {transforms} of each image is {percent(mean)}; it is lowest for "
        f"{lowest} ({percent(transformed)}).",
        f"Below {'each image' if n > 1 else 'the image'}: its confidence and, in brackets, the mean confidence under the "
        "transforms.",
        f"{'The images show' if n > 1 else 'The image shows'} what is sufficient for a prediction, not what the class looks like to a "
        "person.",
    )


def caption_of_channels(findings: Findings, top: int) -> str:
    n, exceeding = len(findings.names), int(findings.exceeding.sum())
    return sentences(
        f"{_images(n)} optimised to maximise the mean of one channel of {findings.layer_title}"
        f"{' each' if n > 1 else ''}{_from(findings)}.",
        f"Below {'each image' if n > 1 else 'the image'}: the mean activation and, in brackets, its maximum over the data.",
        n == 1 and f"The image {'exceeds' if exceeding else 'does not exceed'} this maximum.",
        n == 1 and f"The channel is {'' if top else 'not '}the most active one of the layer.",
        n > 1 and f"{exceeding} of {n} images exceed this maximum.",
        n > 1 and f"In {top} of {n} images, the channel is the most active one of its layer.",
    )


def caption_of_directions(findings: Findings, ends: tuple[str, str]) -> str:
    a, b = ends
    n, exceeding = len(findings.names), int(findings.exceeding.sum())
    if findings.layer:
        what, below = f"means of two channels of {findings.layer_title}", f"mean activations of {a} and {b}"
    else:
        what, below = "scores of two classes", f"confidence in {a} and in {b}"
    return sentences(
        f"Images optimised to maximise weighted sums of the {what}{_from(findings)}.",
        f"Below each image: the {below}.",
        f"{exceeding} of {n} images exceed the maximum of their weighted sum over the data.",
    )


def caption_of_table(exceeding: int, n: int) -> str:
    return sentences(
        "Values of the optimised images without transforms, and the maxima over the data.",
        n > 1 and f"{exceeding} of {n} optimised images exceed every image of the data.",
    )


def caption_of_data_maxima(findings: Findings, gap: float) -> str:
    """gap: median difference between the optimised images and these."""
    n, units = len(findings.names), len(findings.names) // findings.diverse
    verb = "exceed" if gap >= 0 else "fall short of"
    single = "exceeds" if gap >= 0 else "falls short of"
    whose = "each of the images above" if findings.diverse == 1 else "the images of each unit above"
    return sentences(
        units == 1 and f"The image of the data with the largest {findings.quantity}.",
        units > 1 and f"For {whose}, the image of the data with the largest {findings.quantity}.",
        n == 1 and f"The optimised image {single} this value by {abs(gap):.3g}.",
        n > 1
        and f"The optimised images {verb} {'these values' if units > 1 else 'this value'} by {abs(gap):.3g} (median).",
    )


def caption_of_history(middle: float, end: float, *, rising: bool, drawn: int, n: int) -> str:
    """middle, end: mean of the objective over the n images half-way and over the last tenth of the steps.

    rising: whether the difference is more than the noise of the transforms.
    """
    return sentences(
        "The objective, which weights the score and subtracts penalties, for the transformed images at each step.",
        rising
        and f"Over the second half of the steps, its mean rises from {middle:.3g} to {end:.3g}; more steps would raise it further.",
        not rising
        and f"Over the second half of the steps, its mean no longer rises ({middle:.3g} half-way, {end:.3g} at the end).",
        drawn < n and f"The first {drawn} of {n} are plotted.",
    )


def warnings(findings: Findings) -> list[str]:
    """What must be known before an image is taken for what a class or channel responds to."""
    names, lines = findings.names, []
    dead = [names[i] for i in np.flatnonzero(findings.dead)]
    if dead:
        lines.append(
            f"The gradient for {listed(dead, _MOST_NAMES)} was zero at all 6 starting images, whose contrast was raised up to "
            "243 times; the image shown is the last of them. The unit may be dead."
        )
    diverged = [names[i] for i in np.flatnonzero(findings.diverged)]
    if diverged:
        lines.append(
            f"The values of {listed(diverged, _MOST_NAMES)} became NaN or infinite; the last images before that are shown. The "
            "learning rate was too high; a smaller --lr may help."
        )
    below = np.flatnonzero(~findings.exceeding & ~findings.dead)
    if len(below):
        worst = below[np.argmin((findings.values - findings.maxima)[below])]
        reached = f"a {findings.quantity} of {findings.values[worst]:.3g}, against {findings.maxima[worst]:.3g} for an image of the data"
        lines.append(
            f"The optimised image of {names[worst]} stays below the maximum of the data: {reached}. It is not what the unit "
            "responds to most strongly."
            if len(below) == 1
            else f"The optimised images of {listed([names[i] for i in below], _MOST_NAMES)} stay below the maximum of the "
            f"data. The largest gap is that of {names[worst]}: {reached}. They are not what the units respond to most strongly."
        )
    return lines


def warnings_of_confidence(findings: Findings, confidence: Confidence) -> list[str]:
    low = np.flatnonzero((confidence.plain < _CONFIDENT) & findings.exceeding)
    if not len(low):
        return []
    names = listed([findings.names[i] for i in low], _MOST_NAMES)
    return [
        f"The confidence is below {_CONFIDENT:.0%} for {names}. More steps or less jitter may raise it, unless the network is "
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
    noise = "noise of ten times the default contrast" if findings.start == "noise" else "low-contrast noise"
    if findings.method == "maco":
        return (
            f", in {findings.steps} steps from random phases, with the amplitude spectrum of the data (MACO)"
        )
    setting = {"simonyan": ", as in Simonyan et al. 2014", "yosinski": ", as in Yosinski et al. 2015"}.get(
        findings.method, ""
    )
    return f", in {findings.steps} steps from {start} with {noise}{colours}{setting}"
