"""The exhibits of a sweep: numbers of the models as a table and as curves, agreement of predictions, outliers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from probe.exhibits.exhibits import Cell, Chart, Exhibit, Line, Matrix, Table
from probe.exhibits.result import Number, Result
from probe.exhibits.wording import capitalised, counted, listed, sentences

FENCE = 1.5
"""Interquartile ranges beyond the quartiles from which a value is an outlier (Tukey 1977)."""

_FEWEST = 5  # models with which quartiles mean something
_MOST_CELLS = 40  # models of a matrix that can be read


@dataclass(frozen=True)
class SweptModel:
    """One model of a sweep.

    page: of its report, relative to that of the sweep. position: on the axis `over` of the curves, or None for its
    place in the sweep. numbers: its headline numbers by their label. classes: (n,) its predictions, or None.
    """

    name: str
    page: str
    position: float | None
    numbers: dict[str, Number]
    classes: np.ndarray | None
    over: str = ""


@dataclass(frozen=True)
class CurveFindings:
    """A number over the models: the models of its lowest and highest value, and how these are written.

    intervals: as what 95% intervals are drawn, empty for none. A number that is the same for all models has no curve.
    """

    label: str
    models: int
    lowest_models: tuple[str, ...]
    lowest: str
    highest_models: tuple[str, ...]
    highest: str
    intervals: str = ""


@dataclass(frozen=True)
class AgreementFindings:
    """Consecutive models of a sweep: the pair whose predictions agree least, the median, and the number of images."""

    first: str
    second: str
    lowest: float
    median: float
    images: int
    models: int


@dataclass(frozen=True)
class Outlier:
    """A model whose number lies far from the quartiles of all models."""

    model: str
    label: str
    value: str
    first_quartile: str
    third_quartile: str


def curve_caption(f: CurveFindings) -> str:
    return sentences(
        f"{capitalised(f.label)} is highest for {_several(f.highest_models)} ({f.highest}) and lowest for "
        f"{_several(f.lowest_models)} ({f.lowest}).",
        f.intervals and f"95% intervals for other images are drawn as {f.intervals}.",
    )


def _several(models: Sequence[str]) -> str:
    """The models that share a value, by name or number."""
    return listed(list(models)) if len(models) < 3 else f"{len(models)} models"


def agreement_caption(f: AgreementFindings) -> str:
    return sentences(
        f"Consecutive models give the same prediction to {f.median:.1%} of {counted(f.images)} (median); "
        f"{f.first} and {f.second} agree least, on {f.lowest:.1%}.",
    )


def outlier_caption(outliers: Sequence[Outlier], models: int, numbers: int, over: str = "") -> str:
    """over: the field in whose order the models are, if any."""
    names = list(dict.fromkeys(outlier.model for outlier in outliers))
    return sentences(
        models < _FEWEST
        and f"With {counted(models, 'model')} no outliers can be identified: at least {_FEWEST} are needed.",
        models >= _FEWEST
        and not outliers
        and f"None of the {models} models is an outlier in any of {counted(numbers, 'number')}.",
        bool(outliers)
        and f"{listed(names, most=4)} {'is an outlier' if len(names) == 1 else 'are outliers'}: a number lies more than {FENCE:g} "
        "interquartile ranges beyond the quartiles of all models.",
        bool(outliers)
        and bool(over)
        and f"Where a number changes quickly at first and then little over {over}, the first models are outliers for this reason alone.",
    )


def sweep_result(models: Sequence[SweptModel]) -> Result:
    """The exhibits and numbers of a sweep over `models`, in the order of their positions."""
    models = _short_names(models)
    ordered = sorted(models, key=lambda m: m.position or 0.0) if _has_positions(models) else list(models)
    labels = list(dict.fromkeys(label for model in ordered for label in model.numbers))
    outliers = find_outliers(ordered, labels)
    exhibits: list[Exhibit] = [number_table(ordered, labels), outlier_table(ordered, labels, outliers)]
    exhibits += [curve(ordered, label) for label in labels if _values(ordered, label) > 1]
    exhibits += agreement(ordered)
    numbers = {
        "models": Number(value=len(ordered), label="models", format="{:.0f}"),
        "outliers": Number(
            value=len({o.model for o in outliers}),
            label="outliers among the models",
            format="{:.0f}",
        ),
    }
    if len(pairs := _agreements(ordered)):
        numbers["lowest_agreement"] = Number(
            value=min(pairs), label="lowest agreement of consecutive models", format="{:.1%}"
        )
    return Result(exhibits=exhibits, numbers=numbers, title="Sweep")


def number_table(models: Sequence[SweptModel], labels: Sequence[str]) -> Table:
    """The headline numbers of every model."""
    over = models[0].over if _has_positions(models) else ""
    rows: list[list[Cell]] = []
    for model in models:
        cells: list[Cell] = [model.name, *([model.position] if over else [])]
        cells += [model.numbers[label].value if label in model.numbers else None for label in labels]
        rows.append(cells)
    constant = [
        label
        for label in labels
        if len(models) > 1 and all(label in m.numbers for m in models) and _values(models, label) == 1
    ]
    formats = {label: next(m.numbers[label].format for m in models if label in m.numbers) for label in labels}
    return Table(
        title="Numbers of the models",
        caption=sentences(
            f"{counted(len(models), 'model')}; the report of each is linked at the top of the page.",
            bool(constant) and f"The same for all models: {listed(constant)}.",
        ),
        columns=["model", *([over] if over else []), *labels],
        rows=rows,
        formats=formats | ({over: "{:g}"} if over else {}),
        facts={"models": len(models)},
    )


def curve(models: Sequence[SweptModel], label: str) -> Chart:
    """One number over the models, with its 95% intervals."""
    chosen = [model for model in models if label in model.numbers]
    numbers = [model.numbers[label] for model in chosen]
    values = np.array([number.value for number in numbers])
    positions = _has_positions(chosen)
    x = np.array([m.position for m in chosen], dtype=float) if positions else np.arange(len(chosen))
    bounded = all(number.low is not None and number.high is not None for number in numbers)
    low, high = int(np.nanargmin(values)), int(np.nanargmax(values))

    def sharing(position: int) -> tuple[str, ...]:
        return tuple(m.name for m, value in zip(chosen, values, strict=True) if value == values[position])

    findings = CurveFindings(
        label=label,
        models=len(chosen),
        lowest_models=sharing(low),
        lowest=numbers[low].format_value(values[low]),
        highest_models=sharing(high),
        highest=numbers[high].format_value(values[high]),
        intervals=("a band" if positions else "black lines") if bounded else "",
    )
    line = Line(
        name=label,
        x=x,
        y=values,
        low=np.array([number.low for number in numbers], dtype=float) if bounded else None,
        high=np.array([number.high for number in numbers], dtype=float) if bounded else None,
    )
    return Chart(
        title=capitalised(label),
        caption=curve_caption(findings),
        lines=[line],
        x_label=chosen[0].over if positions else "",
        y_label=label,
        kind="line" if positions else "bar",
        ticks=[] if positions else [model.name for model in chosen],
    )


def find_outliers(models: Sequence[SweptModel], labels: Sequence[str]) -> list[Outlier]:
    """The models whose numbers lie outside Tukey's fences; none of fewer than five models."""
    outliers = []
    for label in labels:
        chosen = [model for model in models if label in model.numbers]
        values = np.array([model.numbers[label].value for model in chosen])
        if np.isfinite(values).sum() < _FEWEST:
            continue
        quartiles = np.nanpercentile(values, [25, 75])
        reach = FENCE * (quartiles[1] - quartiles[0])
        low, high = quartiles[0] - reach, quartiles[1] + reach
        for model, value in zip(chosen, values, strict=True):
            if value < low or value > high:
                write = model.numbers[label].format_value
                outliers.append(
                    Outlier(model.name, label, write(float(value)), *map(write, quartiles.tolist()))
                )
    return outliers


def outlier_table(models: Sequence[SweptModel], labels: Sequence[str], outliers: Sequence[Outlier]) -> Table:
    """The outliers, with their value and the quartiles of all models."""
    return Table(
        title="Outliers",
        caption=outlier_caption(
            outliers, len(models), len(labels), models[0].over if _has_positions(models) else ""
        ),
        columns=["model", "number", "value", "first quartile of all", "third quartile of all"],
        rows=[[o.model, o.label, o.value, o.first_quartile, o.third_quartile] for o in outliers],
        facts={"models": len(models), "numbers": len(labels), "fewest": _FEWEST, "fence": FENCE},
    )


def agreement(models: Sequence[SweptModel]) -> list[Exhibit]:
    """Which fraction of the images consecutive models, and all pairs of up to forty, predict alike."""
    pairs = _agreements(models)
    if not pairs:
        return []
    low = int(np.argmin(pairs))
    classes = [model.classes for model in models]
    findings = AgreementFindings(
        first=models[low].name,
        second=models[low + 1].name,
        lowest=pairs[low],
        median=float(np.median(pairs)),
        images=len(classes[0]) if classes[0] is not None else 0,
        models=len(models),
    )
    positions = _has_positions(models)
    x = np.array([m.position for m in models[1:]], dtype=float) if positions else np.arange(len(pairs))
    exhibits: list[Exhibit] = [
        Chart(
            title="Agreement of consecutive models",
            caption=agreement_caption(findings),
            lines=[Line(name="same prediction", x=x, y=np.array(pairs))],
            x_label=models[0].over if positions else "",
            y_label="same prediction as the previous model",
            kind="line" if positions else "bar",
            y_range=(0, 1.02),
            ticks=[] if positions else [model.name for model in models[1:]],
            facts={"images": findings.images, "median": findings.median},
        )
    ]
    if 2 < len(models) <= _MOST_CELLS:
        table = np.array([[float((a == b).mean()) for b in classes] for a in classes])  # pyrefly: ignore[missing-attribute]
        names = [model.name for model in models]
        between = table[~np.eye(len(models), dtype=bool)]
        exhibits.append(
            Matrix(
                title="Agreement of all models",
                caption=f"Two models agree on {between.min():.1%} to {between.max():.1%} of {counted(findings.images)}.",
                values=table,
                row_labels=names,
                column_labels=names,
                format="{:.0%}" if len(models) <= 16 else "",
                facts={
                    "lowest": float(between.min()),
                    "highest": float(between.max()),
                    "images": findings.images,
                },
            )
        )
    return exhibits


def _agreements(models: Sequence[SweptModel]) -> list[float]:
    """Of each pair of consecutive models, the fraction of images with the same prediction; empty without predictions."""
    classes = [model.classes for model in models]
    if any(c is None for c in classes):
        return []
    return [float((a == b).mean()) for a, b in pairwise(classes)]  # pyrefly: ignore[missing-attribute]


def _short_names(models: Sequence[SweptModel]) -> list[SweptModel]:
    """The models without the words with which all of their names begin."""
    words = [model.name.split(" ") for model in models]
    shared = 0
    while all(len(each) > shared + 1 for each in words) and len({each[shared] for each in words}) == 1:
        shared += 1
    if shared and any(each[shared].isdecimal() for each in words):
        shared -= 1  # "epoch 3" rather than "3"
    return [replace(model, name=" ".join(each[shared:])) for model, each in zip(models, words, strict=True)]


def _values(models: Sequence[SweptModel], label: str) -> int:
    """How many different finite values a number has."""
    values = {model.numbers[label].value for model in models if label in model.numbers}
    return len({value for value in values if np.isfinite(value)})


def _has_positions(models: Sequence[SweptModel]) -> bool:
    return bool(models) and all(model.position is not None for model in models)
