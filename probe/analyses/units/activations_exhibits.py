"""Exhibits and warnings of activations: maps, zeros and dead channels over depth, a table of the layers."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from probe.exhibits.exhibits import Array, Cell, Chart, Exhibit, ImageGrid, Line, Matrix, Scale, Table
from probe.exhibits.tiles import to_images
from probe.exhibits.wording import capitalised, counted, listed, selected, sentences, significant
from probe.methods.inspection.responses import Response
from probe.model.layers import Layer

_MOST_BARS = 20
_MANY_DEAD = 0.3
_FEW_IMAGES = 100


@dataclass(frozen=True)
class MapFindings:
    """The activations of a layer on the examples, and over the sample.

    what: "channel" or "unit". index: the channel with the largest absolute activation on the examples, which is
    largest; median: of these over the channels. zeros, dead: proportion of activations and number of channels over
    the sample. size: of the maps, None where there are none.
    """

    what: str
    address: str
    shown: int
    total: int
    index: int
    largest: float
    median: float
    zeros: float
    dead: int
    size: tuple[int, int] | None


@dataclass(frozen=True)
class DepthFindings:
    """Zeros and dead channels over the layers. first, last: address and proportion of zeros. n: images.

    worst: the layer with the largest proportion of dead channels, and that proportion.
    """

    first: tuple[str, float]
    last: tuple[str, float]
    layers: int
    dead: int
    channels: int
    worst: tuple[str, float]
    n: int


def maps(
    layer: Layer, activations: Array, pixels: Tensor, names: list[str], response: Response, count: int
) -> Exhibit:
    """Maps of the `count` channels with the largest activations, image by image, beside the image itself.

    activations: (n, channels, ...). pixels: (n, c, h, w) in [0, 1]. names: of the images.
    """
    strength = np.abs(activations).reshape(*activations.shape[:2], -1).max((0, 2))
    order = np.argsort(-strength, kind="stable")[:count]
    top = activations[:, order]
    low, high = float(top.min()), float(top.max())
    limit = max(abs(low), abs(high), 1e-12)
    scale = (
        Scale(low=0, high=max(high, 1e-12), kind="sequential", label="activation")
        if low >= 0
        else Scale(low=-limit, high=limit, kind="diverging", label="activation")
    )
    findings = MapFindings(
        what="channel" if layer.spatial else "unit",
        address=layer.address,
        shown=len(order),
        total=layer.channels,
        index=int(order[0]),
        largest=float(strength[order[0]]),
        median=float(np.median(strength)),
        zeros=response.zeros,
        dead=int(response.dead.sum()),
        size=(layer.shape[1], layer.shape[2]) if layer.spatial else None,
    )
    caption = caption_of_maps(findings)
    facts = {"channels": layer.channels, "largest": findings.largest, "median": findings.median}
    if not layer.spatial:
        return Matrix(
            title=f"Units of {layer.address}",
            caption=caption,
            values=top.reshape(len(activations), len(order), -1).mean(2),
            row_labels=names,
            column_labels=[str(unit) for unit in order],
            row_title="image",
            column_title="unit",
            scale=scale,
            facts=facts,
        )
    return ImageGrid(
        title=f"Maps of {layer.address}",
        caption=caption,
        images=[tile for image, row in zip(to_images(pixels), top, strict=True) for tile in (image, *row)],
        columns=len(order) + 1,
        column_headers=["image", *(str(channel) for channel in order)],
        row_headers=names,
        scale=scale,
        facts=facts,
    )


def depth(measurements: dict[str, Response], n: int) -> list[Exhibit]:
    """Zeros and dead channels over depth, drawn where there are any, and a table of all layers. n: images."""
    addresses, layers = list(measurements), list(measurements.values())
    zeros = np.array([response.zeros for response in layers])
    dead = np.array([float(response.dead.float().mean()) for response in layers])
    n_dead, channels = count_dead(measurements)
    worst = int(dead.argmax())
    findings = DepthFindings(
        first=(addresses[0], float(zeros[0])),
        last=(addresses[-1], float(zeros[-1])),
        layers=len(layers),
        dead=n_dead,
        channels=channels,
        worst=(addresses[worst], float(dead[worst])),
        n=n,
    )
    facts: dict[str, float] = {"dead": n_dead, "channels": channels, "images": n}
    x = np.arange(len(addresses))
    chart = Chart(
        title="Zeros and dead channels over depth",
        caption=caption_of_depth(findings),
        lines=[Line(name="zeros", x=x, y=zeros), Line(name="dead channels", x=x, y=dead)],
        x_label="layer, in the order of the network",
        y_label="proportion",
        kind="bar" if len(addresses) <= _MOST_BARS else "line",
        y_range=(0, 1),
        ticks=addresses if len(addresses) <= _MOST_BARS else [],
        facts=facts,
    )
    rows: list[list[Cell]] = [
        [
            address,
            len(response.dead),
            response.zeros,
            int(response.dead.sum()),
            float(response.minimum.min()),
            float(response.maximum.median()),
            float(response.maximum.max()),
        ]
        for address, response in measurements.items()
    ]
    columns = ["layer", "channels", "zeros", "dead", "minimum", "median maximum", "maximum"]
    table = Table(
        title="Responses of each layer",
        caption=sentences(
            caption_of_dead(findings),
            f"The median channel of {addresses[-1]} has a maximum of {significant(float(list(measurements.values())[-1].maximum.median()))}.",
        ),
        columns=columns,
        rows=rows,
        formats={"zeros": "{:.0%}", **dict.fromkeys(columns[4:], "{:.3g}")},
        facts=facts,
    )
    return [chart, table] if len(addresses) > 1 and (zeros.any() or n_dead) else [table]


def count_dead(measurements: dict[str, Response]) -> tuple[int, int]:
    """The number of dead channels and of all channels of all layers."""
    dead = sum(int(response.dead.sum()) for response in measurements.values())
    return dead, sum(len(response.dead) for response in measurements.values())


def caption_of_maps(findings: MapFindings) -> str:
    f = findings
    dead = (
        f"{selected(f.dead, f.total, f.what)} {'is' if f.dead == 1 else 'are'}"
        if f.dead
        else f"no {f.what} is"
    )
    return sentences(
        f"{capitalised(selected(f.shown, f.total, f.what))} of {f.address}"
        f"{', largest activations first' if f.shown > 1 else ''}.",
        f"The largest absolute activation on these images is {significant(f.largest)}, in {f.what} {f.index}; the median "
        f"over the {f.what}s is {significant(f.median)}.",
        f"Over the sample {f.zeros:.0%} of the activations of the layer are 0 and {dead} dead.",
        f.size and f"Maps are {f.size[0]} x {f.size[1]}, on one scale for the layer.",
    )


def caption_of_depth(findings: DepthFindings) -> str:
    (first, zeros), (last, last_zeros) = findings.first, findings.last
    return sentences(
        f"The proportion of zeros is {zeros:.0%} in {first} and {last_zeros:.0%} in {last}.",
        caption_of_dead(findings),
    )


def caption_of_dead(findings: DepthFindings) -> str:
    f = findings
    if not f.dead:
        return f"No channel is dead, that is, constant over {counted(f.n)}."
    worst = f"; the largest proportion is in {f.worst[0]} ({f.worst[1]:.0%})" if f.layers > 1 else ""
    return f"Dead channels, constant over {counted(f.n)}: {f.dead:,} of {f.channels:,}{worst}."


def warnings(measurements: dict[str, Response], n: int) -> list[str]:
    dead = {address: float(response.dead.float().mean()) for address, response in measurements.items()}
    many = {address: share for address, share in dead.items() if share > _MANY_DEAD}
    lines = []
    if len(many) == 1:
        (address, share), *_ = many.items()
        lines.append(f"{share:.0%} of the channels of {address} are dead: constant over {counted(n)}.")
    elif many:
        worst = max(many, key=many.__getitem__)
        lines.append(
            f"More than {_MANY_DEAD:.0%} of the channels are dead, that is, constant over {counted(n)}, in {len(many)} layers: "
            f"{listed(list(many), 3)}. The largest proportion is {many[worst]:.0%}, in {worst}."
        )
    if n < _FEW_IMAGES:
        lines.append(f"Dead channels are counted over {counted(n)} only: some may respond to other images.")
    return lines
