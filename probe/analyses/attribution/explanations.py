"""The attributions of several methods for a selection of images, each with its randomisation test."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from probe.analyses.attribution.budget import Plan
from probe.analyses.attribution.selection import Selection
from probe.analyses.job import Job
from probe.errors import UserError
from probe.exhibits.result import Number
from probe.exhibits.wording import counted, listed
from probe.methods.attribution.method import AttributionMethod, reduce_channels, seconds
from probe.methods.attribution.registry import METHODS
from probe.methods.attribution.sanity_checks import (
    NOT_TESTED,
    RandomisationResult,
    half_randomised,
    last_layer_similarity,
    rank_correlation,
    varying,
)
from probe.model.model import Model
from probe.registry import keys, titles
from probe.statistics import mean_interval

_STEP = 2.0  # seconds between two steps of the progress bar
_DRAWS = 5.0  # seconds for randomisations of the last layer beyond one per image

MAX_ERROR = 0.05
"""Of completeness: maps that miss more of the difference of scores are warned of."""


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What one method attributes to the pixels of a selection, and the result of its randomisation test.

    method: with all its parameters filled in. tested: the same, as the randomisation test computed it; None without
    one. title, key: unique among the methods of a run. attributions: (n, c, h, w) or (n, h, w) of the shown images.
    tested_attributions: those of the tested images, where there are any.
    """

    method: AttributionMethod
    tested: AttributionMethod | None
    title: str
    key: str
    attributions: Tensor
    tested_attributions: Tensor | None
    randomisation: RandomisationResult

    @property
    def maps(self) -> Tensor:
        """One value per pixel of the shown images: (n, h, w)."""
        return reduce_channels(self.attributions, self.method.kind)

    @property
    def tested_maps(self) -> Tensor | None:
        """One value per pixel of the tested images: (m, h, w)."""
        if self.tested_attributions is None:
            return None
        return reduce_channels(self.tested_attributions, self.method.kind)

    @property
    def similarity(self) -> dict[str, Number]:
        """The similarities that the randomisation test rests on."""
        return similarity_numbers(self.title, self.key, self.randomisation)


@dataclass(frozen=True)
class Explanations:
    """Explanations by the method as the user wrote it, and why other methods were skipped."""

    by_method: dict[AttributionMethod, Explanation]
    skipped: dict[AttributionMethod, UserError]

    @property
    def numbers(self) -> dict[str, Number]:
        """The similarities that the randomisation tests rest on."""
        return {
            key: number
            for explanation in self.by_method.values()
            for key, number in explanation.similarity.items()
        }


def parse_methods(texts: Sequence[str]) -> list[AttributionMethod]:
    """The methods that `texts` write, each once."""
    return list(dict.fromkeys(METHODS.parse(text) for text in texts))


def skipped_warnings(skipped: Mapping[AttributionMethod, UserError]) -> list[str]:
    """Which methods are skipped and why: one sentence for each reason."""
    by_reason: dict[str, list[str]] = {}
    for title, (_, reason) in zip(titles(list(skipped)), skipped.items(), strict=True):
        by_reason.setdefault(str(reason), []).append(title)
    return [
        f"{listed(names)} {'is' if len(names) == 1 else 'are'} skipped: {reason}."
        for reason, names in by_reason.items()
    ]


def plan_warnings(explanations: Explanations, plan: Plan, budget: float) -> list[str]:
    """What the budget does not allow, and maps that are blank where nothing is randomised."""
    untested = [e.title for e in explanations.by_method.values() if e.tested is None]
    warnings = []
    if untested:
        verb = "is" if len(untested) == 1 else "are"
        warnings.append(
            f"{listed(untested)} {verb} shown but not tested: {plan.test_images} images would take longer than the "
            f"{budget:g} seconds of the budget (budget={plan.all_tests} tests every method)."
        )
    for explanation in explanations.by_method.values():
        blank = int((~varying(explanation.attributions)).sum())
        if blank:
            total = len(explanation.attributions)
            warnings.append(
                f"{blank} of {counted(total, 'map')} of {explanation.title} {'is' if blank == 1 else 'are'} blank: "
                "the same value everywhere, which explains nothing."
            )
    return warnings


def completeness_warning(method: AttributionMethod, title: str, error: float, images: str = "") -> list[str]:
    """A sentence where the sums of maps miss the differences of scores by more than MAX_ERROR."""
    if not error > MAX_ERROR:
        return []
    advice = ""
    if method.refined_by:
        value = getattr(method, method.refined_by)
        advice = (
            f": raise {method.refined_by}, as in --methods '{method.name}({method.refined_by}={4 * value})'"
        )
    return [
        f"The sums of {title}{images} miss the differences of scores by {error:.0%} (median), more than {MAX_ERROR:.0%}{advice}."
    ]


def similarity_numbers(title: str, key: str, result: RandomisationResult) -> dict[str, Number]:
    """The similarity of maps before and after randomisation; nothing where no pair of maps can be compared."""
    numbers: dict[str, Number] = {}
    if len(result.last):
        numbers[f"similarity_last_randomised_{key}"] = replace(
            mean_similarity(result.last), label=f"similarity with the last layer randomised, {title}"
        )
    if len(result.half):
        numbers[f"similarity_half_randomised_{key}"] = replace(
            mean_similarity(result.half), label=f"similarity with half of the layers randomised, {title}"
        )
    return numbers


def mean_similarity(values: np.ndarray) -> Number:
    """The mean of rank correlations (n,), one per image, with its interval where there are two or more."""
    mean = Number(value=float(values.mean()), n=len(values), format="{:.2f}")
    if len(values) < 2:
        return mean
    low, high = mean_interval(values)
    return replace(mean, low=max(low, -1.0), high=min(high, 1.0))


def explain(
    model: Model, selection: Selection, job: Job, *, plan: Plan, label: str, seed: int
) -> Explanations:
    """Every method's attributions for the shown images of `selection`, and its randomisation test on the first ones.

    label: of the progress bar, which advances with every image where images are expensive.
    Raises UserError, with the reason of the first, where no method can be applied.
    """
    methods = list(plan.shown)
    tested = torch.arange(min(plan.test_images, len(selection)), device=selection.pixels.device)
    rng = torch.Generator().manual_seed(seed)
    half = half_randomised(model, selection.pixels[tested], selection.targets[tested], rng)
    context = _Context(model, half, selection, len(tested), seed)
    runs = [_MethodRun(plan.shown[method], plan.tested.get(method), context) for method in methods]
    steps = [
        (method, run, stage, rows)
        for method, run in zip(methods, runs, strict=True)
        for stage, rows in run.steps()
    ]
    skipped: dict[AttributionMethod, UserError] = {}
    for method, run, stage, rows in job.progress(steps, label):
        if method in skipped:
            continue
        try:
            run.step(stage, rows)
        except UserError as error:
            skipped[method] = error
    if len(skipped) == len(methods):
        raise next(iter(skipped.values()), UserError("no attribution method is given"))
    named = zip(methods, runs, titles(methods), keys(methods), strict=True)
    return Explanations(
        {method: run.explanation(title, key) for method, run, title, key in named if method not in skipped},
        skipped,
    )


@dataclass(frozen=True)
class _Context:
    """What every method of a run is applied to: half is `model` with half of its layers randomised."""

    model: Model
    half: Model
    selection: Selection
    tested: int
    seed: int


class _MethodRun:
    """One method on one selection: its attributions and their randomisation test, a few images at a time."""

    def __init__(self, shown: AttributionMethod, tested: AttributionMethod | None, context: _Context) -> None:
        self.shown, self.tested, self.context = shown, tested, context
        self._attributions: dict[str, list[Tensor]] = {"shown": [], "tested": []}
        self._similarity: dict[str, list[np.ndarray]] = {"half": [], "last": []}

    @property
    def _shared(self) -> bool:
        """Whether the maps that are shown are those that are tested."""
        return self.tested == self.shown

    def steps(self) -> list[tuple[str, Tensor]]:
        """The stages of the run and the images that each goes through at a time."""
        tested = self.context.tested if self.tested is not None else 0
        shown = self.context.selection.examples
        # The same method shows and tests: the attributions of the trained network are computed once.
        counts = [("shown", self.shown, max(shown, tested) if self._shared else shown)]
        if self.tested is not None:
            counts += [("tested", self.tested, 0 if self._shared else tested)]
            counts += [(stage, self.tested, tested) for stage in ("half", "last")]
        device = self.context.selection.pixels.device
        return [
            (stage, rows)
            for stage, method, count in counts
            for rows in torch.arange(count, device=device).split(self._at_once(method))
            if count
        ]

    def _at_once(self, method: AttributionMethod) -> int:
        return max(1, int(_STEP / max(seconds([method], self.context.model), 1e-9)))

    def step(self, stage: str, rows: Tensor) -> None:
        context, selection = self.context, self.context.selection
        pixels, targets = selection.pixels[rows], selection.targets[rows]
        method = self.shown if stage == "shown" or self.tested is None else self.tested
        attribute = partial(method.with_references(selection.references).attribute, seed=context.seed)
        if stage in self._attributions:
            self._attributions[stage].append(attribute(context.model, pixels, targets))
            return
        before = self._trained[rows]
        if stage == "half":
            similarity = rank_correlation(before, attribute(context.half, pixels, targets))
        else:
            draws = last_layer_draws(method, context.model, context.tested)
            first = context.seed + int(rows[0])
            similarity = last_layer_similarity(
                attribute, before, context.model, pixels, targets, draws=draws, seed=first
            )
        self._similarity[stage].append(similarity)

    @property
    def _trained(self) -> Tensor:
        """The attributions of the tested images by the trained network."""
        return torch.cat(self._attributions["shown" if self._shared else "tested"])[: self.context.tested]

    def explanation(self, title: str, key: str) -> Explanation:
        """What was computed, once all steps are done."""
        result = NOT_TESTED
        if self.tested is not None:
            last, half = (np.concatenate(self._similarity[stage]) for stage in ("last", "half"))
            result = RandomisationResult.of(last, half, varying(self._trained))
        return Explanation(
            method=self.shown,
            tested=self.tested,
            title=title,
            key=key,
            attributions=torch.cat(self._attributions["shown"])[: self.context.selection.examples],
            tested_attributions=None if self.tested is None else self._trained,
            randomisation=result,
        )


def last_layer_draws(method: AttributionMethod, model: Model, images: int) -> int:
    """How often to randomise the last layer for each image: 1 to 8, as the cost allows."""
    return int(np.clip(_DRAWS / max(images * seconds([method], model), 1e-9), 1, 8))
