"""Exhibits, captions, numbers and warnings of DeepDream."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from probe.analyses.synthesis.picture_input import size_text
from probe.exhibits.exhibits import Chart, Exhibit, ImageGrid, Line
from probe.exhibits.result import Number
from probe.exhibits.tiles import to_image
from probe.exhibits.wording import counted, listed, sentences
from probe.methods.synthesis.dream import Dreamed

_LITTLE = 1.05


@dataclass(frozen=True)
class Findings:
    """What was dreamed on and how much more the layers respond.

    size, original: (height, width) of the work and of the file. layers: addresses. guide: name of the guide picture or
    "". before, after: value of the objective on the picture and on the dream, without shifts. change: mean absolute
    change of a pixel in [0, 1]. tiles: whether it was computed in tiles.
    """

    picture: str
    size: tuple[int, int]
    original: tuple[int, int]
    layers: list[str]
    guide: str
    octaves: int
    steps: int
    before: float
    after: float
    change: float
    diverged: bool
    tiles: bool

    @property
    def gain(self) -> float:
        """How many times as large the objective is; 0 where it was not above zero before."""
        return self.after / self.before if self.before > 0 else 0.0

    @property
    def quantity(self) -> str:
        return "match with the guide" if self.guide else "response"


def exhibits(findings: Findings, picture: Tensor, dreamt: Dreamed) -> list[Exhibit]:
    """The picture and its dream, the dream after each octave, and the objective over the steps."""
    facts = {
        "gain": findings.gain,
        "change_of_255": 255 * findings.change,
        "width": findings.size[1],
        "height": findings.size[0],
        "original_width": findings.original[1],
        "original_height": findings.original[0],
        "octaves": findings.octaves,
    }
    shown: list[Exhibit] = [
        ImageGrid(
            title=f"DeepDream of {listed(findings.layers, 3)}",
            caption=caption(findings),
            images=[to_image(picture[0]), to_image(dreamt.pixels[0])],
            labels=[findings.picture, "dream"],
            columns=2,
            facts=facts,
        )
    ]
    if len(dreamt.octaves) > 1:
        shown.append(
            ImageGrid(
                title="After each octave",
                caption=caption_of_octaves(findings),
                images=[to_image(stage[0]) for stage in dreamt.octaves],
                labels=[size_text((stage.shape[2], stage.shape[3])) for stage in dreamt.octaves],
                columns=len(dreamt.octaves),
                facts={"octaves": findings.octaves},
            )
        )
    lines, start = [], 0
    for stage, values in zip(dreamt.octaves, dreamt.history, strict=True):
        steps = np.arange(start + 1, start + len(values) + 1)
        size = size_text((stage.shape[2], stage.shape[3]))
        lines.append(Line(name=size, x=steps, y=values.float().numpy() / (stage.shape[2] * stage.shape[3])))
        start += len(values)
    risen = [bool(line.y[-1] > line.y[0]) for line in lines]
    shown.append(
        Chart(
            title="Response over the steps",
            caption=caption_of_steps(findings, sum(risen)),
            lines=lines,
            x_label="step",
            y_label=f"{findings.quantity}, per pixel",
            facts={"risen": sum(risen), "octaves": findings.octaves},
        )
    )
    return shown


def numbers(findings: Findings) -> dict[str, Number]:
    return {
        "response_gain": Number(
            value=findings.gain,
            label=f"{findings.quantity} of the layers, times that of the picture",
            format="{:.2f}",
        ),
        "mean_change": Number(
            value=255 * findings.change, label="mean change of a pixel, of 255 grey levels", format="{:.1f}"
        ),
    }


def caption(findings: Findings) -> str:
    size, original = size_text(findings.size), size_text(findings.original)
    return sentences(
        f"{findings.picture} at {size} pixels"
        f"{f' (of {original})' if findings.size != findings.original else ''}, "
        f"and the same picture after {counted(findings.steps, 'step')} at {counted(findings.octaves, 'size')}, which "
        f"{'move' if findings.guide else 'amplify'} the response of {listed(findings.layers, 3)}{_guided(findings)}.",
        findings.gain > 0
        and f"The {findings.quantity} is {findings.gain:.2f} times as large as for the picture; the mean change of a pixel is "
        f"{255 * findings.change:.1f} of 255 grey levels.",
        "What appears is what the layer responds to, wherever the picture contains a trace of it.",
    )


def caption_of_octaves(findings: Findings) -> str:
    return sentences(
        f"The picture after the steps at each of {counted(findings.octaves, 'size')}, scaled to the same size.",
        "Small sizes produce large structures, to which larger sizes add detail.",
    )


def caption_of_steps(findings: Findings, risen: int) -> str:
    return sentences(
        "The objective for the shifted picture before each step, divided by the number of pixels; one line per size.",
        f"It is higher at the end than at the start for {risen} of {counted(findings.octaves, 'size')}.",
    )


def warnings(findings: Findings) -> list[str]:
    lines = []
    if findings.diverged:
        lines.append(
            "The values became NaN or infinite; the last picture before that is shown. A smaller --step may help."
        )
    if findings.before <= 0 and findings.after <= 0:
        lines.append(
            f"{listed(findings.layers, 3)} does not respond to this picture at all, so nothing could be amplified. Choose "
            "other channels or another picture."
        )
    elif findings.before > 0 and findings.gain < _LITTLE:
        lines.append(
            f"The {findings.quantity} has hardly grown ({findings.gain:.2f} times). More --steps or a larger --step are "
            "needed to see what the layer responds to."
        )
    return lines


def _guided(findings: Findings) -> str:
    return f" towards the features of {findings.guide}" if findings.guide else ""
