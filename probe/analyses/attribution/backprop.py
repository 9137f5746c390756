"""The gradient, deconvnet and guided backprop side by side, with their randomisation tests."""

from typing import Literal

import numpy as np
from pydantic import Field

from probe.analyses.attribution.backprop_exhibits import backprop_exhibit
from probe.analyses.attribution.budget import BUDGET_HELP, TESTED, affordable
from probe.analyses.attribution.explanations import Explanation, explain, plan_warnings, skipped_warnings
from probe.analyses.attribution.selection import TARGET_HELP, Selection, select
from probe.analyses.job import Job
from probe.analyses.single_images import SingleImages
from probe.data.images import Images
from probe.exhibits.result import Result
from probe.methods.attribution.backprop import Deconvnet, GuidedBackprop
from probe.methods.attribution.gradients import Gradient
from probe.methods.attribution.method import AttributionMethod
from probe.methods.attribution.relu_rules import NoRelu, Rule
from probe.methods.attribution.sanity_checks import rank_correlation
from probe.model.model import Model

_METHODS: dict[Rule, AttributionMethod] = {
    "gradient": Gradient(),
    "deconvnet": Deconvnet(),
    "guided": GuidedBackprop(),
}


class Backprop(SingleImages):
    """Which pixels does a class score, a channel or a unit depend on, according to each backward rule of the ReLU?"""

    name = "backprop"
    title = "Gradient, deconvnet and guided backprop"
    source = "Simonyan et al. 2014; Zeiler and Fergus 2014; Springenberg et al. 2015, arXiv 1412.6806"
    quick = {"examples": 2}

    rule: Literal["all", "gradient", "deconvnet", "guided"] = Field(
        "all", description="backward rule of the ReLU; all: the three rules side by side"
    )
    target: str = Field("predicted", description=TARGET_HELP)
    examples: int = Field(4, ge=1, le=32, description="number of images to show")
    budget: int = Field(60, ge=1, le=86_400, description=BUDGET_HELP)

    def run(self, model: Model, images: Images, job: Job) -> Result:
        seed = job.seed()
        methods = list(_METHODS.values()) if self.rule == "all" else [_METHODS[self.rule]]
        plan = affordable(methods, model, examples=self.count(self.examples), budget=self.budget)
        selection = select(
            self, model, images, count=self.examples, tests=TESTED, target=self.target, seed=seed
        )
        explanations = explain(model, selection, job, plan=plan, label=self.name, seed=seed)
        warnings = skipped_warnings(explanations.skipped)
        if any(isinstance(reason, NoRelu) for reason in explanations.skipped.values()):
            warnings = [
                f"There is no ReLU in {model.name} before {selection.description}: "
                "deconvnet and guided backprop would equal the gradient, so only the gradient is shown."
            ]
        warnings += plan_warnings(explanations, plan, self.budget)
        shown = list(explanations.by_method.values())
        other_image = [_other_image_similarity(e, model, selection) for e in shown]
        exhibit = backprop_exhibit(model, selection.shown, shown, other_image)
        return Result(exhibits=[exhibit], numbers=explanations.numbers, warnings=warnings)


def _other_image_similarity(explanation: Explanation, model: Model, selection: Selection) -> float | None:
    """Mean rank correlation between the maps of two images for the same target; None where it is not measured."""
    maps = explanation.tested_maps
    if maps is None or len(maps) < 2:
        return None
    tested = selection.first(len(maps))
    others = explanation.method.map(model, tested.pixels.roll(1, 0), tested.targets)
    similarity = rank_correlation(maps, others)
    known = similarity[~np.isnan(similarity)]
    return float(known.mean()) if len(known) else None
