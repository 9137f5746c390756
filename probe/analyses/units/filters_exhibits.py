"""Exhibits and warnings of filters: grids, slices, mixing matrices, a table of statistics."""

from dataclasses import dataclass

import numpy as np

from probe.exhibits.exhibits import Cell, Exhibit, ImageGrid, Matrix, Scale, Table
from probe.exhibits.wording import capitalised, counted, selected, sentences, unsigned
from probe.methods.inspection.filters import FilterBank, FilterStatistics, chromatic_energy

_MOST_LABELS = 64
_NOISY_LAYER = 0.5


@dataclass(frozen=True)
class Smoothness:
    """Median correlation of neighbouring weights in a layer, nan for filters of one weight; proportion of noisy filters."""

    median: float
    noisy: float

    @classmethod
    def of(cls, statistics: FilterStatistics) -> "Smoothness":
        finite = bool(np.isfinite(statistics.smoothness).any())
        median = float(np.nanmedian(statistics.smoothness)) if finite else float("nan")
        return cls(median, float(statistics.noisy.mean()))


@dataclass(frozen=True)
class GridFindings:
    """What a grid of filters shows. limit: end of the scale that all share, None where each has its own.

    coloured: whether the filters read colour. proportion: of the filters that respond to colour more than to
    brightness, where coloured; else of those whose weights have a positive sum.
    """

    what: str
    address: str
    shown: int
    total: int
    size: tuple[int, int]
    limit: float | None
    coloured: bool
    proportion: float


def grid(
    bank: FilterBank, smoothness: Smoothness, names: list[str], max_filters: int, own_scale: bool
) -> Exhibit:
    """Filters with one or three input channels as images. names: of the classes, where they are class templates."""
    weights = bank.weights[:max_filters]
    peak = np.abs(weights).max((1, 2, 3), keepdims=True)
    limit = float(max(peak.max(), 1e-12))
    high = 1.0 if own_scale else limit
    scaled = weights / np.maximum(peak, 1e-12) if own_scale else weights
    coloured = bank.reads_image and weights.shape[1] == 3
    if coloured:
        proportion = float((chromatic_energy(weights) > 0.5).mean())
        images = [np.moveaxis(0.5 + image / (2 * high), 0, -1).astype(np.float32) for image in scaled]
    else:
        proportion = float((weights.sum((1, 2, 3)) > 0).mean())
        images = [image[0].astype(np.float32) for image in scaled]
    what = "class template" if names else "filter"
    findings = GridFindings(
        what=what,
        address=bank.address,
        shown=len(weights),
        total=len(bank.weights),
        size=(weights.shape[2], weights.shape[3]),
        limit=None if own_scale else limit,
        coloured=coloured,
        proportion=proportion,
    )
    numbers = [str(i) for i in range(len(weights))] if len(weights) <= _MOST_LABELS else []
    label = "weight over the filter's largest" if own_scale else "weight"
    return ImageGrid(
        title=f"{what.capitalize()}s of {bank.address}",
        caption=caption_of_grid(findings, smoothness),
        images=images,
        labels=names or numbers,
        scale=None if coloured else Scale(low=-high, high=high, kind="diverging", label=label),
        facts={"limit": limit, "proportion": proportion, "filters": len(bank.weights)},
    )


def slices(bank: FilterBank, smoothness: Smoothness, count: int, own_scale: bool) -> Exhibit:
    """The kernels between the `count` outputs and the `count` inputs with the largest weights."""
    energy = (bank.weights**2).sum((2, 3))
    outputs = np.sort(np.argsort(-energy.sum(1), kind="stable")[:count])
    inputs = np.sort(np.argsort(-energy.sum(0), kind="stable")[:count])
    weights = bank.weights[np.ix_(outputs, inputs)]
    if own_scale:
        weights = weights / np.maximum(np.abs(weights).max((1, 2, 3), keepdims=True), 1e-12)
    limit = float(max(np.abs(weights).max(), 1e-12))
    proportion = float(energy[np.ix_(outputs, inputs)].sum() / max(energy.sum(), 1e-12))
    return ImageGrid(
        title=f"Kernels of {bank.address}",
        caption=sentences(
            caption_of_slices(bank, len(outputs), len(inputs), proportion),
            "Each row is scaled separately." if own_scale else f"All are on one scale up to {limit:.3g}.",
            caption_of_smoothness(smoothness),
        ),
        images=[weights[i, j].astype(np.float32) for i in range(len(outputs)) for j in range(len(inputs))],
        columns=len(inputs),
        row_headers=[f"out {i}" for i in outputs],
        column_headers=[str(j) for j in inputs],
        scale=Scale(low=-limit, high=limit, kind="diverging", label="weight"),
        facts={
            "outputs": bank.weights.shape[0],
            "inputs": bank.weights.shape[1],
            "proportion_of_energy": proportion,
        },
    )


def mixing(bank: FilterBank, count: int) -> Exhibit:
    """The weights of a 1 x 1 convolution between the `count` outputs and the `count` inputs with the largest ones."""
    values = bank.weights[:, :, 0, 0]
    outputs = np.sort(np.argsort(-(values**2).sum(1), kind="stable")[:count])
    inputs = np.sort(np.argsort(-(values**2).sum(0), kind="stable")[:count])
    weights = values[np.ix_(outputs, inputs)]
    limit = float(max(np.abs(weights).max(), 1e-12))
    energy = np.sort(values**2, axis=1)[:, ::-1].cumsum(1)
    needed = float(np.median((energy < 0.5 * energy[:, -1:]).sum(1) + 1))
    return Matrix(
        title=f"Mixing weights of {bank.address}",
        caption=caption_of_mixing(bank, len(outputs), len(inputs), needed),
        values=weights.astype(np.float32),
        row_labels=[str(i) for i in outputs],
        column_labels=[str(j) for j in inputs],
        row_title="output",
        column_title="input" + (" of its group" if bank.groups > 1 else ""),
        scale=Scale(low=-limit, high=limit, kind="diverging", label="weight"),
        facts={"outputs": values.shape[0], "inputs": values.shape[1], "inputs_of_half_the_energy": needed},
    )


def table(banks: list[FilterBank], statistics: dict[str, FilterStatistics]) -> Exhibit:
    """The statistics of every layer."""
    rows: list[list[Cell]] = []
    for bank in banks:
        layer = statistics[bank.address]
        smoothness = Smoothness.of(layer)
        out, into, height, width = bank.weights.shape
        finite = np.isfinite(smoothness.median)
        rows.append(
            [
                bank.address,
                out,
                f"{into} x {height} x {width}",
                smoothness.median if finite else None,
                smoothness.noisy if finite else None,
                float(layer.dead.mean()),
                float(layer.duplicate.mean()),
            ]
        )
    total = sum(len(bank.weights) for bank in banks)
    dead = sum(int(layer.dead.sum()) for layer in statistics.values())
    duplicates = sum(int(layer.duplicate.sum()) for layer in statistics.values())
    return Table(
        title="Statistics of the filters",
        caption=caption_of_table(len(banks), total, dead, duplicates),
        columns=["layer", "filters", "size", "smoothness", "noisy", "dead", "near-duplicates"],
        rows=rows,
        formats={"smoothness": "{:.2f}", "noisy": "{:.0%}", "dead": "{:.0%}", "near-duplicates": "{:.0%}"},
        facts={
            "filters": total,
            "dead": dead,
            "near_duplicates": duplicates,
            "dead_below_median": 0.05,
            "duplicate_above_cosine": 0.95,
        },
    )


def caption_of_grid(findings: GridFindings, smoothness: Smoothness) -> str:
    f = findings
    what = selected(f.shown, f.total, f.what)
    scale = "each scaled separately" if f.limit is None else f"on one scale up to {f.limit:.3g}"
    return sentences(
        f"{capitalised(what)} of {f.address}, {f.size[0]} x {f.size[1]}, {scale}.",
        f.coloured and "Mid-grey is 0.",
        f.coloured
        and f.shown > 1
        and f"{f.proportion:.0%} of the {f.what}s respond to colour more than to brightness.",
        not f.coloured and "Red is positive, blue negative.",
        not f.coloured and f.shown > 1 and f"The weights of {f.proportion:.0%} have a positive sum.",
        caption_of_smoothness(smoothness),
    )


def caption_of_slices(bank: FilterBank, outputs: int, inputs: int, proportion: float) -> str:
    group = " of a group" if bank.groups > 1 else ""
    total = bank.weights.shape
    return (
        f"Kernels between outputs (rows) and inputs{group} (columns) of {bank.address} with the largest weights: "
        f"{selected(outputs, total[0], 'output')} and {selected(inputs, total[1], 'input')}, which hold {proportion:.0%} "
        "of the energy of the layer."
    )


def caption_of_mixing(bank: FilterBank, outputs: int, inputs: int, needed: float) -> str:
    """needed: median number of inputs from which half of the energy of an output comes."""
    total = bank.weights.shape
    return sentences(
        f"{bank.address} is a 1 x 1 convolution, which mixes channels: half of the energy of an output comes from "
        f"{needed:.0f} of {total[1]} inputs (median).",
        f"Shown are {selected(outputs, total[0], 'output')} and {selected(inputs, total[1], 'input')}.",
    )


def caption_of_smoothness(smoothness: Smoothness) -> str:
    if not np.isfinite(smoothness.median):
        return "A filter of one weight has no smoothness."
    return (
        f"Neighbouring weights have a correlation of {unsigned(f'{smoothness.median:.2f}')} (median; 0 for random weights); "
        f"{smoothness.noisy:.0%} of the filters are as noisy as random weights."
    )


def caption_of_table(layers: int, filters: int, dead: int, duplicates: int) -> str:
    return sentences(
        f"Dead filters, with a norm below 5% of the median of their layer: {dead:,} of {counted(filters, 'filter')} in "
        f"{counted(layers, 'layer')}.",
        f"Near-duplicates, with a cosine similarity above 0.95 to another filter of their layer: {duplicates:,}.",
        "Smoothness is the correlation of neighbouring weights; noisy filters are those within two standard errors of 0.",
    )


def warnings(first: FilterStatistics) -> list[str]:
    """first: statistics of the first layer."""
    noisy = float(first.noisy.mean())
    if not np.isfinite(first.smoothness).any() or noisy <= _NOISY_LAYER:
        return []
    return [
        f"{noisy:.0%} of the filters of the first layer are as noisy as random weights: the network may be untrained, or was "
        "trained too briefly or without weight decay."
    ]
