"""Exhibits of `architecture`: cost by layer and by kind of layer, receptive fields."""

from collections.abc import Sequence

import numpy as np

from probe.analyses.inspection import architecture_captions as captions
from probe.analyses.inspection.architecture_layers import KINDS, LeafLayers
from probe.exhibits.exhibits import Cell, Chart, Line, Table, facts_of
from probe.model.layers import Layer


def cost_table(leaves: LeafLayers, findings: captions.CostFindings, *, max_layers: int) -> Table:
    """The `max_layers` layers with the most MACs among those that multiply or pool, in the order of the network."""
    costly = _costly(leaves.layers)
    listed = _by_cost(costly)[:max_layers]
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
        if layer in listed
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
    unlisted = _by_cost(_costly(leaves.layers))[max_layers:]
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
        unlisted=len(unlisted),
        unlisted_macs=max((layer.macs for layer in unlisted), default=0),
    )


def _by_cost(layers: Sequence[Layer]) -> list[Layer]:
    """The costliest first; of equal ones, those earlier in the network."""
    return sorted(layers, key=lambda layer: (-layer.macs, -layer.parameters))


def _costly(layers: Sequence[Layer]) -> list[Layer]:
    """The layers that multiply or pool."""
    return [layer for layer in layers if layer.macs or layer.kind.endswith("Pool2d")]


def _receptive_field(layer: Layer) -> str:
    if layer.receptive_field is None:
        return ""
    if not layer.receptive_field.exact:
        return "unknown"
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
        if layer.receptive_field is not None
        and layer.receptive_field.exact
        and layer.spatial
        and leaves.has_window(layer)
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
