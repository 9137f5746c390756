"""Exhibits, captions, numbers and warnings of style transfer."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from probe.analyses.synthesis.picture_input import size_text
from probe.exhibits.exhibits import Cell, Chart, Exhibit, ImageGrid, Line, Table
from probe.exhibits.result import Number
from probe.exhibits.tiles import to_image
from probe.exhibits.wording import counted, listed, percent, sentences
from probe.methods.synthesis.style import Transferred

_LITTLE = 0.5
_LOST = 1.5


@dataclass(frozen=True)
class Findings:
    """What was transferred, and how.

    size, original: (height, width) of the work and of the content's file. sizes: (height, width) from small to large.
    paper: whether losses are in the scale of the paper, else relative to the features.
    """

    content: str
    styles: list[str]
    size: tuple[int, int]
    original: tuple[int, int]
    content_layers: list[str]
    style_layers: list[str]
    steps: int
    sizes: list[tuple[int, int]]
    paper: bool
    start: str
    keep_colours: bool
    style_weight: float
    diverged: bool


def style_left(parts: list[Transferred]) -> float:
    """The style loss of the result over that of the content picture, mean over the layers."""
    ratios = [
        parts[-1].style_loss[layer][1] / max(first, 1e-12)
        for layer, (first, _) in parts[0].style_loss.items()
    ]
    return float(np.mean(ratios))


def content_error(parts: list[Transferred]) -> float:
    """The content loss of the result, mean over the layers."""
    return float(np.mean([after for _, after in parts[-1].content_loss.values()]))


def exhibits(
    findings: Findings, content: Tensor, styles: list[Tensor], parts: list[Transferred], result: Tensor
) -> list[Exhibit]:
    """The pictures, the loss over the steps, and the losses of each layer, of the content and of the result."""
    shown: list[Exhibit] = [
        ImageGrid(
            title="Style transfer",
            caption=caption(findings, content_error(parts), style_left(parts)),
            images=[to_image(result[0]), to_image(content[0]), *(to_image(style[0]) for style in styles)],
            labels=["result", findings.content, *findings.styles],
            columns=2 + len(styles),
            facts=_facts(findings, parts),
        )
    ]
    lines, start = [], 0
    for size, part in zip(findings.sizes, parts, strict=True):
        values = part.history.float().numpy()
        lines.append(Line(name=size_text(size), x=np.arange(start + 1, start + len(values) + 1), y=values))
        start += len(values)
    shown.append(
        Chart(
            title="Weighted loss over the steps",
            caption=caption_of_steps(findings),
            lines=lines,
            x_label="step",
            y_label="loss",
            y_log=all(bool((line.y > 0).all()) for line in lines),
            facts={"sizes": len(findings.sizes)},
        )
    )
    rows: list[list[Cell]] = []
    for kind, losses in (("content", parts[-1].content_loss), ("style", parts[-1].style_loss)):
        for layer, (before, after) in losses.items():
            rows.append([kind, layer, before, after])
    ticks = list(parts[-1].style_loss)
    depth = np.arange(len(ticks))
    shown.append(
        Chart(
            title="Style loss of each layer",
            caption=caption_of_layers(style_left(parts)),
            lines=[
                Line(name="content", x=depth, y=np.array([parts[-1].style_loss[a][0] for a in ticks])),
                Line(name="result", x=depth, y=np.array([parts[-1].style_loss[a][1] for a in ticks])),
            ],
            x_label="layer",
            y_label="style loss",
            kind="bar",
            ticks=ticks,
            facts={"style_left": style_left(parts)},
        )
    )
    shown.append(
        Table(
            title="Losses by layer",
            caption=caption_of_table(findings),
            columns=["loss", "layer", "content", "result"],
            rows=rows,
            formats={"content": "{:.3g}", "result": "{:.3g}"},
        )
    )
    return shown


def numbers(findings: Findings, parts: list[Transferred]) -> dict[str, Number]:
    return {
        "content_error": Number(
            value=content_error(parts), label="content loss of the result", format="{:.3f}"
        ),
        "style_left": Number(
            value=style_left(parts), label="style loss of the result, of that of the content", format="{:.1%}"
        ),
    }


def caption(findings: Findings, content: float, left: float) -> str:
    return sentences(
        f"{findings.content} at {size_text(findings.size)} pixels"
        f"{f' (of {size_text(findings.original)})' if findings.size != findings.original else ''} in the style of "
        f"{listed(findings.styles, 3)}, after {counted(findings.steps, 'step')} at {counted(len(findings.sizes), 'size')} from "
        f"{'the content picture' if findings.start == 'content' else 'noise'}. The content is that of "
        f"{listed(findings.content_layers, 3)}, the style the Gram matrices of "
        f"{counted(len(findings.style_layers), 'layer')}.",
        findings.keep_colours and "Only the luminance was transferred; the colours are those of the content.",
        f"The style loss is {percent(left)} of that of the content picture.",
        not findings.paper
        and f"The content loss is {content:.2f}, relative to the squared features of the content picture.",
    )


def caption_of_steps(findings: Findings) -> str:
    return sentences(
        f"The minimised loss at {counted(len(findings.sizes), 'size')}; rejected steps of the line search are included.",
    )


def caption_of_layers(left: float) -> str:
    return sentences(
        "Difference to the Gram matrices of the style in each layer, for the content picture and for the result.",
        f"On average, that of the result is {percent(left)} of that of the content picture.",
    )


def caption_of_table(findings: Findings) -> str:
    return sentences(
        "Unweighted losses of the content picture and of the result.",
        findings.paper
        and "The scale is that of the paper: mean squared differences, divided by the squared number of channels for the style.",
        not findings.paper
        and "Losses are relative to the squared features of the content and the squared Gram matrices of the style.",
    )


def warnings(findings: Findings, parts: list[Transferred]) -> list[str]:
    lines = []
    if findings.diverged:
        lines.append("The loss became NaN or infinite; the last picture before that is shown.")
    if style_left(parts) > _LITTLE:
        lines.append(
            f"{percent(style_left(parts))} of the style loss is left. More --steps or a larger --style-weight are needed for "
            "the result to take on the style."
        )
    if not findings.paper and content_error(parts) > _LOST:
        lines.append(
            f"Little of the content is left (content loss {content_error(parts):.2f}): a smaller --style-weight than "
            f"{findings.style_weight:g} keeps more of it."
        )
    return lines


def _facts(findings: Findings, parts: list[Transferred]) -> dict[str, float]:
    return {
        "style_left": style_left(parts),
        "content_error": content_error(parts),
        "width": findings.size[1],
        "height": findings.size[0],
        "original_width": findings.original[1],
        "original_height": findings.original[0],
        "sizes": len(findings.sizes),
        "style_layers": len(findings.style_layers),
    }
