"""Attribution maps by several methods, with their randomisation tests."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from probe.analyses.attribution.attribution_exhibits import (
    boxes_exhibit,
    contrast_exhibit,
    maps_exhibit,
    predictions_table,
)
from probe.analyses.attribution.budget import BUDGET_HELP, TESTED, affordable
from probe.analyses.attribution.explanations import (
    Explanation,
    completeness_warning,
    explain,
    parse_methods,
    plan_warnings,
    skipped_warnings,
)
from probe.analyses.attribution.selection import TARGET_HELP, Selection, select
from probe.analyses.job import Job
from probe.analyses.single_images import SingleImages
from probe.data.images import Images
from probe.exhibits.exhibits import Exhibit, ImageGrid
from probe.exhibits.heatmaps import overlay_sigma
from probe.exhibits.result import Number, Result
from probe.methods.attribution.registry import METHODS, methods_help
from probe.model.model import Model
from probe.model.targets import UnitTargets
from probe.params import Fraction

_LARGE = 128  # pixels of a side, from which single pixels cannot be seen


class Attribution(SingleImages):
    """Which pixels does the prediction depend on?"""

    name = "attribution"
    title = "Attribution maps"
    source = "Sundararajan et al. 2017; Smilkov et al. 2017; Zeiler and Fergus 2014; Selvaraju et al. 2017"
    quick = {"examples": 2, "methods": ("integrated-gradients(steps=4)", "gradcam", "guided-gradcam")}

    methods: Annotated[tuple[str, ...], BeforeValidator(METHODS.texts)] = Field(
        ("gradient-input", "integrated-gradients", "smoothgrad", "occlusion", "gradcam", "guided-gradcam"),
        description=methods_help(),
    )
    target: str = Field("predicted", description=TARGET_HELP)
    examples: int = Field(3, ge=1, le=32, description="number of images to show")
    budget: int = Field(60, ge=1, le=86_400, description=BUDGET_HELP)
    blur: float | None = Field(
        None,
        ge=0,
        le=20,
        description="standard deviation, in pixels, of the Gaussian blur applied to the displayed maps (default: 1 for "
        "images of 128 pixels or more)",
    )
    box_threshold: Fraction = Field(
        0.2,
        ge=0,
        lt=1,
        description="fraction of the maximum of a map above which pixels are enclosed by its bounding box",
    )

    def run(self, model: Model, images: Images, job: Job) -> Result:
        methods = parse_methods(self.methods)
        seed = job.seed()
        plan = affordable(methods, model, examples=self.count(self.examples), budget=self.budget)
        selection = select(
            self, model, images, count=self.examples, tests=TESTED, target=self.target, seed=seed
        )
        explanations = explain(model, selection, job, plan=plan, label=self.name, seed=seed)
        shown, numbers = selection.shown, explanations.numbers
        warnings = skipped_warnings(explanations.skipped) + plan_warnings(explanations, plan, self.budget)
        exhibits: list[Exhibit] = []
        blur = self._blur(model)
        for explanation in explanations.by_method.values():
            error = _completeness_error(model, shown, explanation)
            if error is not None:
                numbers[f"completeness_error_{explanation.key}"] = error
                warnings += completeness_warning(explanation.method, explanation.title, error.value)
            exhibits.append(maps_exhibit(model, shown, explanation, error.value if error else None, blur))
        candidates = list(explanations.by_method.values())
        if len(model.classes) > 1 and not isinstance(shown.targets, UnitTargets):
            exhibits.append(self._contrast(model, shown, _for_contrast(candidates), seed))
        boxes, overlaps = boxes_exhibit(shown, _for_boxes(candidates), self.box_threshold)
        exhibits += [boxes, predictions_table(model, shown, overlaps)]
        if overlaps:
            numbers["box_iou"] = Number(
                value=sum(overlaps) / len(overlaps),
                label="mean IoU of the bounding boxes",
                n=len(overlaps),
                format="{:.2f}",
            )
        return Result(exhibits=exhibits, numbers=numbers, warnings=warnings)

    def _blur(self, model: Model) -> float:
        if self.blur is not None:
            return self.blur
        return 1.0 if min(model.shape[1:]) >= _LARGE else 0.0

    def _contrast(self, model: Model, shown: Selection, explanation: Explanation, seed: int) -> ImageGrid:
        method = explanation.method.with_references(shown.references)
        predicted = (
            explanation.maps
            if self.target == "predicted"
            else method.map(model, shown.pixels, shown.prediction, seed=seed)
        )
        runner_up = method.map(model, shown.pixels, shown.runner_up, seed=seed)
        height, width = model.shape[1:]
        # Differences of single pixels cannot be seen: they are smoothed as an overlay is.
        blur = max(self._blur(model), overlay_sigma(height, width) if min(height, width) >= _LARGE else 0.0)
        return contrast_exhibit(model, shown, explanation, predicted, runner_up, blur)


def _completeness_error(model: Model, shown: Selection, explanation: Explanation) -> Number | None:
    """The median over the images, for methods that promise completeness."""
    errors = explanation.method.completeness_error(model, shown.pixels, shown.targets, explanation.maps)
    if errors is None:
        return None
    return Number(
        value=float(errors.median()),
        label=f"completeness error of {explanation.title} (median)",
        n=len(shown),
        format="{:.2%}",
    )


def _for_contrast(explanations: list[Explanation]) -> Explanation:
    """A method whose maps of two classes may be subtracted, where there is one."""
    signed = (e for e in explanations if e.method.kind == "signed" and e.method.name != "gradient-input")
    return next(signed, explanations[0])


def _for_boxes(explanations: list[Explanation]) -> Explanation:
    """Grad-CAM, whose maps are smooth enough for bounding boxes, where it is among the methods."""
    return next((e for e in explanations if e.method.name == "gradcam"), explanations[0])
