"""Exhibits of `compare`: the maps of several models on one scale, and their confidence."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from probe.analyses.attribution.explanations import Explanation
from probe.analyses.attribution.randomisation_captions import RANDOMISATION_FACTS, randomisation_verdict
from probe.analyses.attribution.selection import Selection
from probe.exhibits.exhibits import Chart, ImageGrid, Line
from probe.exhibits.heatmaps import heatmap_scale
from probe.exhibits.wording import listed, percent, sentences, unsigned
from probe.methods.attribution.sanity_checks import RandomisationResult
from probe.model.model import Model


@dataclass(frozen=True, kw_only=True)
class ModelFindings:
    """What the caption states of the maps of one further model.

    similarity: (n,) rank correlations with the maps of the first model. ratio: of the mean magnitudes.
    """

    name: str
    similarity: np.ndarray
    ratio: float


@dataclass(frozen=True, kw_only=True)
class CompareFindings:
    """What the caption of one method states. randomisation: by the name of the model, the first one first."""

    title: str
    first: str
    others: list[ModelFindings]
    randomisation: list[tuple[str, RandomisationResult]]


def compare_caption(f: CompareFindings) -> str:
    similarities = [
        f"{_decimals(other.similarity.mean())} with those of {other.name} "
        f"({_decimals(other.similarity.min())} to {_decimals(other.similarity.max())})"
        for other in f.others
    ]
    ratios = [f"those of {other.name} are on average {_times(other.ratio)}" for other in f.others]
    verdicts = [f"On {name}: {randomisation_verdict(f.title, result)}" for name, result in f.randomisation]
    return sentences(
        f"Maps of {f.first} have a mean rank correlation of {listed(similarities)}; {listed(ratios)}.",
        "All maps are on one scale.",
        *verdicts,
    )


def _decimals(value: float) -> str:
    return unsigned(f"{value:.2f}")


def _times(ratio: float) -> str:
    text = f"{ratio:.2g}"
    return "equally large" if text == "1" else f"{text} times as large"


def maps_exhibit(
    models: list[Model], selection: Selection, explanations: list[Explanation], similarity: list[np.ndarray]
) -> ImageGrid:
    """A row per image, a column per model; all maps on one scale.

    similarity: for each further model, (n,) rank correlations with the maps of the first.
    """
    maps = torch.stack([e.maps[: len(selection)] for e in explanations], 1).float().cpu().numpy()
    title, kind = explanations[0].title, explanations[0].method.kind
    scale = heatmap_scale(maps, kind, title)
    magnitudes = np.abs(maps).mean((0, 2, 3))
    ratios = [float(magnitude) / max(float(magnitudes[0]), 1e-30) for magnitude in magnitudes[1:]]
    findings = CompareFindings(
        title=title,
        first=models[0].name,
        others=[
            ModelFindings(name=model.name, similarity=values, ratio=ratio)
            for model, values, ratio in zip(models[1:], similarity, ratios, strict=True)
        ],
        randomisation=[(m.name, e.randomisation) for m, e in zip(models, explanations, strict=True)],
    )
    return ImageGrid(
        title=f"{title}: {selection.description}",
        caption=compare_caption(findings),
        facts=RANDOMISATION_FACTS | _facts(explanations, ratios),
        images=[part for image, row in zip(selection.images, maps, strict=True) for part in (image, *row)],
        labels=[
            text
            for i in range(len(selection))
            for text in ("", "", *(f"similarity {values[i]:.2f}" for values in similarity))
        ],
        columns=1 + len(models),
        column_headers=["image", *(model.name for model in models)],
        row_headers=selection.headers(models[0]),
        scale=scale,
    )


def _facts(explanations: list[Explanation], ratios: list[float]) -> dict[str, float]:
    """The ratios of magnitudes, and the similarities before and after randomisation of every model."""
    facts = {f"magnitude_ratio_{i}": ratio for i, ratio in enumerate(ratios, 1)}
    for i, explanation in enumerate(explanations):
        for key, number in explanation.similarity.items():
            ends = {"low": number.low, "high": number.high, "mean": number.value, "n": number.n}
            facts |= {f"{key}_{i}_{end}": float(value) for end, value in ends.items() if value is not None}
    return facts


@dataclass(frozen=True, kw_only=True)
class ConfidenceFindings:
    """What the caption of the confidences states: the mean confidence of each model, the first one first."""

    names: list[str]
    means: list[float]


def confidence_caption(f: ConfidenceFindings) -> str:
    others = [f"{name} {percent(mean)}" for name, mean in zip(f.names[1:], f.means[1:], strict=True)]
    return f"{f.names[0]} gives the class that it predicts a mean probability of {percent(f.means[0])}, {listed(others)}."


def confidence_chart(models: list[Model], selection: Selection, confidences: list[Tensor]) -> Chart:
    """The probability that each model gives to the prediction of the first."""
    names = [model.name for model in models]
    means = [float(values.mean()) for values in confidences]
    return Chart(
        title=f"Confidence of each model in the prediction of {names[0]}",
        caption=confidence_caption(ConfidenceFindings(names=names, means=means)),
        facts={f"mean_confidence_{i}": mean for i, mean in enumerate(means)},
        kind="bar",
        lines=[
            Line(name=name, x=np.arange(len(selection)), y=values.numpy())
            for name, values in zip(names, confidences, strict=True)
        ],
        ticks=selection.headers(models[0]),
        x_label="image",
        y_label="probability",
        y_range=(0.0, 1.0),
    )
