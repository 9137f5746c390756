"""Exhibits of `compare`: the maps of several models on one scale, and their confidence."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from probe.analyses.attribution.attribution_exhibits import full_colour
from probe.analyses.attribution.explanations import Explanation, mean_similarity
from probe.analyses.attribution.randomisation_captions import (
    RANDOMISATION_FACTS,
    blank_facts,
    randomisation_verdict,
)
from probe.analyses.attribution.selection import Selection, single_line
from probe.exhibits.exhibits import Cell, Chart, ImageGrid, Line, Table
from probe.exhibits.heatmaps import QUANTILE, in_full_colours, unit_scale
from probe.exhibits.result import Number, proportion
from probe.exhibits.wording import counted, listed, percent, sentences, unsigned
from probe.methods.attribution.sanity_checks import RandomisationResult
from probe.model.model import Model


@dataclass(frozen=True, kw_only=True)
class ModelFindings:
    """What the caption states of the maps of one further model.

    similarity: (n,) rank correlations with the maps of the first model, NaN where one of them is blank. ratio: of the
    mean magnitudes of the shown ones; None where those of the first model are zero.
    """

    name: str
    similarity: np.ndarray
    ratio: float | None

    @property
    def known(self) -> np.ndarray:
        return self.similarity[~np.isnan(self.similarity)]

    @property
    def text(self) -> str:
        known = self.known
        if not len(known):
            return f"nothing with those of {self.name}, as all are blank"
        return f"{mean_similarity(known)} with those of {self.name} ({counted(len(known))})"


@dataclass(frozen=True, kw_only=True)
class CompareFindings:
    """What the caption of one method states. randomisation: by the name of the model, the first one first."""

    title: str
    first: str
    others: list[ModelFindings]
    randomisation: list[tuple[str, RandomisationResult]]


def compare_caption(f: CompareFindings) -> str:
    similarities = [other.text for other in f.others]
    ratios = [
        f"those of {other.name} are on average {_times(other.ratio)}"
        for other in f.others
        if other.ratio is not None
    ]
    blank = [
        f"{int(np.isnan(other.similarity).sum())} of {len(other.similarity)} with {other.name}"
        for other in f.others
        if np.isnan(other.similarity).any()
    ]
    verdicts = [f"On {name}: {randomisation_verdict(f.title, result)}" for name, result in f.randomisation]
    return sentences(
        f"Maps of {f.first} have a mean rank correlation of {listed(similarities)}.",
        ratios and f"In magnitude {listed(ratios)}.",
        blank and f"Pairs with a blank map are excluded: {listed(blank)}.",
        f"The maps of an image are on one scale, with full colour at the {QUANTILE:.0%} quantile of their magnitudes.",
        *verdicts,
    )


def _times(ratio: float) -> str:
    text = f"{ratio:.2g}"
    return "equally large" if text == "1" else f"{text} times as large"


def maps_exhibit(
    models: list[Model], selection: Selection, explanations: list[Explanation], similarity: list[np.ndarray]
) -> ImageGrid:
    """A row per image, a column per model; the maps of an image are on one scale.

    similarity: for each further model, (n,) rank correlations with the maps of the first, the shown ones first.
    """
    raw = torch.stack([e.maps for e in explanations], 1).float().cpu().numpy()
    maps, limits = in_full_colours(raw)
    title, kind = explanations[0].title, explanations[0].method.kind
    magnitudes = np.abs(raw).mean((0, 2, 3))
    ratios = [float(magnitude / magnitudes[0]) if magnitudes[0] > 0 else None for magnitude in magnitudes[1:]]
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
        facts=RANDOMISATION_FACTS | _facts(explanations, findings),
        images=[part for image, row in zip(selection.images, maps, strict=True) for part in (image, *row)],
        labels=[
            text
            for i, limit in enumerate(limits)
            for text in ("", full_colour(limit), *(_pair(values[i]) for values in similarity))
        ],
        columns=1 + len(models),
        column_headers=["image", *(model.name for model in models)],
        row_headers=selection.headers(models[0]),
        scale=unit_scale(kind, title),
    )


def _pair(similarity: float) -> str:
    return "blank" if np.isnan(similarity) else f"similarity {unsigned(f'{similarity:.2f}')}"


def _facts(explanations: list[Explanation], findings: CompareFindings) -> dict[str, float]:
    """The ratios of magnitudes, and the similarities before and after randomisation of every model."""
    facts: dict[str, float] = {"full_colour_quantile": QUANTILE}
    for i, other in enumerate(findings.others, 1):
        known = other.known
        facts |= {f"compared_images_{i}": len(known), f"blank_pairs_{i}": len(other.similarity) - len(known)}
        facts[f"images_{i}"] = len(other.similarity)
        if other.ratio is not None:
            facts[f"magnitude_ratio_{i}"] = other.ratio
    for i, explanation in enumerate(explanations):
        facts |= blank_facts(str(i), explanation.randomisation)
        for key, number in explanation.similarity.items():
            ends = {"low": number.low, "high": number.high, "mean": number.value, "n": number.n}
            facts |= {f"{key}_{i}_{end}": float(value) for end, value in ends.items() if value is not None}
    return facts


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What the models predict for n images. correct: of each model, None without labels.

    agree: predictions of each further model that are those of the first; None where the classes differ.
    """

    names: tuple[str, ...]
    n: int
    correct: tuple[int, ...] | None
    agree: tuple[int, ...] | None

    def numbers(self) -> dict[str, Number]:
        """The accuracy of each model and its agreement with the first, with their intervals."""
        numbers: dict[str, Number] = {}
        if not self.n:
            return numbers
        for i, hits in enumerate(self.correct or ()):
            numbers[f"accuracy_{i}"] = proportion(hits, self.n, label=f"accuracy of {self.names[i]}")
        for i, same in enumerate(self.agree or (), 1):
            label = f"predictions of {self.names[i]} that equal those of {self.names[0]}"
            numbers[f"agreement_{i}"] = proportion(same, self.n, label=label)
        return numbers


def predictions_caption(f: Predictions) -> str:
    numbers = f.numbers()
    accuracies = [f"{f.names[i]} {numbers[f'accuracy_{i}']}" for i in range(len(f.correct or ()))]
    agreements = [f"{f.names[i]} {numbers[f'agreement_{i}']}" for i in range(1, 1 + len(f.agree or ()))]
    return sentences(
        not f.n and "There are no images other than the explained ones.",
        f.n and not accuracies and f"The true classes of {counted(f.n)} are not known.",
        f.n and accuracies and f"Accuracy on {counted(f.n)}: {listed(accuracies)}.",
        f.n and agreements and f"Predictions that equal those of {f.names[0]}: {listed(agreements)}.",
        "Ranges are 95% intervals.",
    )


def predictions_table(f: Predictions) -> Table:
    """A row per model: its accuracy, and how often it predicts what the first one does."""
    numbers = f.numbers()
    columns = ["model", "images"]
    columns += ["accuracy", "accuracy, low", "accuracy, high"] if f.correct is not None else []
    columns += (
        ["agreement with the first", "agreement, low", "agreement, high"] if f.agree is not None else []
    )
    rows: list[list[Cell]] = []
    for i, name in enumerate(f.names):
        row: list[Cell] = [name, f.n]
        for kind, known in (("accuracy", f.correct), ("agreement", f.agree)):
            if known is not None:
                number = numbers.get(f"{kind}_{i}")
                row += [None] * 3 if number is None else [number.value, number.low, number.high]
        rows.append(row)
    return Table(
        title="Predictions of the models",
        caption=predictions_caption(f),
        columns=columns,
        rows=rows,
        formats=dict.fromkeys(columns[2:], "{:.1%}"),
    )


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
        ticks=[single_line(header) for header in selection.headers(models[0])],
        x_label="image",
        y_label="probability",
        y_range=(0.0, 1.0),
    )
