"""Transferability: attacks computed on one model, evaluated on others."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Annotated

import torch
from pydantic import BeforeValidator, Field
from torch import Tensor

from probe.analyses.adversarial import transferability_exhibits as show
from probe.analyses.adversarial.masking_report import masking_warnings
from probe.analyses.adversarial.warnings import UNLABELLED, invalid_warning
from probe.analyses.analysis import Analysis
from probe.analyses.job import Arrays, Job, joined
from probe.data.images import Images
from probe.data.subsample import stratified_sample
from probe.errors import UserError
from probe.exhibits.result import Result
from probe.methods.adversarial.attack import Attack
from probe.methods.adversarial.masking import SAMPLE, quick_checks
from probe.methods.adversarial.passes import count_passes
from probe.methods.adversarial.registry import ATTACKS
from probe.methods.adversarial.transfer import View, transfer, views
from probe.model.budget import forward_seconds
from probe.model.model import Model
from probe.params import Fraction
from probe.registry import titles

MOST_IMAGES = 256

_SECONDS = 84  # of one core: a minute on two
_FEWEST = 16
_PILOT = 2  # images on which the passes of the attacks are counted
_CHUNKS = (
    8  # at least, where there are as many images: parts of the progress, and what is kept when it is stopped
)


class Transferability(Analysis):
    """Do adversarial images of one model fool other models?"""

    name = "transferability"
    title = "Transferability of attacks"
    source = "Szegedy et al. 2014, arXiv 1312.6199; Liu et al. 2017, arXiv 1611.02770"
    needs_compare_to = 1
    headlines = ("transfer_rate_*",)

    attacks: Annotated[tuple[str, ...], BeforeValidator(ATTACKS.texts)] = Field(
        ("noise", "fgsm", "pgd(steps=20)"),
        min_length=1,
        description="attacks, from the weakest to the strongest: any of " + ", ".join(ATTACKS.catalogue),
    )
    eps: Fraction = Field(
        8 / 255,
        gt=0,
        le=1,
        description="largest change of a pixel value in [0, 1], for attacks that do not state their own eps",
    )
    max_images: int = Field(
        0,
        ge=0,
        le=100_000,
        description="number of images to attack, sampled evenly over the classes (0: as many as fit into a minute, "
        f"up to {MOST_IMAGES})",
    )

    def run(self, model: Model, images: Images, job: Job) -> Result:
        seed, available = job.seed(), len(images)
        images = images.take(self.max_images or MOST_IMAGES, seed=seed)
        unlabelled = images.labels is None
        of_models = views([model, *job.compare_to], images)
        declared = [ATTACKS.parse(text) for text in self.attacks]
        # Without early stop, which would leave an image on the boundary of one model, where it hardly fools another.
        attacks = [attack.with_defaults(eps=self.eps, early_stop=False) for attack in declared]
        count = len(images) if self.max_images else affordable_images(of_models, attacks, seed)
        rows = stratified_sample(of_models[0].labels, len(images), count, seed)
        drawn = not self.max_images and count < available

        def compute(rows: Tensor, _: torch.Generator) -> Arrays:
            chunk = transfer(of_models, rows, attacks, seed=seed)
            return {
                "correct": chunk.correct.numpy(),
                "misclassified": chunk.misclassified.numpy(),
                "invalid": chunk.invalid.numpy(),
            }

        batch = min(-(-count // _CHUNKS), *(view.model.batch(gradient=True) for view in of_models))
        table = joined(job.chunks("attacks", rows.split(batch), compute))
        names = model_names([view.model for view in of_models])
        # Only images that all models classify correctly: no success must be counted where there was none to win.
        common = table["correct"].all(1)
        if not common.any():
            raise UserError(f"no image of {images.name} is classified correctly by all of {', '.join(names)}")
        findings = [
            show.TransferFindings.of(attack, title, names, table["misclassified"][common][:, a])
            for a, (attack, title) in enumerate(zip(attacks, titles(declared), strict=True))
        ]
        return Result(
            exhibits=[
                *(show.transfer_matrix(f) for f in reversed(findings)),
                show.model_table(
                    [view.model for view in of_models], names, table["correct"], available if drawn else None
                ),
            ],
            numbers=show.numbers(declared, findings),
            warnings=[
                *([UNLABELLED.replace("the model's", "the first model's")] if unlabelled else []),
                *show.resize_warning([view.model for view in of_models], names),
                *(line for name, view in zip(names, of_models, strict=True) for line in _checks(name, view)),
                *invalid_warning(torch.from_numpy(table["invalid"])),
            ],
        )


def affordable_images(of_models: Sequence[View], attacks: Sequence[Attack], seed: int) -> int:
    """How many of the images a minute on two cores allows, at least 16, by the passes that two of them take."""
    total = len(of_models[0].labels)
    rows = torch.arange(min(_PILOT, total))
    with ExitStack() as stack:
        counts = [(stack.enter_context(count_passes(view.model)), view.model) for view in of_models]
        transfer(of_models, rows, attacks, seed=seed)
    seconds = sum(passes.cost * forward_seconds(model) for passes, model in counts) / len(rows)
    return min(total, max(_FEWEST, int(_SECONDS / seconds)))


def model_names(models: list[Model]) -> list[str]:
    """Their names, numbered where two are the same."""
    names = [model.name for model in models]
    return [f"{name} ({k + 1})" if names.count(name) > 1 else name for k, name in enumerate(names)]


def _checks(name: str, view: View) -> list[str]:
    """Warnings of a model whose gradient is masked."""
    pixels, labels = view.batch(torch.arange(min(SAMPLE, len(view.labels))))
    return [f"{name}: {line}" for line in masking_warnings(quick_checks(view.model, pixels, labels))]
