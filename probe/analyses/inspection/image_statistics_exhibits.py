"""Exhibits of `image-statistics`: colours, mean images, correlation by distance, power spectrum."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from probe.analyses.inspection import image_statistics_captions as captions
from probe.data.images import Images
from probe.exhibits.exhibits import Chart, ImageGrid, Line, Matrix, Scale, Table, facts_of
from probe.exhibits.tiles import to_image
from probe.methods.inspection.image_statistics import PixelStatistics


def channel_names(channels: int) -> list[str]:
    """The names of the channels of an image.

    >>> channel_names(3), channel_names(1)
    (['red', 'green', 'blue'], ['grey'])
    """
    known = {1: ["grey"], 3: ["red", "green", "blue"]}
    return known.get(channels, [f"channel {c}" for c in range(channels)])


def colour_findings(statistics: PixelStatistics) -> captions.ColourFindings:
    """The mean colour and the first principal axis of the colours of single pixels."""
    mean = statistics.mean.tolist()
    variance, axes = torch.linalg.eigh(statistics.covariance)
    if len(mean) != 3 or float(variance.sum()) <= 1e-12:
        return captions.ColourFindings(mean=mean)
    fraction = variance[-1].clamp(min=0) / variance.clamp(min=0).sum().clamp(min=1e-30)
    return captions.ColourFindings(
        mean=mean,
        axis_fraction=float(fraction),
        brightness=bool((axes[:, -1] > 0).all() or (axes[:, -1] < 0).all()),
    )


def colour_table(statistics: PixelStatistics) -> Table:
    """Mean, standard deviation and covariance of the channels."""
    findings = colour_findings(statistics)
    names = channel_names(len(statistics.mean))
    rows = [
        [
            name,
            float(statistics.mean[c]),
            float(statistics.covariance[c, c].clamp(min=0).sqrt()),
            *statistics.covariance[c].tolist(),
        ]
        for c, name in enumerate(names)
    ]
    return Table(
        title="Mean and covariance of colour",
        caption=captions.colour_caption(findings),
        facts=facts_of(findings),
        columns=["channel", "mean", "standard deviation", *(f"covariance with {name}" for name in names)],
        rows=rows,
        formats=dict.fromkeys(["mean", "standard deviation"], "{:.4f}")
        | {f"covariance with {name}": "{:.5f}" for name in names},
    )


def correlation_matrix(statistics: PixelStatistics) -> Matrix:
    """Correlation between the channels of a pixel."""
    names = channel_names(len(statistics.mean))
    values = statistics.correlation.float().numpy()
    return Matrix(
        title="Correlation between channels",
        caption=captions.correlation_caption(float(values[~np.eye(len(names), dtype=bool)].min())),
        values=values,
        row_labels=names,
        column_labels=names,
        format="{:.3f}",
        scale=Scale(low=-1, high=1, kind="diverging", label="correlation"),
    )


def mean_image_findings(images: Images, means: dict[int, Tensor]) -> captions.MeanImageFindings:
    """How many classes have a mean image, and how far these differ."""
    if len(means) < 2 or images.labels is None:
        return captions.MeanImageFindings()
    present = int((images.labels.bincount() > 0).sum())
    spread = float(torch.stack(list(means.values())).std(0, correction=0).mean())
    return captions.MeanImageFindings(shown=len(means), classes=present, spread=spread)


def mean_image_grid(
    statistics: PixelStatistics, means: dict[int, Tensor], images: Images, classes: Sequence[str]
) -> ImageGrid:
    """The mean of all images and of each class. classes: names of all classes."""
    findings = mean_image_findings(images, means)
    pictures = [statistics.mean_image, *means.values()]
    return ImageGrid(
        title="Mean images",
        caption=captions.mean_image_caption(findings),
        facts=facts_of(findings),
        images=[to_image(picture) for picture in pictures],
        labels=["all", *(classes[c] for c in means)],
    )


def distance_chart(statistics: PixelStatistics) -> Chart:
    """Similarity of two pixels by the distance between them."""
    x = statistics.distances.numpy()
    correlation = statistics.centred_cosine
    lines = [Line(name="Euclidean distance of colours", x=x, y=statistics.euclidean.numpy())]
    if not bool(statistics.cosine.isnan().all()):
        lines.append(Line(name="cosine similarity", x=x, y=statistics.cosine.numpy()))
    correlated = not bool(correlation.isnan().all())
    if correlated:
        lines.append(Line(name="correlation", x=x, y=correlation.numpy(), dashed=True))
    findings = captions.DistanceFindings(
        adjacent=float(correlation[1]) if correlated else None,
        farthest=float(correlation[-1]) if correlated else None,
        largest_distance=int(x[-1]),
        half_distance=next((int(d) for d, value in zip(x, correlation, strict=True) if value < 0.5), None),
        euclidean=float(statistics.euclidean[-1]),
    )
    return Chart(
        title="Similarity of pixels by distance",
        caption=captions.distance_caption(findings),
        facts=facts_of(findings),
        lines=lines,
        x_label="distance of two pixels",
        y_label="similarity, or Euclidean distance",
    )


def spectrum_chart(statistics: PixelStatistics) -> Chart:
    """Power of the brightness by spatial frequency, with the fitted power law."""
    f, power = statistics.frequencies.numpy(), statistics.power.numpy()
    exponent, middle = statistics.spectral_exponent, len(f) // 3
    fitted = power[middle] * (f / f[middle]) ** -exponent
    return Chart(
        title="Power spectrum",
        caption=captions.spectrum_caption(exponent),
        lines=[
            Line(name="mean power", x=f, y=power),
            Line(name="power law", x=f, y=fitted, dashed=True),
        ],
        x_label="spatial frequency, cycles per pixel",
        y_label="power",
        x_log=True,
        y_log=True,
    )
