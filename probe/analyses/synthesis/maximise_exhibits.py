"""Exhibits and numbers of activation maximisation."""

import numpy as np
from torch import Tensor

from probe.analyses.synthesis.maximise_captions import (
    Agreement,
    Confidence,
    Findings,
    caption_of_agreement,
    caption_of_channels,
    caption_of_classes,
    caption_of_data_maxima,
    caption_of_directions,
    caption_of_history,
    caption_of_sheet,
    caption_of_table,
)
from probe.data.images import Images
from probe.exhibits.exhibits import Array, Cell, Chart, Exhibit, ImageGrid, Line, Table
from probe.exhibits.result import Number
from probe.exhibits.tiles import contact_sheet, framed_crop, to_images
from probe.exhibits.wording import snake_case
from probe.methods.synthesis.evaluation import N_TRANSFORMS
from probe.methods.units.top_patches import TopActivations, patch_size, receptive_box
from probe.model.layers import Layer

_MOST_LINES = 10
_MOST_ON_SHEET = 24


def classes(findings: Findings, confidence: Confidence, pixels: Tensor) -> list[Exhibit]:
    """The images (n, c, h, w) that maximise each class, and a table of their logits and confidence."""
    labels = [
        f"{name}\n{plain:.2f} ({transformed:.2f})"
        for name, plain, transformed in zip(
            findings.names, confidence.plain, confidence.transformed, strict=True
        )
    ]
    rows: list[list[Cell]] = [
        [name, *map(float, values)]
        for name, *values in zip(
            findings.names,
            findings.values,
            findings.maxima,
            confidence.plain,
            confidence.transformed,
            strict=True,
        )
    ]
    return [
        ImageGrid(
            title="Images that maximise each class",
            caption=caption_of_classes(findings, confidence),
            images=to_images(pixels),
            labels=labels,
            facts={
                "transforms": N_TRANSFORMS,
                "mean_confidence": float(confidence.transformed.mean()),
                "highest_stated_confidence": 0.99,
            },
        ),
        _table(findings, ["class", "logit", "maximum of the data", "confidence", "under transforms"], rows),
    ]


def channels(findings: Findings, top: Array, pixels: Tensor) -> list[Exhibit]:
    """The images (n, c, h, w) that maximise channels of a layer, and a table of their values.

    top: (n,) bool, whether the channel is the most active one of its layer in its image.
    """
    rows: list[list[Cell]] = [
        [
            name,
            float(value),
            float(maximum),
            float(value / maximum) if maximum > 0 else None,
            "yes" if first else "no",
        ]
        for name, value, maximum, first in zip(
            findings.names, findings.values, findings.maxima, top, strict=True
        )
    ]
    return [
        ImageGrid(
            title=f"Images that maximise channels of {findings.layer_title}",
            caption=caption_of_channels(findings, int(top.sum())),
            images=to_images(pixels),
            labels=[f"{name}\n{value:.3g} ({maximum:.3g})" for name, value, maximum, *_ in rows],
            facts={"exceeding": int(findings.exceeding.sum()), "top": int(top.sum())},
        ),
        _table(
            findings,
            ["channel", "mean", "maximum of the data", "times the maximum", "largest of the layer"],
            rows,
        ),
    ]


def directions(findings: Findings, ends: tuple[str, str], end_values: Array, pixels: Tensor) -> list[Exhibit]:
    """The images (n, c, h, w) of the directions between two units, and a table of their values.

    end_values: (n, 2) confidence in the two classes of `ends`, or mean activation of the two channels.
    """
    rows: list[list[Cell]] = [
        [name, float(value), float(maximum), *map(float, both)]
        for name, value, maximum, both in zip(
            findings.names, findings.values, findings.maxima, end_values, strict=True
        )
    ]
    kind = "mean activation of" if findings.layer else "confidence in"
    columns = ["direction", "weighted sum", "maximum of the data", *(f"{kind} {end}" for end in ends)]
    return [
        ImageGrid(
            title=f"Images that maximise directions between {ends[0]} and {ends[1]}",
            caption=caption_of_directions(findings, ends),
            images=to_images(pixels),
            labels=[f"{name}\n{a:.2f}, {b:.2f}" for name, *_, a, b in rows],
            facts={"exceeding": int(findings.exceeding.sum()), "n": len(rows)},
        ),
        _table(findings, columns, rows),
    ]


def sheet(
    findings: Findings,
    pixels: Tensor,
    images: Images,
    ranked: TopActivations,
    layer: Layer,
    units: Tensor,
) -> Exhibit:
    """Each optimised image beside the top patches of its channel in the data."""
    optimised, tiles = to_images(pixels), []
    size = (pixels.shape[2], pixels.shape[3])
    frame = patch_size(layer, size)
    for image, unit in zip(optimised[:_MOST_ON_SHEET], units.tolist(), strict=False):
        shown = images.select(ranked.image[unit]).pixels()
        crops = [
            framed_crop(whole, receptive_box(layer, row, column, size), frame, limit=max(size))
            for whole, row, column in zip(
                shown, ranked.row[unit].tolist(), ranked.column[unit].tolist(), strict=True
            )
        ]
        tiles += [image, contact_sheet(crops, 2)]
    reached = findings.values / np.where(findings.maxima > 0, findings.maxima, np.nan)
    labels = [
        text
        for name, ratio in zip(findings.names[:_MOST_ON_SHEET], reached, strict=False)
        for text in (f"{name}\n{ratio:.1f} x" if np.isfinite(ratio) else name, "top patches")
    ]
    known = reached[np.isfinite(reached)]
    median = float(np.median(known)) if len(known) else 0.0
    return ImageGrid(
        title="Optimised images and top patches",
        caption=caption_of_sheet(
            median, shown=len(tiles) // 2, n=len(optimised), per_channel=ranked.value.shape[1]
        ),
        images=tiles,
        labels=labels,
        columns=4,
        facts={"median_ratio": median, "patches": ranked.value.shape[1], "n": len(optimised)},
    )


def agreement(agreements: list[Agreement], n: int) -> Exhibit:
    """A table of how often other models agree, with the images without regularisers as a control."""
    return Table(
        title="Agreement of other networks",
        caption=caption_of_agreement(agreements, n),
        columns=["network", "these images", "without regularisers"],
        rows=[[each.name, each.images / n, each.control / n] for each in agreements],
        formats={"these images": "{:.0%}", "without regularisers": "{:.0%}"},
        facts={"n": n},
    )


def numbers_of_agreement(agreements: list[Agreement]) -> dict[str, Number]:
    numbers = {}
    for each in agreements:
        key = snake_case(each.name)
        numbers[f"agreement_{key}"] = Number(
            value=each.images, label=f"images that {each.name} predicts as their class", format="{:.0f}"
        )
        numbers[f"control_agreement_{key}"] = Number(
            value=each.control,
            label=f"images without regularisers that {each.name} predicts as their class",
            format="{:.0f}",
        )
    return numbers


def data_maxima(findings: Findings, names: list[str], images: Images) -> Exhibit:
    """Of the data the image with the largest value for each class or channel. names: of these, without repetition."""
    gap = float(np.median(findings.values - findings.maxima))
    maxima = findings.maxima[:: findings.diverse]
    return ImageGrid(
        title="Images of the data with the largest values",
        caption=caption_of_data_maxima(findings, gap),
        images=to_images(images.pixels()),
        labels=[f"{name}\n{value:.3g}" for name, value in zip(names, maxima, strict=True)],
        facts={"median_gap": abs(gap)},
    )


def history(findings: Findings, values: Tensor) -> Exhibit:
    """The objective over the steps. values: (steps, n), on the CPU."""
    drawn = min(_MOST_LINES, len(findings.names))
    mean = values.float().mean(1)
    tenth = max(1, len(mean) // 10)
    parts = mean[len(mean) // 2 :][:tenth], mean[-tenth:]
    middle, end = (float(part.mean()) for part in parts)
    noise = sum(float(part.var(unbiased=False)) / len(part) for part in parts) ** 0.5
    rising = end - middle > 2 * noise
    steps = np.arange(1, len(values) + 1)
    return Chart(
        title="Objective over the steps",
        caption=caption_of_history(middle, end, rising=rising, drawn=drawn, n=len(findings.names)),
        lines=[Line(name=findings.names[i], x=steps, y=values[:, i].float().numpy()) for i in range(drawn)],
        x_label="step",
        y_label="objective",
        facts={"mean_at_middle": middle, "mean_at_end": end, "n": len(findings.names)},
    )


def numbers_of_classes(findings: Findings, confidence: Confidence) -> dict[str, Number]:
    n = len(findings.names)
    return {
        "min_confidence": Number(
            value=float(confidence.plain.min()),
            label="lowest confidence in the class",
            n=n,
            format="{:.3f}",
        ),
        "min_confidence_transformed": Number(
            value=float(confidence.transformed.min()),
            label="lowest mean confidence under random transforms",
            n=N_TRANSFORMS,
            format="{:.3f}",
        ),
        "proportion_exceeding_data": _proportion_exceeding(findings),
    }


def numbers_of_directions(findings: Findings) -> dict[str, Number]:
    return {"proportion_exceeding_data": _proportion_exceeding(findings)}


def numbers_of_channels(findings: Findings, top: Array) -> dict[str, Number]:
    return {
        "proportion_exceeding_data": _proportion_exceeding(findings),
        "proportion_largest_of_layer": Number(
            value=float(top.mean()),
            label="images in which the channel is the most active of its layer",
            n=len(top),
            format="{:.0%}",
        ),
    }


def _proportion_exceeding(findings: Findings) -> Number:
    with_gradient = findings.exceeding[~findings.dead]
    return Number(
        value=float(with_gradient.mean()) if len(with_gradient) else 0.0,
        label="images that exceed the maximum of the data",
        n=len(with_gradient),
        format="{:.0%}",
    )


def _table(findings: Findings, columns: list[str], rows: list[list[Cell]]) -> Table:
    exceeding = int(findings.exceeding.sum())
    return Table(
        title="Values of the images",
        caption=caption_of_table(exceeding, len(rows)),
        columns=columns,
        rows=rows,
        formats={
            column: "{:.3f}" if column.startswith(("confidence", "under")) else "{:.3g}"
            for column in columns[1:]
            if column != "largest of the layer"
        },
        facts={"exceeding": exceeding},
    )
