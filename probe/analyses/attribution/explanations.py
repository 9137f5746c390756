"""The attributions of several methods for a selection of images, each with its randomisation test."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from probe.analyses.attribution.selection import Selection
from probe.analyses.job import Job
from probe.errors import UserError
from probe.exhibits.result import Number
from probe.exhibits.wording import listed
from probe.methods.attribution.method import AttributionMethod, Precision, cost, reduce_channels
from probe.methods.attribution.registry import METHODS
from probe.methods.attribution.sanity_checks import (
    RandomisationResult,
    half_randomised,
    last_layer_similarity,
    rank_correlation,
    varying,
)
from probe.model.model import Model
from probe.registry import keys, titles
from probe.statistics import mean_interval

_BUDGET = 2.2e12  # multiply-accumulates: a minute on one core, more where it is shared
_STEP = 5e10  # multiply-accumulates between two steps of the progress bar: a second or two
_DRAWS = 1.5e11  # and for randomisations of the last layer beyond one per image


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What one method attributes to the pixels of a selection, and the result of its randomisation test.

    method: with all its parameters filled in. title, key: unique among the methods of a run.
    attributions: (n, c, h, w) or (n, h, w).
    """

    method: AttributionMethod
    title: str
    key: str
    attributions: Tensor
    randomisation: RandomisationResult

    @property
    def maps(self) -> Tensor:
        """One value per pixel: (n, h, w)."""
        return reduce_channels(self.attributions, self.method.kind)

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


@dataclass(frozen=True)
class Plan:
    """How finely methods compute where their parameters leave that open, and how many images are tested."""

    precision: Precision
    test_images: int


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


def similarity_numbers(title: str, key: str, result: RandomisationResult) -> dict[str, Number]:
    """The similarity of maps before and after randomisation; nothing where the maps are constant."""
    if result.constant:
        return {}
    return {
        f"similarity_last_randomised_{key}": replace(
            mean_similarity(result.last), label=f"similarity with the last layer randomised, {title}"
        ),
        f"similarity_half_randomised_{key}": replace(
            mean_similarity(result.half), label=f"similarity with half of the layers randomised, {title}"
        ),
    }


def mean_similarity(values: np.ndarray) -> Number:
    """The mean of rank correlations (n,), one per image, with its interval where there are two or more."""
    mean = Number(value=float(values.mean()), n=len(values), format="{:.2f}")
    if len(values) < 2:
        return mean
    low, high = mean_interval(values)
    return replace(mean, low=max(low, -1.0), high=min(high, 1.0))


def affordable(methods: Sequence[AttributionMethod], model: Model, *, examples: int) -> Plan:
    """The finest plan within the budget, and the coarsest where none is.

    examples: images whose attributions are wanted.
    """
    plans = (Plan("fine", 8), Plan("medium", 8), Plan("medium", 4), Plan("coarse", 4))

    def cost_of(plan: Plan) -> float:
        images = max(examples, plan.test_images) + 2 * plan.test_images
        return images * cost([method.resolved(model, plan.precision) for method in methods], model)

    return next((plan for plan in plans if cost_of(plan) <= _BUDGET), plans[-1])


def explain(
    methods: Sequence[AttributionMethod],
    model: Model,
    selection: Selection,
    job: Job,
    *,
    plan: Plan,
    label: str,
    seed: int,
) -> Explanations:
    """Every method's attributions for all of `selection`, and its randomisation test on the first of them.

    label: of the progress bar, which advances with every image where images are expensive.
    Raises UserError, with the reason of the first, where no method can be applied.
    """
    tested = torch.arange(min(plan.test_images, len(selection)), device=selection.pixels.device)
    rng = torch.Generator().manual_seed(seed)
    half = half_randomised(model, selection.pixels[tested], selection.targets[tested], rng)
    runs = [
        _MethodRun(method.resolved(model, plan.precision), model, half, selection, len(tested), seed)
        for method in methods
    ]
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
        {
            method: Explanation(
                method=run.method,
                title=title,
                key=key,
                attributions=run.attributions,
                randomisation=run.randomisation,
            )
            for method, run, title, key in named
            if method not in skipped
        },
        skipped,
    )


class _MethodRun:
    """One method on one selection: its attributions and their randomisation test, a few images at a time."""

    def __init__(
        self,
        method: AttributionMethod,
        model: Model,
        half: Model,
        selection: Selection,
        tested: int,
        seed: int,
    ) -> None:
        self.method, self.model, self.half, self.selection = method, model, half, selection
        self.tested, self.seed = tested, seed
        self._attributions: list[Tensor] = []
        self._similarity: dict[str, list[np.ndarray]] = {"half": [], "last": []}

    def steps(self) -> list[tuple[str, Tensor]]:
        """The stages of the run and the images that each goes through at a time."""
        at_once = max(1, int(_STEP / cost([self.method], self.model)))
        counts = (("trained", len(self.selection)), ("half", self.tested), ("last", self.tested))
        device = self.selection.pixels.device
        return [
            (stage, rows)
            for stage, count in counts
            for rows in torch.arange(count, device=device).split(at_once)
        ]

    def step(self, stage: str, rows: Tensor) -> None:
        pixels, targets = self.selection.pixels[rows], self.selection.targets[rows]
        attribute = partial(self.method.attribute, seed=self.seed)
        if stage == "trained":
            self._attributions.append(attribute(self.model, pixels, targets))
            return
        before = self.attributions[rows]
        if stage == "half":
            similarity = rank_correlation(before, attribute(self.half, pixels, targets))
        else:
            draws = last_layer_draws(self.method, self.model, self.tested)
            first = self.seed + int(rows[0])
            similarity = last_layer_similarity(
                attribute, before, self.model, pixels, targets, draws=draws, seed=first
            )
        self._similarity[stage].append(similarity)

    @property
    def attributions(self) -> Tensor:
        return torch.cat(self._attributions)

    @property
    def randomisation(self) -> RandomisationResult:
        usable = varying(self.attributions[: self.tested])
        last, half = (np.concatenate(self._similarity[stage])[usable] for stage in ("last", "half"))
        return RandomisationResult(last, half, constant=not usable.any())


def last_layer_draws(method: AttributionMethod, model: Model, images: int) -> int:
    """How often to randomise the last layer for each image: 1 to 8, as the cost allows."""
    return int(np.clip(_DRAWS / (images * cost([method], model)), 1, 8))
