"""Which attribution methods can be believed on this model?"""

from dataclasses import replace

import numpy as np
import torch
from pydantic import Field

from probe.analyses.analysis import Analysis
from probe.analyses.attribution import attribution_tests_exhibits as verdicts
from probe.analyses.attribution.attribution_tests_run import TestPlan, chance, decide, memory, run_tests
from probe.analyses.attribution.explanations import likenesses, without
from probe.analyses.attribution.selection import Selection, select
from probe.analyses.job import Arrays, Job
from probe.data.images import Images
from probe.errors import UserError
from probe.exhibits.result import Number, Result
from probe.methods.attribution.registry import (
    EDGES,
    METHODS,
    Level,
    Method,
    Settings,
    chosen,
    cost,
    filled,
    macs,
)
from probe.methods.attribution.sanity_checks import layers_behind
from probe.model.model import Model
from probe.params import Fraction, Names
from probe.statistics import wilson_interval

_BUDGET = 1e12  # multiply-accumulates for either part: half a minute on one core
_LEVELS: tuple[Level, ...] = ((16, 8, 4), (8, 4, 3))


class Trust(Analysis):
    """Which attribution methods can be believed on this model?"""

    name = "trust"
    title = "Can the pictures be believed?"
    source = "Adebayo et al. 2018, arXiv 1810.03292; Sixt et al. 2020, arXiv 1912.09818; Yeh et al. 2019; Zhang et al. 2018; Petsiuk et al. 2018; Arras et al. 2022"

    quick = {"count": 4, "tested": 2, "stages": 2, "steps": 2, "samples": 2, "points": 3}

    methods: Names = Field(tuple(METHODS), description=f"which of {', '.join(METHODS)}")
    count: int = Field(
        0, ge=0, le=10_000, description="images to measure on (0: 4 to 64, as the network's cost allows)"
    )
    tested: int = Field(
        0,
        ge=0,
        le=1000,
        description="of them through randomisation and noise (0: 4 to 16, as the cost allows)",
    )
    stages: int = Field(
        4, ge=2, le=200, description="steps in which the weights are shuffled, last layers first"
    )
    steps: int = Field(
        0,
        ge=0,
        le=1000,
        description="points on the way of integrated gradients (0: 16, fewer where the network is dear)",
    )
    samples: int = Field(
        0, ge=0, le=1000, description="noisy copies of SmoothGrad (0: 8, fewer where the network is dear)"
    )
    window: int = Field(
        0,
        ge=0,
        le=1024,
        description="side of the occluding square (0: a quarter of the image, more where the network is dear)",
    )
    layer: str = Field("", description="layer of Grad-CAM (default: the last with maps of 4 x 4 or more)")
    points: int = Field(11, ge=3, le=200, description="shares of the pixels on insertion and deletion curves")
    radius: Fraction = Field(
        0.02, gt=0, le=1, description="size of the noise for the sensitivity, in pixel values"
    )

    def run(self, model: Model, images: Images, job: Job) -> Result:
        methods = chosen(self.methods)
        if self.layer:
            model.layers.find(self.layer)
        seed = job.seed()
        told = Settings(
            steps=self.steps, samples=self.samples, window=self.window, layer=self.layer, seed=seed
        )
        plans = [filled(told, model, level) for level in _LEVELS]
        drawn = self.stages + 4  # pictures of every image in the trial: stages, last layer, noise, two others
        settings = next((one for one in plans if 8 * drawn * cost(methods, model, one) <= _BUDGET), plans[-1])
        dear = cost(methods, model, settings)
        curves = 2 * self.points * (len(methods) + 2) * macs(model)
        count = self.count or int(np.clip(_BUDGET / (dear + curves), 4, 64))
        asked = select(model, images, count, "predicted", seed)
        tested = self.tested or int(np.clip(_BUDGET / (drawn * dear), 4, 16))
        trial = TestPlan(
            tested=min(len(asked), tested), stages=self.stages, points=self.points, radius=self.radius
        )
        ready, warnings = _usable(methods, model, asked, settings)

        def compute(method: Method, rng: torch.Generator) -> Arrays:
            return run_tests(method, model, asked, settings, trial)

        found = dict(zip(ready, job.chunks("trust", ready, compute), strict=True))
        random = chance(model, asked, self.points, seed)
        runner_up = not torch.equal(asked.answer, asked.second)
        findings = {
            method: decide(measured, random, runner_up=runner_up) for method, measured in found.items()
        }
        if asked.images.masks is None:
            warnings.append(
                f"{images.name} has no masks: pointing game, relevance mass and rank are left out. `shapes` has them."
            )
        layers = len(layers_behind(model, asked.targets))
        return Result(
            exhibits=[
                verdicts.table(model.name, found, findings, random, asked, trial),
                verdicts.likeness_chart(found, layers, trial.tested),
                verdicts.forgetting_pictures(found, asked, asked.heads(model)[0]),
                *(verdicts.curves(found, random, kind) for kind in ("insertion", "deletion")),
            ],
            numbers=_numbers(found),
            warnings=warnings,
        )


def _usable(
    methods: list[Method], model: Model, asked: Selection, settings: Settings
) -> tuple[list[Method], list[str]]:
    """The methods that can be applied, edges with them, and for the others why not; UserError where none can."""
    one = torch.zeros(1, dtype=torch.long, device=asked.pixels.device)
    cheap = replace(settings, steps=1, samples=1)
    usable: list[Method] = []
    left_out: dict[str, UserError] = {}
    for method in methods:
        try:
            method.picture(model, asked.pixels[one], asked.targets[one], cheap)
            usable.append(method)
        except UserError as error:
            left_out[method.name] = error
    if not usable:
        raise next(iter(left_out.values()), UserError("no attribution method was asked for"))
    return [*usable, EDGES], without(left_out)


def _numbers(found: dict[Method, Arrays]) -> dict[str, Number]:
    numbers: dict[str, Number] = {}
    for method, measured in found.items():
        if method is not EDGES:
            numbers |= likenesses(method, memory(measured))
    for method, measured in found.items():
        n = len(measured["insertion"])
        if "pointing" in measured and method is not EDGES:
            hits = int(measured["pointing"].sum())
            low, high = wilson_interval(hits, n)
            numbers[f"pointing accuracy, {method.title}"] = Number(
                value=hits / n, low=low, high=high, n=n, format="{:.0%}"
            )
        if "complete" in measured:
            numbers["completeness error"] = Number(
                value=float(np.median(measured["complete"])), n=n, format="{:.2%}"
            )
    return numbers
