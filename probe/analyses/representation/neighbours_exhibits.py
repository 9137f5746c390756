"""Exhibits of `neighbours`: fractions of the same class by layer, and images with their neighbours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from probe.data.images import Images
from probe.data.thumbnails import thumbnails
from probe.exhibits.exhibits import Chart, ImageGrid, Line, facts_of
from probe.exhibits.wording import counted, sentences

PIXELS = "pixels"
_THUMBNAIL = 96


@dataclass(frozen=True)
class SameClass:
    """Mean fraction of the neighbours that are of an image's own class, with its 95% interval."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, fractions: Tensor) -> "SameClass":
        """fractions: (n,), one an image."""
        mean = float(fractions.mean())
        half = 1.96 * float(fractions.std(correction=1)) / len(fractions) ** 0.5
        return cls(mean, max(0.0, mean - half), min(1.0, mean + half))


@dataclass(frozen=True, kw_only=True)
class NeighbourFindings:
    """Fractions of the same class among the `k` neighbours in the last layer and in pixels; None without classes.

    n, examples: images, and how many of them are shown with their neighbours. cosine: the distance in features.
    """

    n: int
    k: int
    layer: str
    examples: int
    cosine: bool = False
    in_layer: float | None = None
    in_pixels: float | None = None
    chance_level: float | None = None


def same_class_caption(f: NeighbourFindings) -> str:
    several = f"Of the {f.k} nearest neighbours of an image, {f.in_layer:.1%} are of its class in {f.layer}"
    nearest = f"The nearest neighbour is of the same class for {f.in_layer:.1%} of the images in {f.layer}"
    return sentences(
        f"{several if f.k > 1 else nearest} and {f.in_pixels:.1%} in pixels; the chance level is {f.chance_level:.0%}.",
        f"Over {counted(f.n)}, with 95% intervals.",
    )


def neighbour_caption(f: NeighbourFindings) -> str:
    if f.examples == f.n:
        which = f"All {f.n:,} images"
    else:
        which = f"{f.examples:,} of {f.n:,} images, drawn at random," if f.examples > 1 else "A random image"
    neighbours = f"{f.k} nearest neighbours" if f.k > 1 else "nearest neighbour"
    own = "their" if f.examples > 1 else "its"
    return sentences(
        f"{which} with {own} {neighbours} in {f.layer} ({'cosine' if f.cosine else 'Euclidean'} distance), then in pixels.",
        f.in_layer is not None
        and f.in_pixels is not None
        and f"Over all images, {f.in_layer:.1%} and {f.in_pixels:.1%} of the neighbours are of the same class.",
    )


def same_class_chart(fractions: Mapping[str, SameClass], findings: NeighbourFindings) -> Chart:
    """Fraction of the neighbours that are of the same class, in pixels and layer by layer."""
    return Chart(
        title="Neighbours of the same class by layer",
        caption=same_class_caption(findings),
        facts=facts_of(findings),
        lines=[
            Line(
                name="nearest neighbours",
                x=np.arange(len(fractions), dtype=float),
                y=np.array([f.mean for f in fractions.values()], dtype=np.float32),
                low=np.array([f.low for f in fractions.values()], dtype=np.float32),
                high=np.array([f.high for f in fractions.values()], dtype=np.float32),
            )
        ],
        x_label="features in which neighbours are searched",
        y_label="fraction of the same class",
        kind="bar",
        ticks=list(fractions),
        y_range=(0, 1),
    )


def neighbour_grid(
    images: Images,
    classes: Sequence[str],
    examples: Tensor,
    neighbours: Mapping[str, Tensor],
    findings: NeighbourFindings,
) -> ImageGrid:
    """Images with their neighbours in the last layer and in pixels.

    examples: positions of the images. neighbours: (n, k) positions by layer, and "pixels".
    """
    layer, k = findings.layer, findings.k
    rows = torch.cat([examples[:, None], neighbours[layer][examples], neighbours[PIXELS][examples]], dim=1)
    positions = rows.flatten().tolist()
    return ImageGrid(
        title="Images with their nearest neighbours",
        caption=neighbour_caption(findings),
        facts=facts_of(findings),
        images=list(thumbnails(images.select(positions), _THUMBNAIL)),
        labels=[] if images.labels is None else [classes[int(images.labels[i])] for i in positions],
        columns=1 + 2 * k,
        column_headers=[
            "image",
            *(f"{layer} {rank}" for rank in range(1, k + 1)),
            *(f"pixels {rank}" for rank in range(1, k + 1)),
        ],
    )
