"""Exhibits of `attribution-tests`: the table of verdicts, randomisation layer by layer, insertion and deletion."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probe.analyses.attribution.attribution_tests_run import RandomOrder, TestPlan, areas
from probe.analyses.attribution.attribution_tests_verdict import (
    INDEPENDENT,
    MAX_CHANGE,
    MIN_IMAGES,
    MethodTests,
    Verdict,
)
from probe.exhibits.exhibits import Array, Cell, Chart, ImageGrid, Line, Scale, Table
from probe.exhibits.wording import counted, listed, sentences
from probe.methods.attribution.faithfulness import MARGIN
from probe.methods.attribution.sanity_checks import MAX_SIMILARITY, means

_SIMILARITIES = ["last layer", "half of layers", "all layers", "other image", "runner-up"]


@dataclass(frozen=True, kw_only=True)
class VerdictFindings:
    """What the caption of the table states: verdicts by title on n images, of which `plan.test_images` are tested."""

    model: str
    verdicts: dict[str, Verdict]
    n: int
    plan: TestPlan
    masks: bool


def verdict_caption(f: VerdictFindings) -> str:
    passing = [title for title, verdict in f.verdicts.items() if str(verdict) == "passes"]
    failing = [f"{title} ({', '.join(v.failed)})" for title, v in f.verdicts.items() if v.failed]
    undecided: dict[str, list[str]] = {}
    for title, verdict in f.verdicts.items():
        for test in verdict.undecided:
            undecided.setdefault(test, []).append(title)
    blank = [f"{title} ({', '.join(v.blank)})" for title, v in f.verdicts.items() if v.blank]
    return sentences(
        passing and f"On {f.model} {listed(passing)} {'passes' if len(passing) == 1 else 'pass'} every test.",
        not passing and f"On {f.model} no method passes every test.",
        failing and f"{listed(failing)} {'fails' if len(failing) == 1 else 'fail'}.",
        undecided
        and f"Undecided, with too few images: {listed([f'{test} ({listed(titles)})' for test, titles in undecided.items()])}.",
        blank and f"Withheld, because maps are blank: {listed(blank)}.",
        f'A method fails "randomisation" if its maps keep a mean rank correlation (similarity) above {MAX_SIMILARITY} '
        f"when the last layer or half of the layers are randomised ({counted(f.plan.test_images)}), "
        f'"image" or "class" if its maps for another image or for the runner-up have one above {INDEPENDENT}, and '
        f'"noise" if noise of radius {f.plan.radius:g} changes a map by more than its norm.',
        f.masks
        and f'It fails "pointing" if its highest pixel lies in the object\'s box, dilated by {MARGIN:.0%} of the side, '
        "no more often than a random pixel.",
        'It fails "insertion and deletion" if neither is better than for a random order.',
        "All decisions are by 95% intervals over the images; with fewer than "
        f"{MIN_IMAGES} images the comparisons with random pixels are undecided, not failed.",
        "Blank maps, which have the same value everywhere, are counted and excluded.",
        "The edges and the random order do not depend on the network.",
    )


def verdict_table(model: str, tests: Sequence[MethodTests], random: RandomOrder, plan: TestPlan) -> Table:
    """A row per method, a column per measure; the caption states which method passes which test."""
    masks = random.mask is not None
    decimals = [f"similarity, {what}" for what in _SIMILARITIES]
    decimals += ["sensitivity to noise", "insertion AUC", "deletion AUC"]
    fractions = ["completeness error"]
    fractions += ["pointing game", "peak on object", "relevance mass", "relevance rank"] if masks else []
    findings = VerdictFindings(
        model=model,
        verdicts={test.title: test.verdict for test in tests if not test.control},
        n=len(random.insertion),
        plan=plan,
        masks=masks,
    )
    return Table(
        title="Verdicts",
        caption=verdict_caption(findings),
        facts={
            "max_similarity": MAX_SIMILARITY,
            "max_similarity_other_image_or_class": INDEPENDENT,
            "max_change_by_noise": MAX_CHANGE,
            "pointing_margin": MARGIN,
            "min_images": MIN_IMAGES,
            "images": findings.n,
            "test_images": plan.test_images,
        },
        columns=["method", "verdict", "blank maps", *decimals, *fractions],
        rows=[*(_row(test, masks) for test in tests), _random_row(random)],
        formats=dict.fromkeys(decimals, "{:.2f}") | dict.fromkeys(fractions, "{:.1%}"),
    )


def _row(test: MethodTests, masks: bool) -> list[Cell]:
    measured = test.measured
    row: list[Cell] = [
        test.title,
        str(test.verdict),
        f"{measured.blank} of {len(measured.usable)}",
        _mean(measured.last),
        _mean(measured.half),
        _mean(measured.cascade[-1]),
        _mean(measured.other_image),
        _mean(measured.other_class),
        _mean(measured.sensitivity),
        _mean(areas(measured.insertion)),
        _mean(areas(measured.deletion)),
        None if measured.completeness is None else _median(measured.completeness),
    ]
    localisation = (measured.pointing, measured.peak, measured.mass, measured.rank)
    return row + ([_mean(values) for values in localisation] if masks else [])


def _random_row(random: RandomOrder) -> list[Cell]:
    row: list[Cell] = ["random order", "", None, *[0.0] * 5, None]
    row += [_mean(areas(random.insertion)), _mean(areas(random.deletion)), None]
    if random.mask is not None:
        row += [_mean(values) for values in (random.box, random.mask, random.mask, random.mask)]
    return row


@dataclass(frozen=True, kw_only=True)
class RandomisationFindings:
    """What the caption of the chart states: title and similarity of the method that changes least; None without maps.

    last, half: with the last layer and with half of the layers randomised.
    """

    last: tuple[str, float] | None
    half: tuple[str, float] | None
    test_images: int


def randomisation_caption(f: RandomisationFindings) -> str:
    return sentences(
        f.last is None and "The maps of all methods are blank.",
        *_smallest_change(f),
        "Similarity is the rank correlation with the maps of the trained network, with their signs, mean over "
        f"{counted(f.test_images)}.",
        "What remains when all layers are randomised does not show what the network has learnt.",
    )


def _smallest_change(f: RandomisationFindings) -> list[str]:
    if f.last is None or f.half is None:
        return []
    (last, last_similarity), (half, half_similarity) = f.last, f.half
    if last == half:
        return [
            f"The maps of {last} change least: their similarity is {last_similarity:.2f} with the last layer "
            f"randomised and {half_similarity:.2f} with half of the layers."
        ]
    return [
        f"With the last layer randomised the maps of {last} change least (similarity {last_similarity:.2f}),",
        f"with half of the layers randomised those of {half} (similarity {half_similarity:.2f}).",
    ]


def randomisation_chart(tests: Sequence[MethodTests], layers: int, test_images: int) -> Chart:
    """A line per method: similarity while more layers are randomised. layers: their number."""
    stages = len(tests[0].measured.cascade)
    alone = [1 / layers] if stages < layers else []
    x = np.array([0.0, *alone, *(np.arange(1, stages + 1) / stages)])
    results = {test.title: test.measured.randomisation for test in tests if not test.control}
    last = {title: mean for title, result in results.items() if (mean := _mean(result.last)) is not None}
    half = {title: mean for title, result in results.items() if (mean := _mean(result.half)) is not None}
    findings = RandomisationFindings(last=_largest(last), half=_largest(half), test_images=test_images)
    return Chart(
        title="Randomisation, layer by layer",
        caption=randomisation_caption(findings),
        facts={"test_images": test_images},
        lines=[
            Line(
                name=test.title,
                x=x,
                y=np.array(
                    [1.0, *means(np.stack([test.measured.last] * len(alone) + [*test.measured.cascade]))]
                ),
                dashed=test.control,
            )
            for test in tests
            if test.measured.usable.any()
        ],
        x_label="fraction of the layers randomised, from the last to the first",
        y_label="similarity to the maps of the trained network",
        y_range=(-0.3, 1.0),
    )


def _largest(values: dict[str, float]) -> tuple[str, float] | None:
    return max(values.items(), key=lambda item: item[1]) if values else None


def cascade_images(tests: Sequence[MethodTests], image: Array, header: str) -> ImageGrid:
    """One image: the map of every method while more layers are randomised. Each map on a scale of its own."""
    stages = len(tests[0].measured.cascade)
    images: list[Array] = []
    for test in tests:
        images.append(image)
        for heatmap in test.measured.examples:
            limit = float(np.quantile(np.abs(heatmap), 0.995)) or float(np.abs(heatmap).max()) or 1.0
            images.append(np.clip(heatmap / limit, -1, 1))
    return ImageGrid(
        title="Cascading randomisation of one image",
        caption=f"Image: {header}. From left to right more layers are randomised, the last first; a map that does not "
        "change does not depend on their weights. Each map is divided by its largest value.",
        images=images,
        columns=stages + 3,
        column_headers=[
            "image",
            "trained",
            "last layer",
            *(f"{(i + 1) / stages:.0%} randomised" for i in range(stages)),
        ],
        row_headers=[test.title for test in tests],
        scale=Scale(low=-1, high=1, kind="diverging", label="fraction of the map's largest value"),
    )


@dataclass(frozen=True, kw_only=True)
class CurveFindings:
    """What the caption of insertion or deletion states: the best method and its AUC, against that of a random order."""

    kind: str
    best: str
    auc: float
    random_auc: float
    n: int


def curve_caption(f: CurveFindings) -> str:
    verb = "inserted into" if f.kind == "insertion" else "deleted from"
    return sentences(
        f"Pixels are {verb} the image in the order of each map, the highest first; absent pixels have the image's mean colour.",
        f"{f.best} is best with an area under the curve (AUC) of {f.auc:.2f}, against {f.random_auc:.2f} for a random order.",
        f"Mean over {counted(f.n)}." if f.n > 1 else "One image.",
    )


def curve_chart(tests: Sequence[MethodTests], random: RandomOrder, kind: str) -> Chart | None:
    """The probability of the predicted class while pixels are inserted or deleted; None where all maps are blank.

    kind: insertion or deletion.
    """
    random_curves: Array = getattr(random, kind)
    curves: dict[str, Array] = {test.title: getattr(test.measured, kind) for test in tests}
    rated = {
        test.title: mean
        for test in tests
        if not test.control and (mean := _mean(areas(curves[test.title]))) is not None
    }
    if not rated:
        return None
    best = (max if kind == "insertion" else min)(rated, key=rated.__getitem__)
    n, points = random_curves.shape
    findings = CurveFindings(
        kind=kind, best=best, auc=rated[best], random_auc=float(areas(random_curves).mean()), n=n
    )
    x = np.linspace(0, 1, points)
    return Chart(
        title=f"{kind.capitalize()} of pixels",
        caption=curve_caption(findings),
        facts={"auc": findings.auc, "random_auc": findings.random_auc, "n": n},
        lines=[
            *(
                Line(name=title, x=x, y=_row_means(curve))
                for title, curve in curves.items()
                if not np.isnan(curve).all()
            ),
            Line(name="random order", x=x, y=random_curves.mean(0), dashed=True),
        ],
        x_label=f"fraction of the pixels {'inserted' if kind == 'insertion' else 'deleted'}",
        y_label="probability of the predicted class",
        y_range=(0.0, 1.0),
    )


def _mean(values: Array | None) -> float | None:
    """The mean of what is known; None where nothing is."""
    known = np.zeros(0) if values is None else values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def _median(values: Array) -> float | None:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else None


def _row_means(values: Array) -> Array:
    """The mean over the last axis but one, (..., n, m) -> (..., m), of what is known; NaN where nothing is."""
    return means(np.moveaxis(values, -2, -1).reshape(-1, values.shape[-2])).reshape(
        *values.shape[:-2], values.shape[-1]
    )
