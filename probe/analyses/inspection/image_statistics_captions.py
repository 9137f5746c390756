"""Captions of `image-statistics`."""

from collections.abc import Sequence
from dataclasses import dataclass

from probe.exhibits.wording import counted, sentences, unsigned


@dataclass(frozen=True, kw_only=True)
class ColourFindings:
    """Mean of each channel, and the first principal axis of colour.

    axis_fraction: of the variance, along the first axis; None unless there are three channels that vary. brightness:
    whether all channels have the same sign on this axis.
    """

    mean: Sequence[float]
    axis_fraction: float | None = None
    brightness: bool = False


def colour_caption(f: ColourFindings) -> str:
    name = "brightness" if len(f.mean) == 1 else "colour" if len(f.mean) == 3 else "of the channels"
    change = "a change of brightness" if f.brightness else "a contrast between channels"
    return sentences(
        f"The mean {name} is {', '.join(f'{mean:.3f}' for mean in f.mean)}.",
        f.axis_fraction is not None
        and f"The first principal axis of colour, {change}, holds {f.axis_fraction:.1%} of the variance.",
    )


def correlation_caption(lowest: float) -> str:
    """lowest: the smallest correlation between two channels."""
    return f"The correlation between two channels of a pixel is at least {unsigned(f'{lowest:.2f}')}."


@dataclass(frozen=True, kw_only=True)
class MeanImageFindings:
    """shown, classes: how many classes have a mean image, and how many occur.

    spread: standard deviation between the mean images of classes, mean over pixels; None below two of them.
    """

    shown: int = 0
    classes: int = 0
    spread: float | None = None


def mean_image_caption(f: MeanImageFindings) -> str:
    if f.spread is None:
        return "The mean of all images."
    which = "each class" if f.shown == f.classes else f"{f.shown} of {f.classes} classes"
    return sentences(
        f"The mean of all images and of {which}.",
        f"The means of classes differ by {f.spread:.3f} (standard deviation, mean over pixels).",
    )


@dataclass(frozen=True, kw_only=True)
class DistanceFindings:
    """Correlation of adjacent pixels and of those `largest_distance` apart; None where all pixels are equal.

    half_distance: first distance with a correlation below one half; None where there is none. euclidean: root mean
    square distance between the colours of pixels `largest_distance` apart.
    """

    adjacent: float | None
    farthest: float | None
    largest_distance: int
    half_distance: int | None
    euclidean: float


def distance_caption(f: DistanceFindings) -> str:
    if f.adjacent is None or f.farthest is None:
        return "All pixels are equal."
    adjacent, farthest = (unsigned(f"{value:.3f}") for value in (f.adjacent, f.farthest))
    return sentences(
        f"Adjacent pixels have a correlation of {adjacent}, those {f.largest_distance} apart {farthest}.",
        "It stays above one half."
        if f.half_distance is None
        else f"It falls below one half at a distance of {counted(f.half_distance, 'pixel')}.",
        f"The Euclidean distance between colours grows to {f.euclidean:.3f}.",
        "Distances are along rows and columns.",
    )


def spectrum_caption(exponent: float) -> str:
    """exponent: a in power = f ** -a."""
    return sentences(
        f"The power of the brightness falls with frequency as a power law with exponent {unsigned(f'{exponent:.2f}')}.",
        "Photographs have an exponent of about two, white noise of zero.",
    )
