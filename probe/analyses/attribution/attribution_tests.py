"""Sanity checks and faithfulness of attribution methods on one model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
from probe.analyses.attribution.attribution_tests_verdict import MethodTests, blank_warnings, decide
from probe.analyses.attribution.budget import BUDGET_HELP
from probe.analyses.attribution.explanations import (
    completeness_warning,
    parse_methods,
    similarity_numbers,
    skipped_warnings,
)
from probe.analyses.attribution.selection import draw, single_line
from probe.analyses.job import Arrays, Job
from probe.data.images import Images
from probe.errors import UserError
from probe.exhibits.result import Number, Result, proportion
from probe.exhibits.wording import counted, listed
from probe.methods.attribution.edges import EDGES
from probe.methods.attribution.method import AttributionMethod, Precision, seconds
from probe.methods.attribution.registry import METHODS, methods_help
from probe.methods.attribution.sanity_checks import layers_behind
from probe.model.budget import forward_seconds
from probe.model.model import Model
from probe.params import Fraction
from probe.registry import keys, titles

_MOST_IMAGES = 64
_PART = 0.2  # of the budget: more is taken only for what would get no verdict otherwise
_LEVELS: tuple[tuple[Precision, int, int], ...] = (
    ("fine", 4, 11),
    ("medium", 4, 11),
    ("medium", 2, 6),
    ("coarse", 2, 6),
)
"""Precision of the methods, stages of randomisation and points of the curves, the first that the budget allows."""

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
    "hirescam",
    "layercam",
    "finer-cam",
)  # relatives of methods that are tested; those by captum take as long as all others together
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
        0,
        ge=0,
        le=10_000,
        description="number of images to evaluate on (0: 16 to 64, fewer for expensive models)",
    )
    test_images: int = Field(
        16,
        ge=1,
        le=1000,
        description="number of these images on which the costly tests run: random weights, noise, other images and other classes",
    )
    stages: int | None = Field(
        None,
        ge=2,
        le=200,
        description="number of stages of the cascading randomisation, which starts at the last layers (default: 4, or 2 "
        "for expensive models)",
    )
    curve_points: int | None = Field(
        None,
        ge=3,
        le=200,
        description="number of points on the insertion and deletion curves (default: 11, or 6 for expensive models)",
    )
    budget: int = Field(360, ge=1, le=86_400, description=f"{BUDGET_HELP}; the other methods get no verdict")
    radius: Fraction = Field(
        0.02, gt=0, le=1, description="radius of the noise in the sensitivity test, in pixel values"
    )

    def run(self, model: Model, images: Images, job: Job) -> Result:
        written = parse_methods(self.methods)
        seed = job.seed()
        level = self._affordable(written, model)
        selection = draw(model, images, level.images, "predicted", seed)
        plan = level.plan(self.radius, seed, len(selection))
        unmeasured = [method for method in written if method not in level.methods]
        resolved = list(level.methods.values())
        skipped = not_applicable(resolved, model, selection, seed)
        usable = [method for method, resolved in level.methods.items() if resolved not in skipped]
        if not usable:
            raise next(iter(skipped.values()), UserError(self._too_expensive(model, level, unmeasured)))
        methods = [level.methods[method] for method in usable]

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
                [*titles(usable), EDGES.title], [*keys(usable), ""], measured, strict=True
            )
        ]
        reasons = {
            method: skipped[resolved] for method, resolved in level.methods.items() if resolved in skipped
        }
        warnings = skipped_warnings(reasons) + blank_warnings(tests)
        if unmeasured:
            warnings.append(self._too_expensive(model, level, unmeasured))
        for method, test in zip(methods, tests, strict=False):
            if test.measured.completeness is not None:
                error = float(np.nanmedian(test.measured.completeness))
                warnings += completeness_warning(method, test.title, error)
        if selection.dataset.masks is None:
            warnings.append(
                f"{images.name} has no masks, so the pointing game and relevance mass and rank are skipped. `shapes` has them."
            )
        layers = len(layers_behind(model, selection.targets))
        return Result(
            exhibits=[
                verdict_table(model.name, tests, random, plan),
                randomisation_chart(tests, layers, plan.test_images),
                cascade_images(tests, selection.images[0], single_line(selection.headers(model)[0])),
                *(
                    chart
                    for kind in ("insertion", "deletion")
                    if (chart := curve_chart(tests, random, kind)) is not None
                ),
            ],
            numbers=_numbers([test for test in tests if not test.control]),
            warnings=warnings,
        )

    def _affordable(self, methods: Sequence[AttributionMethod], model: Model) -> "_Level":
        """The finest level within a part of the budget; the coarsest takes all of it, less the most expensive methods."""
        levels = [self._level(methods, model, *level) for level in _LEVELS]
        level = next((each for each in levels if each.seconds(model) <= _PART * self.budget), levels[-1])
        if not self.max_images:
            while (
                level.images < _MOST_IMAGES
                and replace(level, images=level.images + 1).seconds(model) <= _PART * self.budget
            ):
                level = replace(level, images=level.images + 1)
        cheapest = sorted(level.methods, key=lambda method: seconds([level.methods[method]], model))
        affordable: dict[AttributionMethod, AttributionMethod] = {}
        for method in cheapest:
            more = {**affordable, method: level.methods[method]}
            if replace(level, methods=more).seconds(model) <= self.budget:
                affordable = more
        return replace(
            level,
            methods={method: resolved for method, resolved in level.methods.items() if method in affordable},
        )

    def _level(
        self,
        methods: Sequence[AttributionMethod],
        model: Model,
        precision: Precision,
        stages: int,
        points: int,
    ) -> "_Level":
        return _Level(
            methods={method: method.resolved(model, precision) for method in methods},
            images=self.max_images or self.test_images,
            tested=self.test_images,
            stages=self.stages or stages,
            points=self.curve_points or points,
        )

    def _too_expensive(self, model: Model, level: "_Level", unmeasured: Sequence[AttributionMethod]) -> str:
        """What the budget leaves out, and the budget that would not."""
        coarse = self._level([*level.methods, *unmeasured], model, *_LEVELS[-1])
        needed = int(np.ceil(coarse.seconds(model) / 10)) * 10
        names = listed(titles(unmeasured))
        return (
            f"{names} {'gets' if len(unmeasured) == 1 else 'get'} no verdict: the budget of {self.budget} seconds does not "
            f"allow {counted(level.tested)} of each method (budget={needed} does)."
        )


@dataclass(frozen=True)
class _Level:
    """Methods with their parameters filled in, by the method as written; images, of which some are tested."""

    methods: Mapping[AttributionMethod, AttributionMethod]
    images: int
    tested: int
    stages: int
    points: int

    def seconds(self, model: Model) -> float:
        """The estimated time on one CPU core: maps, curves, and those of the edges and of a random order."""
        tested = min(self.tested, self.images)
        # Of an image that is tested: the stages, the last layer, noise, another image, another class.
        maps = self.images + tested * (self.stages + 4)
        curves = 2 * self.points * self.images * (len(self.methods) + 2) * forward_seconds(model)
        return maps * seconds(self.methods.values(), model) + curves

    def plan(self, radius: float, seed: int, images: int) -> TestPlan:
        return TestPlan(
            test_images=min(images, self.tested),
            stages=self.stages,
            curve_points=self.points,
            radius=radius,
            seed=seed,
        )


def _numbers(tests: Sequence[MethodTests]) -> dict[str, Number]:
    numbers: dict[str, Number] = {}
    for test in tests:
        numbers |= similarity_numbers(test.title, test.key, test.measured.randomisation)
    for test in tests:
        n = int(test.measured.usable.sum())
        if test.measured.pointing is not None and n:
            hits = int(np.nansum(test.measured.pointing))
            numbers[f"pointing_accuracy_{test.key}"] = proportion(
                hits, n, label=f"pointing accuracy, {test.title}", format="{:.0%}"
            )
        if test.measured.completeness is not None and n:
            numbers[f"completeness_error_{test.key}"] = Number(
                value=float(np.nanmedian(test.measured.completeness)),
                label=f"completeness error of {test.title} (median)",
                n=n,
                format="{:.2%}",
            )
    return numbers
