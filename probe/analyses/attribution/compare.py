"""Attribution maps of several models for the same images, on one scale."""

from dataclasses import replace
from typing import Annotated

import numpy as np
import torch
from pydantic import BeforeValidator, Field

from probe.analyses.attribution.budget import BUDGET_HELP, TESTED, affordable
from probe.analyses.attribution.compare_exhibits import (
    Predictions,
    confidence_chart,
    maps_exhibit,
    predictions_table,
)
from probe.analyses.attribution.explanations import (
    explain,
    mean_similarity,
    parse_methods,
    plan_warnings,
    skipped_warnings,
)
from probe.analyses.attribution.selection import TARGET_HELP, Selection, select
from probe.analyses.job import Job
from probe.analyses.single_images import SingleImages
from probe.data.images import Images
from probe.errors import UserError
from probe.exhibits.exhibits import Exhibit
from probe.exhibits.result import Number, Result
from probe.exhibits.wording import counted
from probe.methods.attribution.method import AttributionMethod, seconds
from probe.methods.attribution.registry import METHODS, methods_help
from probe.methods.attribution.sanity_checks import rank_correlation
from probe.model.budget import affordable as affordable_count
from probe.model.budget import forward_seconds
from probe.model.model import Model
from probe.model.targets import Targets, UnitTargets

_IMAGES = 100
"""Images on which maps are compared, where the budget allows it."""

_PREDICTED = 1000  # images whose predictions are compared, at most
_FOR_PREDICTIONS, _FOR_MAPS = 0.15, 0.5  # fractions of the budget


class Compare(SingleImages):
    """Do the predictions of two models depend on the same pixels?"""

    name = "compare"
    title = "Attribution maps of several models"
    source = "Spearman 1904 (rank correlation); the sources of each method"
    needs_compare_to = 1
    headlines = ("accuracy_*", "agreement_*")
    quick = {"examples": 2, "methods": ("gradient", "integrated-gradients(steps=4)", "gradcam")}

    methods: Annotated[tuple[str, ...], BeforeValidator(METHODS.texts)] = Field(
        ("gradient", "integrated-gradients", "gradcam"), description=methods_help()
    )
    target: str = Field(
        "predicted",
        description=f"{TARGET_HELP}; predicted and contrast refer to the predictions of the first model",
    )
    examples: int = Field(4, ge=1, le=64, description="number of images to show")
    max_images: int = Field(
        0,
        ge=0,
        le=10_000,
        description="number of images whose maps are compared (0: up to 100, fewer for expensive models)",
    )
    budget: int = Field(60, ge=1, le=86_400, description=BUDGET_HELP)

    def run(self, model: Model, images: Images, job: Job) -> Result:
        methods = parse_methods(self.methods)
        seed = job.seed()
        models = [model, *job.compare_to]
        largest = max(models, key=forward_seconds)
        limits = {"examples": self.count(self.examples), "models": len(models)}
        plan = affordable(methods, largest, budget=(1 - _FOR_PREDICTIONS - _FOR_MAPS) * self.budget, **limits)
        count, advised = self._affordable(list(plan.shown.values()), largest, len(models))
        selection = select(
            self,
            model,
            images,
            count=max(count, self.examples),
            tests=max(count, TESTED),
            target=self.target,
            seed=seed,
        )
        selection = replace(selection, examples=min(limits["examples"], len(selection)))
        for other in job.compare_to:
            _check_comparable(model, other, selection.targets)
        explained = [explain(each, selection, job, plan=plan, label=each.name, seed=seed) for each in models]
        shown, compared = selection.shown, selection.first(count)
        exhibits: list[Exhibit] = []
        numbers: dict[str, Number] = {}
        warnings: list[str] = []
        skipped: dict[AttributionMethod, UserError] = {}
        for method in methods:
            reasons = [each.skipped[method] for each in explained if method in each.skipped]
            if reasons:
                skipped[method] = reasons[0]
                continue
            explanations = [each.by_method[method] for each in explained]
            title, key = explanations[0].title, explanations[0].key
            similarity = _similarity(explanations[0].method, models, compared, job, title, seed)
            for i, (other, values) in enumerate(zip(job.compare_to, similarity, strict=True), 1):
                known = values[~np.isnan(values)]
                if len(known):
                    mean = mean_similarity(known)
                    numbers[f"similarity_{key}_{i}"] = replace(
                        mean, label=f"similarity of {title}, {other.name}"
                    )
            exhibits.append(maps_exhibit(models, shown, explanations, similarity))
        if not exhibits:
            raise next(iter(skipped.values()), UserError("no attribution method is given"))
        for each, model_explanations in zip(models, explained, strict=True):
            more = plan_warnings(model_explanations, plan, self.budget)
            warnings += [f"{each.name}: {warning}" for warning in more]
        if advised and len(compared) < min(_IMAGES, len(images)):
            warnings.append(
                f"Maps are compared on {counted(len(compared))}, as the budget of {self.budget} seconds allows: "
                f"budget={advised} allows {_IMAGES}."
            )
        predictions = self._predictions(models, images, seed)
        numbers |= predictions.numbers()
        confidences = [_confidence(each, shown) for each in models]
        exhibits += [predictions_table(predictions), confidence_chart(models, shown, confidences)]
        return Result(exhibits=exhibits, numbers=numbers, warnings=skipped_warnings(skipped) + warnings)

    def _affordable(self, methods: list[AttributionMethod], model: Model, models: int) -> tuple[int, int]:
        """The images to compare maps of, and the budget that allows 100 of them; 0 where that is not needed."""
        if self.max_images:
            return self.max_images, 0
        each = models * seconds(methods, model)
        count = int(np.clip(_FOR_MAPS * self.budget / each, 1, _IMAGES))
        return max(count, self.count(self.examples)), int(np.ceil(_IMAGES * each / _FOR_MAPS / 10)) * 10

    @torch.inference_mode()
    def _predictions(self, models: list[Model], images: Images, seed: int) -> Predictions:
        """What every model predicts for as many images as a part of the budget allows."""
        largest = max(models, key=forward_seconds)
        part = _FOR_PREDICTIONS * self.budget
        count = affordable_count(part, largest, passes=len(models), low=_IMAGES, high=_PREDICTED)
        drawn = images.take(count, seed) if len(images) else images
        classes = [
            torch.cat(
                [
                    each.logits(batch.pixels).argmax(1).cpu()
                    for batch in drawn.batches(each.batch(), each.device)
                ]
            )
            if len(drawn)
            else torch.zeros(0, dtype=torch.long)
            for each in models
        ]
        comparable = all(each.classes == models[0].classes for each in models)
        labels = drawn.labels if comparable else None
        return Predictions(
            names=tuple(each.name for each in models),
            n=len(drawn),
            correct=None
            if labels is None
            else tuple(int((predicted == labels).sum()) for predicted in classes),
            agree=tuple(int((predicted == classes[0]).sum()) for predicted in classes[1:])
            if comparable
            else None,
        )


def _similarity(
    method: AttributionMethod, models: list[Model], selection: Selection, job: Job, title: str, seed: int
) -> list[np.ndarray]:
    """Rank correlations (n,) of the maps of each further model with those of the first, NaN where one is blank."""
    method = method.with_references(selection.references)
    parts: list[list[np.ndarray]] = [[] for _ in models[1:]]
    rows = torch.arange(len(selection), device=selection.pixels.device).split(max(1, models[0].batch() // 4))
    for batch in job.progress(rows, f"comparing {title}"):
        pixels, targets = selection.pixels[batch], selection.targets[batch]
        first, *others = (method.map(each, pixels, targets, seed=seed) for each in models)
        for part, maps in zip(parts, others, strict=True):
            part.append(rank_correlation(first, maps))
    return [np.concatenate(part) for part in parts]


def _check_comparable(model: Model, other: Model, targets: Targets) -> None:
    """Refuse models whose scores for the same pixels cannot be compared."""
    if other.shape != model.shape:
        sizes = [" x ".join(map(str, each.shape)) for each in (model, other)]
        raise UserError(
            f"{model.name} takes {sizes[0]} images and {other.name} {sizes[1]}: compared models need the same input shape"
        )
    if isinstance(targets, UnitTargets):
        other.layers.find(targets.layer)
    elif other.classes != model.classes:
        raise UserError(
            f"{model.name} and {other.name} have different classes: their scores cannot be compared"
        )


@torch.inference_mode()
def _confidence(model: Model, selection: Selection) -> torch.Tensor:
    """The probability (n,) that `model` gives to the prediction of the first model."""
    probabilities = model.logits(selection.pixels).softmax(1)
    return probabilities.gather(1, selection.prediction[:, None])[:, 0].float().cpu()
