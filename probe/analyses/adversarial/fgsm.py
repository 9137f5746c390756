"""FGSM: accuracy under one signed gradient step of rising size, beside noise of the same size."""

import torch
from pydantic import Field

from probe.analyses.adversarial import fgsm_exhibits as show
from probe.analyses.adversarial.masking_report import masking_warnings
from probe.analyses.adversarial.warnings import UNLABELLED, invalid_warning
from probe.analyses.analysis import Analysis
from probe.analyses.job import Job
from probe.data.images import Images
from probe.errors import UserError, unknown
from probe.exhibits.result import Result
from probe.methods.adversarial.criteria import labels_or_predictions, make_criterion, predict
from probe.methods.adversarial.gradient_attacks import FGSM, AttackLoss
from probe.methods.adversarial.masking import GRADIENT, SAMPLE, Check, quick_checks
from probe.methods.adversarial.per_image_random import PerImageRng
from probe.methods.adversarial.single_step import SingleStep, single_step
from probe.model.model import Model
from probe.params import Fraction


class Fgsm(Analysis):
    """How much accuracy does one signed gradient step cost?"""

    name = "fgsm"
    title = "Fast gradient sign method"
    source = FGSM.source

    eps: Fraction = Field(8 / 255, gt=0, le=1, description="largest change of a pixel, of [0, 1]")
    eps_steps: int = Field(6, ge=1, le=50, description="radii to try above 0, up to eps")
    loss: AttackLoss = "log-odds"
    target: str = Field("", description="target class, by name or number (default: any other than the label)")
    max_images: int = Field(
        1000, ge=1, le=1_000_000, description="images to attack; drawn evenly over the classes"
    )
    examples: int = Field(4, ge=1, le=20, description="images to show")

    def run(self, model: Model, images: Images, job: Job) -> Result:
        target = class_number(model, self.target) if self.target else None
        seed = job.seed()
        images = images.take(self.max_images, seed=seed)
        checks = self._checks(model, images)
        steps = self._single_step(model, images, job, target=target, seed=seed)
        findings = show.FgsmFindings.of(steps, self.eps, None if target is None else model.classes[target])
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

    def _single_step(
        self, model: Model, images: Images, job: Job, *, target: int | None, seed: int
    ) -> SingleStep:
        """All images but those that are of the target class already."""
        eps = torch.linspace(0, self.eps, self.eps_steps + 1, dtype=torch.float64)
        size = model.batch(gradient=True)
        parts = []
        for batch in job.progress(images.batches(size, model.device), "fgsm", -(-len(images) // size)):
            labels = predict(model, batch.pixels).argmax(1) if batch.labels is None else batch.labels
            rows = torch.arange(len(labels)) if target is None else (labels != target).nonzero()[:, 0]
            if len(rows):
                pixels = batch.pixels[rows]
                criterion = make_criterion(model, pixels, labels[rows], target)
                rng = PerImageRng(seed, batch.positions[rows.cpu()], like=pixels)
                parts.append(single_step(model, pixels, criterion, rng, eps=eps, loss=self.loss))
        if not parts:
            raise UserError(
                f"every image is of the target class {self.target} already: choose another target"
            )
        return SingleStep.joined(parts)


def class_number(model: Model, text: str) -> int:
    """The number of a class that is given by its name or its number; UserError where there is none."""
    if text in model.classes:
        return model.classes.index(text)
    if text.isdecimal() and int(text) < len(model.classes):
        return int(text)
    raise unknown("class", text, model.classes, hint=f"{model.name} has {len(model.classes)}.")
