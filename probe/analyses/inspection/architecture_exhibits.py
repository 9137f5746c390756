"""Exhibits of `architecture`: cost by layer and by kind, receptive fields, compact structures and alternatives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from probe.analyses.inspection import architecture_captions as captions
from probe.exhibits.exhibits import Cell, Chart, Line, Table, facts_of
from probe.methods.inspection.cost import (
    CompactBlock,
    Convolution,
    bottleneck_ratio,
    separable_ratio,
    stack_ratio,
)
from probe.model.layers import Layer
from probe.model.model import Model

_SPATIAL = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
CONVOLUTION, DENSE, OTHER = "convolutions", "dense layers", "other layers"
KINDS = (CONVOLUTION, DENSE, OTHER)
_MAX_ALTERNATIVES = 8


@dataclass(frozen=True)
class LeafLayers:
    """The layers of a model that contain no others, with their modules by name."""

    model: Model
    layers: Sequence[Layer]
    modules: Mapping[str, nn.Module]

    @classmethod
    def of(cls, model: Model) -> "LeafLayers":
        layers = [layer for layer in model.layers if layer.leaf]
        return cls(model, layers, dict(model.network.named_modules()))

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all layers for one image."""
        return sum(layer.macs for layer in self.layers)

    def module(self, layer: Layer) -> nn.Module | None:
        """The module of a layer; None for a function."""
        return self.modules.get(layer.address, self.modules.get(layer.address.rpartition("#")[0]))

    def kind(self, layer: Layer) -> str:
        """Which of KINDS a layer belongs to."""
        module = self.module(layer)
        if isinstance(module, nn.Linear) or layer.kind == "linear":
            return DENSE
        convolution = isinstance(module, nn.Conv1d | nn.Conv2d) or layer.kind == "conv2d"
        return CONVOLUTION if convolution else OTHER

    def moves_window(self, layer: Layer) -> bool:
        """Whether a layer is a two-dimensional convolution or pooling."""
        kinds = ("conv2d", *(module.__name__ for module in _SPATIAL))
        return isinstance(self.module(layer), _SPATIAL) or layer.kind in kinds

    def parameters(self, kind: str) -> int:
        """Parameters of all layers of a kind; those of a layer that is called several times count once."""
        return sum(
            layer.parameters for layer in self.layers if self.kind(layer) == kind and "#" not in layer.address
        )


def cost_table(leaves: LeafLayers, findings: captions.CostFindings, *, max_layers: int) -> Table:
    """The `max_layers` layers with the most MACs among those that multiply or pool, in the order of the network."""
    costly = _costly(leaves.layers)
    kept = sorted(costly, key=lambda layer: (layer.macs, layer.parameters), reverse=True)[:max_layers]
    rows: list[list[Cell]] = [
        [
            layer.address,
            layer.kind,
            " x ".join(map(str, layer.shape)),
            layer.parameters,
            layer.macs,
            layer.macs / max(1, leaves.macs),
            _receptive_field(layer),
        ]
        for layer in costly
        if layer in kept
    ]
    return Table(
        title="Layers",
        caption=captions.cost_caption(findings),
        facts=facts_of(findings),
        columns=["layer", "kind", "output", "parameters", "MACs", "fraction of MACs", "receptive field"],
        rows=rows,
        formats={"parameters": "{:,}", "MACs": "{:,}", "fraction of MACs": "{:.1%}"},
    )


def cost_findings(
    leaves: LeafLayers, *, convolutions: int, mismatches: int, max_layers: int
) -> captions.CostFindings:
    """convolutions: how many there are. mismatches: how many do not cost what the closed formulas give."""
    model = leaves.model
    costliest = max(leaves.layers, key=lambda layer: layer.macs)
    largest = max(leaves.layers, key=lambda layer: layer.parameters)
    return captions.CostFindings(
        model=model.name,
        parameters=model.parameters,
        macs=leaves.macs,
        costliest=costliest.address,
        mac_fraction=costliest.macs / max(1, leaves.macs),
        largest=largest.address,
        parameter_fraction=largest.parameters / max(1, model.parameters),
        convolutions=convolutions,
        mismatches=mismatches,
        unlisted=max(0, len(_costly(leaves.layers)) - max_layers),
    )


def _costly(layers: Sequence[Layer]) -> list[Layer]:
    """The layers that multiply or pool."""
    return [layer for layer in layers if layer.macs or layer.kind.endswith("Pool2d")]


def _receptive_field(layer: Layer) -> str:
    if layer.receptive_field is None:
        return ""
    return (
        "all" if layer.receptive_field.stride == (0, 0) else " x ".join(map(str, layer.receptive_field.size))
    )


def fraction_chart(leaves: LeafLayers) -> Chart:
    """Fractions of the parameters and MACs by kind of layer."""
    parameters = np.array([float(leaves.parameters(kind)) for kind in KINDS])
    macs = np.zeros(len(KINDS))
    for layer in leaves.layers:
        macs[KINDS.index(leaves.kind(layer))] += layer.macs
    parameters, macs = parameters / max(1, parameters.sum()), macs / max(1, macs.sum())
    x = np.arange(len(KINDS))
    findings = captions.FractionFindings(
        convolution_parameters=parameters[0],
        convolution_macs=macs[0],
        dense_parameters=parameters[1],
        dense_macs=macs[1],
    )
    return Chart(
        title="Parameters and MACs by kind of layer",
        caption=captions.fraction_caption(findings),
        facts=facts_of(findings),
        lines=[Line(name="parameters", x=x, y=parameters), Line(name="MACs", x=x, y=macs)],
        x_label="",
        y_label="fraction",
        kind="bar",
        y_range=(0, 1),
        ticks=list(KINDS),
    )


def receptive_field_chart(leaves: LeafLayers) -> Chart | None:
    """The receptive field of each convolution and pooling layer; None where no layer has one."""
    fields = [
        (layer.address, max(layer.receptive_field.size))
        for layer in leaves.layers
        if layer.receptive_field is not None and layer.spatial and leaves.moves_window(layer)
    ]
    if not fields:
        return None
    image_side = max(leaves.model.shape[1:])
    local = [address for address, side in fields if side < image_side]
    findings = captions.ReceptiveFieldFindings(
        last=fields[-1][0],
        receptive_field=fields[-1][1],
        image_side=image_side,
        last_local=local[-1] if local else "",
    )
    x = np.arange(1, len(fields) + 1)
    sides = np.array([side for _, side in fields], dtype=float)
    return Chart(
        title="Receptive fields",
        caption=captions.receptive_field_caption(findings),
        facts=facts_of(findings),
        lines=[
            Line(name="receptive field", x=x, y=sides),
            Line(name="side of the image", x=x, y=np.full(len(x), float(image_side)), dashed=True),
        ],
        x_label="convolution or pooling layer, in order",
        y_label="side in pixels",
    )


def compact_findings(blocks: Sequence[CompactBlock]) -> captions.CompactFindings:
    return captions.CompactFindings(
        weights=sum(block.weights for block in blocks),
        plain_weights=sum(block.plain_weights for block in blocks),
    )


def compact_block_table(blocks: Sequence[CompactBlock], findings: captions.CompactFindings) -> Table:
    """The structures of the network that save weights."""
    rows: list[list[Cell]] = [
        [
            block.structure,
            block.layers[0] + (f" and {len(block.layers) - 1} more" if len(block.layers) > 1 else ""),
            block.weights,
            block.plain_weights,
            block.weights / block.plain_weights,
            block.formula_ratio,
        ]
        for block in blocks
    ]
    return Table(
        title="Structures that save weights",
        caption=captions.compact_block_caption(findings),
        facts=facts_of(findings),
        columns=["structure", "layers", "weights", "plain convolution", "ratio", "ratio by formula"],
        rows=rows,
        formats={
            "weights": "{:,}",
            "plain convolution": "{:,}",
            "ratio": "{:.4f}",
            "ratio by formula": "{:.4f}",
        },
    )


def alternative_table(chain: Sequence[Convolution]) -> Table | None:
    """Weights of the plain convolutions in other forms, relative to now; None where there are none."""
    counts: dict[tuple[int, int, int], int] = {}
    for conv in chain:
        if conv.module.groups == 1 and conv.kernel > 1:
            kind = (conv.kernel, conv.module.in_channels, conv.module.out_channels)
            counts[kind] = counts.get(kind, 0) + 1
    if not counts:
        return None
    largest = sorted(counts, key=lambda kind: kind[0] ** 2 * kind[1] * kind[2] * counts[kind], reverse=True)[
        :_MAX_ALTERNATIVES
    ]
    rows: list[list[Cell]] = [
        [
            f"{kernel} x {kernel}, {into} to {out}",
            counts[kernel, into, out],
            kernel**2 * into * out,
            separable_ratio(out, kernel),
            bottleneck_ratio(0.5, kernel) if into == out else None,
            1 / 4 if into % 4 == out % 4 == 0 else None,
            stack_ratio((kernel - 1) // 2, 3) if kernel > 3 and kernel % 2 and into == out else None,
        ]
        for kernel, into, out in largest
    ]
    columns = ["convolution", "count", "weights", "separable", "bottleneck", "4 groups", "stack of 3 x 3"]
    used = [i for i in range(len(columns)) if any(row[i] is not None for row in rows)]
    kernel, into, out = largest[0]
    findings = captions.AlternativeFindings(
        kernel=kernel,
        in_channels=into,
        out_channels=out,
        separable_ratio=separable_ratio(out, kernel),
        bottleneck=4 in used,
        stack=6 in used,
    )
    return Table(
        title="Weights in other forms of convolution",
        caption=captions.alternative_caption(findings),
        facts=facts_of(findings),
        columns=[columns[i] for i in used],
        rows=[[row[i] for i in used] for row in rows],
        formats={"weights": "{:,}"} | {columns[i]: "{:.1%}" for i in used if i > 2},
    )
