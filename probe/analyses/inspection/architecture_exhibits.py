"""How sizes and costs of a network are shown: layer by layer, in shares, and beside other structures."""

from collections.abc import Sequence

import numpy as np
from torch import nn

from probe.exhibits.exhibits import Cell, Chart, Line, Table
from probe.methods.inspection.cost import Convolution, Saving, bottleneck_share, separable_share, stack_share
from probe.model.layers import Layer
from probe.model.model import Model

_SPATIAL = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
DENSE, _CONVOLUTIONS, _REST = "dense layers", "convolutions", "all else"
KINDS = (_CONVOLUTIONS, DENSE, _REST)


def costs(model: Model, layers: Sequence[Layer], macs: int, *, count: int, wrong: int, rows: int) -> Table:
    """The layers that multiply or pool, the costliest `rows` of them, in the order of the network."""
    costly = [layer for layer in layers if layer.macs or layer.kind.endswith("Pool2d")]
    kept = sorted(costly, key=lambda layer: (layer.macs, layer.parameters), reverse=True)[:rows]
    listed = [layer for layer in costly if layer in kept]
    left = len(costly) - len(listed)
    most, widest = (
        max(layers, key=lambda layer: layer.macs),
        max(layers, key=lambda layer: layer.parameters),
    )
    caption = (
        f"{model.name} has {model.parameters:,} parameters and takes {macs:,} multiplications an image. "
        f"{most.address} does {most.macs / max(1, macs):.0%} of the multiplications, {widest.address} holds "
        f"{widest.parameters / max(1, model.parameters):.0%} of the parameters. "
        + (
            f"Sizes and costs of {count - wrong} of {count} convolutions are those of the closed formulas. "
            if count
            else ""
        )
        + (f"Of the layers that multiply or pool, the {left} cheapest are not listed." if left else "")
    )
    listing: list[list[Cell]] = [
        [
            layer.address,
            layer.kind,
            " x ".join(map(str, layer.shape)),
            layer.parameters,
            layer.macs,
            layer.macs / max(1, macs),
            _size(layer),
        ]
        for layer in listed
    ]
    return Table(
        title="Layers",
        caption=caption.strip(),
        columns=["layer", "kind", "output", "parameters", "multiplications", "share", "sees"],
        rows=listing,
        formats={"parameters": "{:,}", "multiplications": "{:,}", "share": "{:.1%}"},
    )


def part(modules: dict[str, nn.Module], layer: Layer) -> str:
    """Which of KINDS a layer counts as."""
    module = modules[layer.address.partition("#")[0]]
    if isinstance(module, nn.Linear):
        return DENSE
    return _CONVOLUTIONS if isinstance(module, nn.Conv1d | nn.Conv2d) else _REST


def _size(layer: Layer) -> str:
    if layer.receptive_field is None:
        return ""
    return (
        "all" if layer.receptive_field.stride == (0, 0) else " x ".join(map(str, layer.receptive_field.size))
    )


def shares(model: Model, modules: dict[str, nn.Module], layers: Sequence[Layer]) -> Chart:
    """How parameters and multiplications are shared out among KINDS."""
    held, done = np.zeros(3), np.zeros(3)
    for layer in layers:
        kind = KINDS.index(part(modules, layer))
        held[kind] += layer.parameters if "#" not in layer.address else 0
        done[kind] += layer.macs
    held, done = held / max(1, held.sum()), done / max(1, done.sum())
    x = np.arange(3)
    return Chart(
        title="Where parameters and multiplications sit",
        caption=f"Convolutions hold {held[0]:.1%} of the parameters and do {done[0]:.1%} of the multiplications; "
        + (
            f"dense layers hold {held[1]:.1%} and do {done[1]:.1%}."
            if held[1]
            else "there is no dense layer."
        ),
        lines=[Line(name="parameters", x=x, y=held), Line(name="multiplications", x=x, y=done)],
        x_label="",
        y_label="share",
        kind="bar",
        y_range=(0, 1),
        ticks=list(KINDS),
    )


def fields(model: Model, modules: dict[str, nn.Module], layers: Sequence[Layer]) -> Chart | None:
    """How the receptive field grows; None where no layer has one."""
    known = [
        (layer, layer.receptive_field.size)
        for layer in layers
        if layer.receptive_field is not None
        and layer.spatial
        and isinstance(modules[layer.address.partition("#")[0]], _SPATIAL)
    ]
    if not known:
        return None
    x = np.arange(1, len(known) + 1)
    sides = [max(size) for _, size in known]
    image = max(model.shape[1:])
    inside = [layer.address for (layer, size) in known if max(size) < image]
    caption = (
        f"The receptive field grows to {sides[-1]} pixels at {known[-1][0].address}, the image has {image}. "
    )
    caption += (
        f"The last layer that sees less than the whole side is {inside[-1]}."
        if inside
        else "Every unit of the first of these layers sees the whole side."
    )
    return Chart(
        title="Receptive fields",
        caption=caption,
        lines=[
            Line(name="one unit sees", x=x, y=np.array(sides, dtype=float)),
            Line(name="side of the image", x=x, y=np.full(len(x), float(image)), dashed=True),
        ],
        x_label="convolution or pooling, from the input on",
        y_label="pixels along a side",
    )


def saved(found: Sequence[Saving]) -> Table:
    """What structures of this network save beside plain convolutions."""
    total, plain = sum(one.weights for one in found), sum(one.plain for one in found)
    rows: list[list[Cell]] = [
        [
            one.structure,
            one.layers[0] + (f" and {len(one.layers) - 1} more" if len(one.layers) > 1 else ""),
            one.weights,
            one.plain,
            one.weights / one.plain,
            one.share,
        ]
        for one in found
    ]
    return Table(
        title="What the structures of this network save",
        caption=f"{total:,} weights stand where plain convolutions that see as much would take {plain:,}: "
        f"{total / plain:.0%}. The last two columns, counted and by the closed formula, should agree.",
        columns=["structure", "layers", "weights", "plain", "counted", "formula"],
        rows=rows,
        formats={"weights": "{:,}", "plain": "{:,}", "counted": "{:.4f}", "formula": "{:.4f}"},
    )


def alternatives(chain: Sequence[Convolution], found: Sequence[Saving]) -> Table | None:
    """What the plain convolutions would cost in other forms, by the closed formulas; None where there are none."""
    kinds: dict[tuple[int, int, int], list[str]] = {}
    for one in chain:
        if one.module.groups == 1 and one.side > 1:
            kinds.setdefault((one.side, one.module.in_channels, one.module.out_channels), []).append(
                one.address
            )
    if not kinds:
        return None
    costly = sorted(
        kinds, key=lambda kind: kind[0] ** 2 * kind[1] * kind[2] * len(kinds[kind]), reverse=True
    )[:8]
    rows: list[list[Cell]] = [
        [
            f"{side} x {side}, {into} to {out}",
            len(kinds[side, into, out]),
            side**2 * into * out,
            separable_share(out, side),
            bottleneck_share(0.5, side) if into == out else None,
            1 / 4 if into % 4 == out % 4 == 0 else None,
            stack_share((side - 1) // 2, 3) if side > 3 and side % 2 and into == out else None,
        ]
        for side, into, out in costly
    ]
    side, into, out = costly[0]
    columns = ["convolution", "times", "weights", "separable", "bottleneck", "4 groups", "stack"]
    used = [i for i in range(len(columns)) if any(row[i] is not None for row in rows)]
    said = "A bottleneck goes through half of the channels. " if 4 in used else ""
    said += "A stack is of 3 x 3 that see as far." if 6 in used else ""
    return Table(
        title="What other forms of its convolutions would cost",
        caption=f"The {side} x {side} convolutions from {into} to {out} channels would take "
        f"{separable_share(out, side):.1%} of their weights if they were depthwise separable (1/N + 1/K^2). {said}".strip(),
        columns=[columns[i] for i in used],
        rows=[[row[i] for i in used] for row in rows],
        formats={"weights": "{:,}"} | {columns[i]: "{:.1%}" for i in used if i > 2},
    )
