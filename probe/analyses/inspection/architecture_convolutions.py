"""Exhibits of `architecture`: structures that save weights, and other forms of the convolutions."""

from collections.abc import Sequence

from probe.analyses.inspection import architecture_captions as captions
from probe.exhibits.exhibits import Cell, Table, facts_of
from probe.methods.inspection.cost import (
    CompactBlock,
    Convolution,
    bottleneck_ratio,
    separable_ratio,
    stack_ratio,
)

_MAX_ALTERNATIVES = 8


def compact_findings(blocks: Sequence[CompactBlock]) -> captions.CompactFindings:
    """Weights of all structures, and of plain convolutions in their place."""
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
