"""Exhibits of layer conductance: channels as maps over the images, and how concentrated each layer is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from probe.analyses.attribution.selection import Selection
from probe.exhibits.colour import overlay
from probe.exhibits.exhibits import Array, Chart, ImageGrid, Line, Scale, Table
from probe.exhibits.heatmaps import in_full_colours, unit_scale
from probe.exhibits.wording import counted, percent, sentences
from probe.model.layers import Layer
from probe.model.model import Model


@dataclass(frozen=True, kw_only=True)
class LayerFindings:
    """Conductance of one layer.

    channels: of the layer. error: median over the images of |sum - difference of scores| / |difference|. total: median
    of the sum as a fraction of the difference. half: mean fraction of the channels whose magnitudes make up half of all.
    negative: mean fraction of the magnitudes that is negative. curve: (channels,) mean cumulative fraction of the
    magnitudes, the largest first. on_every_path: whether all paths to the score lead through the layer, so that the sum
    should be the difference.
    """

    address: str
    kind: str
    channels: int
    error: float
    total: float
    half: float
    negative: float
    curve: Array
    on_every_path: bool

    @classmethod
    def of(cls, layer: Layer, conductances: Sequence[Array], difference: Tensor) -> "LayerFindings":
        """conductances: of each image, in the shape of the layer. difference: (n,) of scores."""
        by_channel = np.stack([channel_sums(values) for values in conductances])
        sums, wanted = by_channel.sum(1), difference.numpy()
        ratio = sums / np.where(wanted == 0, np.inf, wanted)
        magnitudes = -np.sort(-np.abs(by_channel), axis=1)
        whole = magnitudes.sum(1, keepdims=True)
        curve = (magnitudes / np.where(whole > 0, whole, 1)).cumsum(1)
        negative = np.abs(by_channel.clip(max=0)).sum(1) / np.where(whole[:, 0] > 0, whole[:, 0], 1)
        return cls(
            address=layer.address,
            kind=layer.kind,
            channels=by_channel.shape[1],
            error=float(np.median(np.abs(ratio - 1))),
            total=float(np.median(ratio)),
            half=float(((curve < 0.5).sum(1) + 1).clip(max=by_channel.shape[1]).mean() / by_channel.shape[1]),
            negative=float(negative.mean()),
            curve=curve.mean(0),
            on_every_path=layer.on_every_path,
        )


def channel_sums(values: Array) -> Array:
    """The conductance of each channel of a layer (channels, ...) of one image, (channels,)."""
    return values.astype(np.float64).reshape(len(values), -1).sum(1)


def channel_caption(layer: str, channels: int, shown: int, fraction: float, largest: float) -> str:
    """fraction, largest: of the magnitudes of all channels, for the channels shown and the first of them (means)."""
    return sentences(
        f"{counted(shown, 'channel')} of {channels:,} of {layer} carry {percent(fraction)} of the conductance of an image "
        f"on average, the largest one {percent(largest)}.",
        "Below each map are the channel and its share of all magnitudes.",
        "Red areas raise the score, blue areas lower it; each map is scaled separately and drawn over the image in grey.",
    )


def channel_grid(
    model: Model, selection: Selection, layer: str, conductances: Sequence[Array], count: int
) -> ImageGrid:
    """A row for each image: the image, and the conductance of its largest channels in their places."""
    scale = unit_scale("signed", "conductance")
    images, labels, fractions = [], [], []
    count = min(count, conductances[0].shape[0])
    for image, values in zip(selection.images, conductances, strict=True):
        sums = channel_sums(values)
        whole = max(float(np.abs(sums).sum()), 1e-30)
        largest = np.argsort(-np.abs(sums), kind="stable")[:count]
        maps, _ = in_full_colours(values[largest].astype(np.float32))
        images += [image, *(_over(image, heat, scale) for heat in maps)]
        labels += ["", *(f"channel {c}: {sums[c] / whole:+.0%}" for c in largest.tolist())]
        fractions.append(np.abs(sums[largest]) / whole)
    means = np.stack(fractions).mean(0)
    fraction, top = float(means.sum()), float(means[0])
    return ImageGrid(
        title=f"Channels of {layer} through which {selection.description} passes",
        caption=channel_caption(layer, len(conductances[0]), count, fraction, top),
        images=images,
        labels=labels,
        columns=1 + count,
        column_headers=["image", "largest", *(f"number {k}" for k in range(2, count + 1))],
        row_headers=selection.headers(model),
        scale=scale,
        facts={"channels": len(conductances[0]), "shown": count, "fraction": fraction, "largest": top},
    )


def _over(image: Array, heat: Array, scale: Scale) -> Array:
    """A map at the size of the image, each of its values a square, laid over the image in pale grey."""
    rows = np.arange(image.shape[0]) * heat.shape[0] // image.shape[0]
    columns = np.arange(image.shape[1]) * heat.shape[1] // image.shape[1]
    return overlay(0.3 + 0.6 * image, heat[rows][:, columns], scale, alpha=0.8)


def layer_caption(findings: Sequence[LayerFindings], target: str) -> str:
    smallest = min(findings, key=lambda f: f.half)
    largest = max(findings, key=lambda f: f.half)
    return sentences(
        f"Half of the conductance of {target} passes through {percent(smallest.half)} of the {smallest.channels:,} channels of "
        f"{smallest.address}"
        + (
            f" and through {percent(largest.half)} of the {largest.channels:,} of {largest.address}."
            if largest is not smallest
            else "."
        ),
        "Magnitudes of channels, the largest first; means over the images.",
    )


def layer_chart(findings: Sequence[LayerFindings], target: str) -> Chart:
    """How many channels carry how much of the conductance, a line for each layer."""
    return Chart(
        title="Concentration of the conductance",
        caption=layer_caption(findings, target),
        lines=[
            Line(
                name=f.address,
                x=np.arange(f.channels + 1, dtype=np.float32) / f.channels,
                y=np.concatenate([[0], f.curve]).astype(np.float32),
            )
            for f in findings
        ],
        x_label="fraction of the channels",
        y_label="fraction of the conductance",
        y_range=(0, 1),
        facts={"half": min(f.half for f in findings), "most_half": max(f.half for f in findings)},
    )


def table_caption(findings: Sequence[LayerFindings], steps: int, baseline: float) -> str:
    checked = [f for f in findings if f.on_every_path]
    around = [f for f in findings if not f.on_every_path]
    return sentences(
        f"The conductances of a layer that all paths lead through sum to the score of the image minus that of the "
        f"baseline, a flat image of value {baseline:g}: they miss it by {max(f.error for f in checked):.2%} (median, "
        f"largest of {counted(len(checked), 'layer')}) with {steps} steps."
        if checked
        else "",
        around and "The sums of the other layers do not include paths that bypass them.",
    )


def layer_table(findings: Sequence[LayerFindings], steps: int, baseline: float) -> Table:
    """The layers with the sum of their conductances and how it spreads over the channels."""
    return Table(
        title="Conductance by layer",
        caption=table_caption(findings, steps, baseline),
        columns=["layer", "kind", "channels", "sum / difference", "half lies in", "negative"],
        rows=[[f.address, f.kind, f.channels, f.total, f.half, f.negative] for f in findings],
        formats={"sum / difference": "{:.1%}", "half lies in": "{:.1%}", "negative": "{:.1%}"},
        facts={
            "largest_error": max((f.error for f in findings if f.on_every_path), default=0.0),
            "layers": sum(f.on_every_path for f in findings),
            "steps": steps,
            "baseline": baseline,
        },
    )
