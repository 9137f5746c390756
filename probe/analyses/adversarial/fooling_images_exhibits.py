"""Exhibits, captions, numbers and warnings of fooling images."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from probe.exhibits.exhibits import Array, Cell, Exhibit, ImageGrid, Table
from probe.exhibits.result import Number, proportion
from probe.exhibits.tiles import to_image, to_images
from probe.exhibits.wording import counted, listed, percent, sentences, snake_case

IMAGE, NOISE, SMOOTH = "from an image", "from noise", "smooth pattern"
ROWS = (IMAGE, NOISE, SMOOTH)


@dataclass(frozen=True)
class Findings:
    """What the network is certain of.

    own: the class of the image from which the first row starts. targets: names. confidence: (3, n) in the target, of
    the rows. norms: (n,) L2 change of the image, in pixel units. wanted: confidence at which an image is left.
    own_target: (n,) bool, the target is the class of the image.
    """

    own: str
    targets: list[str]
    confidence: Array
    norms: Array
    wanted: float
    steps: int
    own_target: Array

    @property
    def reached(self) -> Array:
        """(3, n) bool; rounding is let pass."""
        return self.confidence >= self.wanted - 1e-4

    @property
    def median_norm(self) -> float:
        """Of the changes that led from the image to another class; 0 if there is none."""
        other = self.reached[0] & ~self.own_target
        return float(np.median(self.norms[other])) if other.any() else 0.0


def exhibits(
    findings: Findings, start: Tensor, rows: list[Tensor], others: dict[str, list[int]]
) -> list[Exhibit]:
    """The images by target class, and a table of how many reach the confidence. others: agreement by network."""
    confidence = findings.confidence
    labels = [f"{value:.2f}" for row in confidence for value in row]
    n = len(findings.targets)
    columns = ["image", "reached", "median confidence", *others]
    table: list[list[Cell]] = [
        [
            name,
            int(findings.reached[i].sum()),
            float(np.median(confidence[i])),
            *(v[i] for v in others.values()),
        ]
        for i, name in enumerate(ROWS)
    ]
    return [
        ImageGrid(
            title=f"The image of {findings.own} from which the first row starts",
            caption=caption_of_start(findings),
            images=[to_image(start[0])],
            labels=[findings.own],
        ),
        ImageGrid(
            title="Images that the network classifies with high confidence",
            caption=caption(findings),
            images=[image for row in rows for image in to_images(row)],
            labels=labels,
            columns=n,
            column_headers=findings.targets,
            row_headers=list(ROWS),
            facts={
                "wanted": findings.wanted,
                "reached": int(findings.reached.sum()),
                "images": findings.reached.size,
                "median_norm": findings.median_norm,
            },
        ),
        Table(
            title="Confidence in the target",
            caption=caption_of_table(findings, others),
            columns=columns,
            rows=table,
            formats={"median confidence": "{:.3f}"},
            facts={"n": n},
        ),
    ]


def numbers(findings: Findings, others: dict[str, list[int]]) -> dict[str, Number]:
    n = len(findings.targets)
    values: dict[str, Number] = {
        f"reached_{snake_case(name)}": proportion(
            int(findings.reached[i].sum()), n, label=f"targets reached, {name}", format="{:.0%}"
        )
        for i, name in enumerate(ROWS)
    }
    if findings.median_norm:
        values["median_l2"] = Number(
            value=findings.median_norm, label="median L2 change of the image", format="{:.2f}"
        )
    for name, agreeing in others.items():
        values[f"transferred_{snake_case(name)}"] = proportion(
            sum(agreeing), n * len(ROWS), label=f"images that {name} predicts as the target", format="{:.0%}"
        )
    return values


def caption(findings: Findings) -> str:
    return sentences(
        f"Images optimised to raise one class each, from the image of {findings.own}, from uniform noise, and as patterns of low "
        f"spatial frequencies, until the network's confidence is {percent(findings.wanted)} or {counted(findings.steps, 'step')} "
        "are taken; below each its confidence.",
        f"{int(findings.reached.sum())} of {findings.reached.size} reach it.",
        findings.median_norm > 0
        and f"The median L2 change from the image to another class is {findings.median_norm:.2f}.",
        "High confidence does not mean that an image shows anything.",
    )


def caption_of_start(findings: Findings) -> str:
    return (
        f"The image of the data that the network classifies with the highest confidence, as {findings.own}."
    )


def caption_of_table(findings: Findings, others: dict[str, list[int]]) -> str:
    return sentences(
        f"How many of the {len(findings.targets)} images of each row reach the confidence.",
        bool(others)
        and f"In the last {'columns' if len(others) > 1 else 'column'}, how many are predicted as the target by "
        f"{listed(list(others), 3)}.",
    )


def warnings(findings: Findings) -> list[str]:
    missed = [name for name, row in zip(ROWS, findings.reached, strict=True) if not row.all()]
    if not missed:
        return []
    return [
        f"Not every target was reached {listed(missed)}: this does not show that such images do not exist; more --steps or a "
        "larger --step may find them."
    ]
