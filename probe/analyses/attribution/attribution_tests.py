"""Sanity checks and faithfulness of attribution methods on one model."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
from pydantic import BeforeValidator, Field

from probe.analyses.analysis import Analysis
from probe.analyses.attribution.attribution_tests_exhibits import (
    cascade_images,
    curve_chart,
    randomisation_chart,
    verdict_table,
)
from probe.analyses.attribution.attribution_tests_run import (
    Measurements,
    TestPlan,
    not_applicable,
    random_order,
    run_tests,
)
from probe.analyses.attribution.attribution_tests_verdict import MethodTests, decide
from probe.analyses.attribution.explanations import parse_methods, similarity_numbers, skipped_warnings
from probe.analyses.attribution.selection import Selection, select
from probe.analyses.job import Arrays, Job
from probe.data.images import Images
from probe.errors import UserError
from probe.exhibits.result import Number, Result, proportion
from probe.methods.attribution.edges import EDGES
from probe.methods.attribution.method import AttributionMethod, Precision, cost, macs
from probe.methods.attribution.registry import METHODS, methods_help
from probe.methods.attribution.sanity_checks import layers_behind
from probe.model.model import Model
from probe.params import Fraction
from probe.registry import keys, titles

_BUDGET = 1e12  # multiply-accumulates for either part: half a minute on one core
_PRECISIONS: tuple[Precision, ...] = ("medium", "coarse")

_BY_FAMILY = (
    "gradient",
    "deconvnet",
    "guided-backprop",
    "gradient-input",
    "integrated-gradients",
    "smoothgrad",
    "occlusion",
    "gradcam",
    "guided-gradcam",
    "hirescam",
    "layercam",
    "finer-cam",
)
_ON_REQUEST = (
    "deeplift",
    "deeplift-shap",
    "gradient-shap",
    "lrp",
    "lime",
    "kernel-shap",
    "feature-ablation",
    "shapley-sampling",
)  # they take as long as all others together, and the import of captum takes seconds
_DEFAULT = tuple(name for name in dict.fromkeys((*_BY_FAMILY, *METHODS.catalogue)) if name not in _ON_REQUEST)
_QUICK = {
    "integrated-gradients": "integrated-gradients(steps=2)",
    "smoothgrad": "smoothgrad(samples=2)",
}


class AttributionTests(Analysis):
    """Which attribution methods are faithful to this model?"""

    name = "attribution-tests"
    title = "Sanity checks and faithfulness of attribution methods"
    source = "Adebayo et al. 2018, arXiv 1810.03292; Sixt et al. 2020, arXiv 1912.09818; Yeh et al. 2019; Zhang et al. 2018; Petsiuk et al. 2018; Arras et al. 2022"

    quick = {
        "methods": tuple(_QUICK.get(name, name) for name in _DEFAULT),
        "max_images": 4,
        "test_images": 2,
        "stages": 2,
        "curve_points": 3,
    }

    methods: Annotated[tuple[str, ...], BeforeValidator(METHODS.texts)] = Field(
        _DEFAULT, description=methods_help()
    )
    max_images: int = Field(
        0, ge=0, le=10_000, description="images to measure on (0: 4 to 64, fewer for expensive models)"
    )
    test_images: int = Field(
        0,
        ge=0,
        le=1000,
        description="of these, images for randomisation and noise (0: 4 to 16, fewer for expensive models)",
    )
    stages: int = Field(
        4, ge=2, le=200, description="stages of the cascading randomisation, last layers first"
    )
    curve_points: int = Field(11, ge=3, le=200, description="points of the insertion and deletion curves")
    radius: Fraction = Field(
        0.02, gt=0, le=1, description="radius of the noise for the sensitivity, in pixel values"
    )

    def run(self, model: Model, images: Images, job: Job) -> Result:
        written = parse_methods(self.methods)
        seed = job.seed()
        resolved = self._affordable(written, model)
        selection, plan = self._plan(resolved, model, images, seed)
        skipped = not_applicable(resolved, model, selection, seed)
        usable = [i for i, method in enumerate(resolved) if method not in skipped]
        if not usable:
            raise next(iter(skipped.values()), UserError("no attribution method is given"))
        methods, names = [resolved[i] for i in usable], [written[i] for i in usable]

        def compute(method: AttributionMethod, rng: torch.Generator) -> Arrays:
            return run_tests(method, model, selection, plan).arrays()

        measured = [Measurements(**arrays) for arrays in job.chunks(self.name, [*methods, EDGES], compute)]
        random = random_order(model, selection, plan.curve_points, seed)
        runner_up = not torch.equal(selection.prediction, selection.runner_up)
        tests = [
            MethodTests(
                title=title,
                key=key,
                measured=each,
                verdict=decide(each, random, runner_up=runner_up),
                control=not key,
            )
            for title, key, each in zip(
                [*titles(names), EDGES.title], [*keys(names), ""], measured, strict=True
            )
        ]
        warnings = skipped_warnings({written[resolved.index(m)]: reason for m, reason in skipped.items()})
        if selection.dataset.masks is None:
            warnings.append(
                f"{images.name} has no masks, so the pointing game and relevance mass and rank are skipped. `shapes` has them."
            )
        layers = len(layers_behind(model, selection.targets))
        return Result(
            exhibits=[
                verdict_table(model.name, tests, random, plan),
                randomisation_chart(tests, layers, plan.test_images),
                cascade_images(tests, selection.images[0], selection.headers(model)[0]),
                curve_chart(tests, random, "insertion"),
                curve_chart(tests, random, "deletion"),
            ],
            numbers=_numbers([test for test in tests if not test.control]),
            warnings=warnings,
        )

    @property
    def _maps_per_image(self) -> int:
        """Of an image that is tested: the stages, the last layer, noise, another image, another class."""
        return self.stages + 4

    def _affordable(self, methods: Sequence[AttributionMethod], model: Model) -> list[AttributionMethod]:
        """The methods with all parameters filled in, as finely as the budget allows for eight tested images."""
        plans = [[method.resolved(model, precision) for method in methods] for precision in _PRECISIONS]
        costs = [8 * self._maps_per_image * cost(plan, model) for plan in plans]
        return next((plan for plan, spent in zip(plans, costs, strict=True) if spent <= _BUDGET), plans[-1])

    def _plan(
        self, methods: Sequence[AttributionMethod], model: Model, images: Images, seed: int
    ) -> tuple[Selection, TestPlan]:
        """The images to measure on, and how many of them to test, as the budget allows where that is left open."""
        cost_per_image = cost(methods, model)
        curves = 2 * self.curve_points * (len(methods) + 2) * macs(model)
        count = self.max_images or int(np.clip(_BUDGET / (cost_per_image + curves), 4, 64))
        tested = self.test_images or int(np.clip(_BUDGET / (self._maps_per_image * cost_per_image), 4, 16))
        selection = select(model, images, count, "predicted", seed)
        plan = TestPlan(
            test_images=min(len(selection), tested),
            stages=self.stages,
            curve_points=self.curve_points,
            radius=self.radius,
            seed=seed,
        )
        return selection, plan


def _numbers(tests: Sequence[MethodTests]) -> dict[str, Number]:
    numbers: dict[str, Number] = {}
    for test in tests:
        numbers |= similarity_numbers(test.title, test.key, test.measured.randomisation)
    for test in tests:
        n = len(test.measured.insertion)
        if test.measured.pointing is not None:
            hits = int(test.measured.pointing.sum())
            numbers[f"pointing_accuracy_{test.key}"] = proportion(
                hits, n, label=f"pointing accuracy, {test.title}", format="{:.0%}"
            )
        if test.measured.completeness is not None:
            numbers[f"completeness_error_{test.key}"] = Number(
                value=float(np.median(test.measured.completeness)),
                label=f"completeness error of {test.title} (median)",
                n=n,
                format="{:.2%}",
            )
    return numbers
