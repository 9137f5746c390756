"""FGSM: accuracy under one signed gradient step of rising size, beside noise of the same size."""

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from probe.analyses.adversarial import fgsm_exhibits as show
from probe.analyses.adversarial.masking_report import masking_warnings
from probe.analyses.adversarial.warnings import UNLABELLED, invalid_warning
from probe.analyses.analysis import Analysis
from probe.analyses.job import Arrays, Job, joined
from probe.data.images import Images
from probe.errors import UserError, unknown
from probe.exhibits.result import Result
from probe.methods.adversarial.criteria import Criterion, labels_or_predictions, make_criterion
from probe.methods.adversarial.gradient_attacks import FGSM, AttackLoss, ray
from probe.methods.adversarial.masking import GRADIENT, SAMPLE, Check, quick_checks
from probe.methods.adversarial.min_radius import min_radius_on_ray
from probe.methods.adversarial.per_image_random import PerImageRng
from probe.methods.adversarial.single_step import SingleStep, radii_of_the_fall, single_step
from probe.model.budget import GRADIENT_COST, affordable
from probe.model.model import Model
from probe.params import Fraction

MOST_IMAGES = 1000

_SECONDS = 84  # of one core: a minute on two
_SAMPLE = 48  # images from which the radii are chosen
_SEARCH_PASSES = 20  # of the search along a ray, on average


class Fgsm(Analysis):
    """How much accuracy does one signed gradient step cost?"""

    name = "fgsm"
    title = "Fast gradient sign method"
    source = FGSM.source
    headlines = ("accuracy_attacked",)

    eps: Fraction = Field(8 / 255, gt=0, le=1, description="largest change of a pixel value, in [0, 1]")
    eps_steps: int = Field(
        8,
        ge=1,
        le=50,
        description="number of radii between 0 and eps; they are chosen on a sample so that about the same number of "
        "images is fooled from each one to the next",
    )
    loss: AttackLoss = "log-odds"
    target: str = Field(
        "",
        description="target class, by name or number (default: untargeted, any class other than the label)",
    )
    max_images: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="number of images to attack, sampled evenly over the classes (0: as many as fit into a minute, "
        f"up to {MOST_IMAGES:,})",
    )
    examples: int = Field(4, ge=1, le=20, description="number of images to show")

    def run(self, model: Model, images: Images, job: Job) -> Result:
        target = class_number(model, self.target) if self.target else None
        seed = job.seed()
        available = len(images)
        images = images.take(self.max_images or self._affordable(model), seed=seed)
        drawn = not self.max_images and len(images) < available
        checks = self._checks(model, images)
        steps, eps = self._single_step(model, images, job, target=target, seed=seed)
        findings = show.FgsmFindings.of(
            steps, eps, None if target is None else model.classes[target], available if drawn else None
        )
        return Result(
            exhibits=[
                show.accuracy_chart(findings),
                show.example_grid(model, images, steps, FGSM(eps=self.eps, loss=self.loss), self.examples, target),
            ],
            numbers=show.numbers(findings),
            warnings=[
                *([UNLABELLED] if images.labels is None else []),
                *show.zero_gradient_warning(findings),
                *invalid_warning(steps.invalid),
                *masking_warnings([c for c in checks if not findings.zero_gradient or c.name != GRADIENT]),
            ],
        )  # fmt: skip

    def _checks(self, model: Model, images: Images) -> list[Check]:
        few = images.select(torch.arange(min(SAMPLE, len(images))))
        return quick_checks(
            model, few.pixels(model.device), labels_or_predictions(model, few), loss=self.loss
        )

    def _affordable(self, model: Model) -> int:
        passes = GRADIENT_COST + 2 * self.eps_steps + _SEARCH_PASSES
        return affordable(_SECONDS, model, passes=passes, low=16, high=MOST_IMAGES)

    def _single_step(
        self, model: Model, images: Images, job: Job, *, target: int | None, seed: int
    ) -> tuple[SingleStep, np.ndarray]:
        """All images but those that are of the target class already, and the radii, the first of them 0."""
        labels = labels_or_predictions(model, images)
        rows = torch.arange(len(images)) if target is None else (labels != target).nonzero()[:, 0]
        if not len(rows):
            raise UserError(
                f"every image is of the target class {self.target} already: choose another target"
            )

        def batch(rows: Tensor) -> tuple[Tensor, Criterion]:
            pixels = images.select(rows).pixels(model.device)
            return pixels, make_criterion(model, pixels, labels[rows].to(model.device), target)

        size = model.batch(gradient=True)
        sample = rows[torch.linspace(0, len(rows) - 1, min(_SAMPLE, len(rows))).long()]
        pilot = [
            min_radius_on_ray(model, ray(model, pixels, criterion, loss=self.loss), criterion)
            for pixels, criterion in map(batch, job.progress(sample.split(size), "choosing radii"))
        ]
        eps = radii_of_the_fall(torch.cat(pilot).cpu().numpy(), self.eps, self.eps_steps)

        def compute(rows: Tensor, _: torch.Generator) -> Arrays:
            pixels, criterion = batch(rows)
            rng = PerImageRng(seed, rows, like=pixels)
            return single_step(
                model, pixels, criterion, rng, eps=torch.from_numpy(eps), loss=self.loss
            ).arrays()

        chunks = job.chunks("fgsm", rows.split(size), compute)
        return SingleStep.from_arrays(joined(chunks)), eps


def class_number(model: Model, text: str) -> int:
    """The number of a class that is given by its name or its number; UserError where there is none."""
    if text in model.classes:
        return model.classes.index(text)
    if text.isdecimal() and int(text) < len(model.classes):
        return int(text)
    raise unknown("class", text, model.classes, hint=f"{model.name} has {len(model.classes)}.")
