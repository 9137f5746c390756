"""Attribution maps of several models for the same images, on one scale."""

from typing import Annotated

import torch
from pydantic import BeforeValidator, Field

from probe.analyses.analysis import Analysis
from probe.analyses.attribution.compare_exhibits import confidence_chart, maps_exhibit
from probe.analyses.attribution.explanations import affordable, explain, parse_methods, skipped_warnings
from probe.analyses.attribution.selection import TARGET_HELP, Selection, select
from probe.analyses.job import Job
from probe.data.images import Images
from probe.errors import UserError
from probe.exhibits.exhibits import Exhibit
from probe.exhibits.result import Number, Result
from probe.methods.attribution.method import AttributionMethod, macs
from probe.methods.attribution.registry import METHODS, methods_help
from probe.methods.attribution.sanity_checks import rank_correlation
from probe.model.model import Model
from probe.model.targets import Targets, UnitTargets


class Compare(Analysis):
    """Do the predictions of two models depend on the same pixels?"""

    name = "compare"
    title = "Attribution maps of several models"
    source = "Spearman 1904 (rank correlation); the sources of each method"
    needs_compare_to = 1
    quick = {"examples": 2, "methods": ("gradient", "integrated-gradients(steps=4)", "gradcam")}

    methods: Annotated[tuple[str, ...], BeforeValidator(METHODS.texts)] = Field(
        ("gradient", "integrated-gradients", "gradcam"), description=methods_help()
    )
    target: str = Field(
        "predicted",
        description=f"{TARGET_HELP}; predicted and contrast refer to the predictions of the first model",
    )
    examples: int = Field(4, ge=1, le=64, description="images to compare on")

    def run(self, model: Model, images: Images, job: Job) -> Result:
        methods = parse_methods(self.methods)
        seed = job.seed()
        models = [model, *job.compare_to]
        plan = affordable(methods, max(models, key=macs), examples=self.examples)
        selection = select(model, images, max(self.examples, plan.test_images), self.target, seed)
        for other in job.compare_to:
            _check_comparable(model, other, selection.targets)
        explained = [
            explain(methods, each, selection, job, plan=plan, label=each.name, seed=seed) for each in models
        ]
        shown = selection.first(self.examples)
        exhibits: list[Exhibit] = []
        numbers: dict[str, Number] = {}
        skipped: dict[AttributionMethod, UserError] = {}
        for method in methods:
            reasons = [each.skipped[method] for each in explained if method in each.skipped]
            if reasons:
                skipped[method] = reasons[0]
                continue
            explanations = [each.by_method[method] for each in explained]
            maps = [explanation.maps[: len(shown)] for explanation in explanations]
            similarity = [rank_correlation(maps[0], other) for other in maps[1:]]
            for i, (other, values) in enumerate(zip(job.compare_to, similarity, strict=True), 1):
                numbers[f"similarity_{explanations[0].key}_{i}"] = Number(
                    value=float(values.mean()),
                    label=f"similarity of {explanations[0].title}, {other.name}",
                    n=len(shown),
                    format="{:.2f}",
                )
            exhibits.append(maps_exhibit(models, shown, explanations, similarity))
        if not exhibits:
            raise next(iter(skipped.values()), UserError("no attribution method is given"))
        confidences = [_confidence(each, shown) for each in models]
        return Result(
            exhibits=[*exhibits, confidence_chart(models, shown, confidences)],
            numbers=numbers,
            warnings=skipped_warnings(skipped),
        )


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
