"""The gradient, deconvnet and guided backprop side by side, with their randomisation tests."""

from typing import Literal

from pydantic import Field

from probe.analyses.analysis import Analysis
from probe.analyses.attribution.backprop_exhibits import backprop_exhibit
from probe.analyses.attribution.explanations import Explanation, affordable, explain, skipped_warnings
from probe.analyses.attribution.selection import TARGET_HELP, Selection, select
from probe.analyses.job import Job
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


class Backprop(Analysis):
    """Which pixels does a class score, a channel or a unit depend on, by each backward rule of the ReLU?"""

    name = "backprop"
    title = "Gradient, deconvnet and guided backprop"
    source = "Simonyan et al. 2014; Zeiler and Fergus 2014; Springenberg et al. 2015, arXiv 1412.6806"
    quick = {"examples": 2}

    rule: Literal["all", "gradient", "deconvnet", "guided"] = Field(
        "all", description="backward rule of the ReLU; all shows the three side by side"
    )
    target: str = Field("predicted", description=TARGET_HELP)
    examples: int = Field(4, ge=1, le=32, description="images to show")

    def run(self, model: Model, images: Images, job: Job) -> Result:
        seed = job.seed()
        methods = list(_METHODS.values()) if self.rule == "all" else [_METHODS[self.rule]]
        plan = affordable(methods, model, examples=self.examples)
        selection = select(model, images, max(self.examples, plan.test_images), self.target, seed)
        explanations = explain(methods, model, selection, job, plan=plan, label=self.name, seed=seed)
        warnings = skipped_warnings(explanations.skipped)
        if any(isinstance(reason, NoRelu) for reason in explanations.skipped.values()):
            warnings = [
                f"There is no ReLU in {model.name} before {selection.description}: "
                "deconvnet and guided backprop would equal the gradient, so only the gradient is shown."
            ]
        shown = list(explanations.by_method.values())
        other_image = [_other_image_similarity(e, model, selection) for e in shown if len(selection) > 1]
        exhibit = backprop_exhibit(model, selection.first(self.examples), shown, other_image)
        return Result(exhibits=[exhibit], numbers=explanations.numbers, warnings=warnings)


def _other_image_similarity(explanation: Explanation, model: Model, selection: Selection) -> float:
    """Mean rank correlation between the maps of two images for the same target."""
    others = explanation.method.map(model, selection.pixels.roll(1, 0), selection.targets)
    return float(rank_correlation(explanation.maps, others).mean())
