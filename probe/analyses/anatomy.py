"""What is this network made of, what does it cost, and what do its structures save?"""

from collections.abc import Sequence

import numpy as np
from pydantic import Field
from torch import nn

from probe.analyses.analysis import Analysis, Job
from probe.data.images import Images
from probe.exhibits.exhibits import Cell, Chart, Exhibit, Line, Table
from probe.exhibits.result import Number, Result
from probe.methods.costs import (
    Convolution,
    Saving,
    bottleneck_share,
    convolutions,
    savings,
    separable_share,
    stack_share,
)
from probe.subject.layers import Layer
from probe.subject.subject import Subject

_SPATIAL = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
_DENSE, _CONVOLUTIONS, _REST = "dense layers", "convolutions", "all else"


class Anatomy(Analysis):
    """What is this network made of, what does it cost, and what do its structures save?"""

    name = "anatomy"
    title = "Anatomy: sizes, costs and receptive fields"
    source = "Simonyan & Zisserman 2015; He et al. 2016; Howard et al. 2017, section 3.1"
    needs_images = 0

    rows: int = Field(24, ge=4, le=400, description="layers to list at most, the costliest first to be kept")

    def run(self, subject: Subject, images: Images, job: Job) -> Result:
        modules = dict(subject.network.named_modules())
        layers = [layer for layer in subject.layers if layer.leaf]
        chain = convolutions(subject)
        found = savings(chain)
        dense = sum(
            one.parameters for one in layers if _part(modules, one) == _DENSE and "#" not in one.address
        )
        macs = sum(layer.macs for layer in layers)
        wrong = disagreements(subject, chain)
        numbers = {
            "parameters": Number(value=subject.parameters, format="{:,.0f}"),
            "multiplications": Number(value=macs, format="{:,.0f}"),
            "share of parameters in dense layers": Number(
                value=dense / max(1, subject.parameters), format="{:.1%}"
            ),
        }
        exhibits: list[Exhibit] = [
            self._table(subject, layers, macs, len(chain), wrong),
            _shares(subject, modules, layers),
        ]
        if field := _fields(subject, modules, layers):
            exhibits.append(field)
        if found:
            exhibits.append(_saved(found))
            numbers["weights beside plain convolutions"] = Number(
                value=sum(one.weights for one in found) / sum(one.plain for one in found), format="{:.1%}"
            )
        if other := _alternatives(chain, found):
            exhibits.append(other)
        warnings = [
            f"{name} does not cost what the closed formulas say: {why}." for name, why in wrong.items()
        ]
        return Result(exhibits=exhibits, numbers=numbers, warnings=warnings)

    def _table(
        self, subject: Subject, layers: Sequence[Layer], macs: int, count: int, wrong: dict[str, str]
    ) -> Table:
        costly = [layer for layer in layers if layer.macs or layer.kind.endswith("Pool2d")]
        kept = sorted(costly, key=lambda layer: (layer.macs, layer.parameters), reverse=True)[: self.rows]
        listed = [layer for layer in costly if layer in kept]
        left = len(costly) - len(listed)
        most, widest = (
            max(layers, key=lambda layer: layer.macs),
            max(layers, key=lambda layer: layer.parameters),
        )
        caption = (
            f"{subject.name} has {subject.parameters:,} parameters and takes {macs:,} multiplications an image. "
            f"{most.address} does {most.macs / max(1, macs):.0%} of the multiplications, {widest.address} holds "
            f"{widest.parameters / max(1, subject.parameters):.0%} of the parameters. "
            + (
                f"Sizes and costs of {count - len(wrong)} of {count} convolutions are those of the closed formulas. "
                if count
                else ""
            )
            + (f"Of the layers that multiply or pool, the {left} cheapest are not listed." if left else "")
        )
        rows: list[list[Cell]] = [
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
            rows=rows,
            formats={"parameters": "{:,}", "multiplications": "{:,}", "share": "{:.1%}"},
        )


def disagreements(subject: Subject, chain: Sequence[Convolution]) -> dict[str, str]:
    """The convolutions whose counted parameters, multiplications or map are not those of the formulas, and how."""
    found = {}
    for one in chain:
        layer = subject.layers.find(one.address)
        counted, formula = (layer.parameters, layer.macs, one.after), one.expected()
        if counted != formula:
            found[one.address] = f"counted {counted}, formula {formula}"
    return found


def _part(modules: dict[str, nn.Module], layer: Layer) -> str:
    module = modules[layer.address.partition("#")[0]]
    if isinstance(module, nn.Linear):
        return _DENSE
    return _CONVOLUTIONS if isinstance(module, nn.Conv1d | nn.Conv2d) else _REST


def _size(layer: Layer) -> str:
    if layer.receptive is None:
        return ""
    return "all" if layer.receptive.stride == (0, 0) else " x ".join(map(str, layer.receptive.size))


def _shares(subject: Subject, modules: dict[str, nn.Module], layers: Sequence[Layer]) -> Chart:
    parts = [_CONVOLUTIONS, _DENSE, _REST]
    held, done = np.zeros(3), np.zeros(3)
    for layer in layers:
        part = parts.index(_part(modules, layer))
        held[part] += layer.parameters if "#" not in layer.address else 0
        done[part] += layer.macs
    held, done = held / max(1, held.sum()), done / max(1, done.sum())
    x = np.arange(3)
    return Chart(
        title="Where parameters and multiplications sit",
        caption=f"Convolutions hold {held[0]:.1%} of the parameters and do {done[0]:.1%} of the multiplications; "
        f"dense layers hold {held[1]:.1%} and do {done[1]:.1%}.",
        lines=[Line(name="parameters", x=x, y=held), Line(name="multiplications", x=x, y=done)],
        x_label="",
        y_label="share",
        kind="bar",
        y_range=(0, 1),
        ticks=parts,
    )


def _fields(subject: Subject, modules: dict[str, nn.Module], layers: Sequence[Layer]) -> Chart | None:
    known = [
        (layer, layer.receptive.size)
        for layer in layers
        if layer.receptive is not None
        and layer.spatial
        and isinstance(modules[layer.address.partition("#")[0]], _SPATIAL)
    ]
    if not known:
        return None
    x = np.arange(1, len(known) + 1)
    sides = [max(size) for _, size in known]
    image = max(subject.shape[1:])
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


def _saved(found: Sequence[Saving]) -> Table:
    total, plain = sum(one.weights for one in found), sum(one.plain for one in found)
    rows: list[list[Cell]] = [
        [
            one.structure,
            one.layers[0] + (f" + {len(one.layers) - 1}" if len(one.layers) > 1 else ""),
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


def _alternatives(chain: Sequence[Convolution], found: Sequence[Saving]) -> Table | None:
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
