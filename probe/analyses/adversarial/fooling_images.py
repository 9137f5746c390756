"""Fooling images: real images, noise and smooth patterns that are changed until the network is certain of a class."""

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from probe.analyses.adversarial import fooling_images_exhibits as show
from probe.analyses.analysis import Analysis
from probe.analyses.job import Job
from probe.data.images import Images
from probe.errors import UserError, unknown
from probe.exhibits.result import Result
from probe.methods.adversarial.criteria import predict
from probe.methods.adversarial.norms import perturbation_norm
from probe.methods.adversarial.score_ascent import ascend_class_score
from probe.methods.synthesis.objectives import LogProbability
from probe.methods.synthesis.optimise import Schedule, optimise
from probe.methods.synthesis.parametrisation import Fourier
from probe.methods.synthesis.steps import Adam
from probe.model.budget import GRADIENT_COST, forward_seconds
from probe.model.model import Model
from probe.params import Fraction, Names

_SECONDS = 45
_SMOOTH = 2.0


class FoolingImages(Analysis):
    """Which unrecognisable or barely changed images does the network classify with high confidence?"""

    name = "fooling-images"
    title = "Fooling images"
    takes_compare_to = True
    source = "Szegedy et al. 2014, arXiv 1312.6199; Nguyen et al. 2015, arXiv 1412.1897"
    quick = {"targets": "0,1", "steps": 10}

    targets: Names = Field(
        (),
        description="target classes, by name or number (default: evenly spaced over all classes, as many as the budget "
        "allows)",
    )
    n_targets: int = Field(5, ge=1, le=100, description="number of target classes if none are named")
    steps: int = Field(100, ge=1, le=10_000, description="maximum number of steps")
    step: Fraction = Field(0.1, gt=0, le=100, description="L2 length of a step, for pixels in [0, 1]")
    confidence: Fraction = Field(
        0.99,
        gt=0,
        lt=1,
        description="confidence in the target class at which the optimisation of an image stops",
    )

    def run(self, model: Model, images: Images, job: Job) -> Result:
        targets = self._targets(model)
        seed = job.seed()
        start, own = self._certain(model, images)
        classes = torch.tensor(targets, device=model.device)
        noise = torch.stack(
            [
                torch.rand(model.shape, generator=torch.Generator().manual_seed(seed + i))
                for i in range(len(targets))
            ]
        ).to(start)
        rows = {
            show.IMAGE: start.expand(len(targets), -1, -1, -1),
            show.NOISE: noise,
        }
        ends, reached = {}, {}
        for name, begin in rows.items():
            ends[name], reached[name] = self._ascend(model, begin, classes, name, job)
        ends[show.SMOOTH] = self._smooth(model, classes, seed, job)
        with torch.inference_mode():
            reached[show.SMOOTH] = _confidence(model, ends[show.SMOOTH], classes)
        findings = show.Findings(
            own=model.classes[own],
            targets=[model.classes[target] for target in targets],
            confidence=np.stack([reached[name].cpu().numpy() for name in show.ROWS]),
            norms=perturbation_norm(ends[show.IMAGE] - rows[show.IMAGE], "l2").cpu().numpy(),
            wanted=self.confidence,
            steps=self.steps,
            own_target=np.array([target == own for target in targets]),
        )
        others = {
            other.name: self._transferred(other, ends, targets)
            for other in job.compare_to
            if len(other.classes) == len(model.classes) and other.shape == model.shape
        }
        warnings = show.warnings(findings)
        if not self.targets and len(targets) < min(self.n_targets, len(model.classes)):
            warnings.append(
                f"{len(targets)} instead of {self.n_targets} target classes were tried, since each takes about "
                f"{self._target_seconds(model):.0f} s on one core: name others with --targets or set fewer --steps."
            )
        return Result(
            exhibits=show.exhibits(findings, start, [ends[name] for name in show.ROWS], others),
            numbers=show.numbers(findings, others),
            warnings=warnings,
        )

    def _ascend(
        self, model: Model, begin: Tensor, classes: Tensor, name: str, job: Job
    ) -> tuple[Tensor, Tensor]:
        """Images after the ascent from `begin`, and their confidence in the target."""
        size, pixels, confidence = model.batch(gradient=True), [], []
        parts = range(0, len(begin), size)
        for first in job.progress(parts, name, len(parts)):
            rows = slice(first, first + size)
            ascent = ascend_class_score(
                model,
                begin[rows].contiguous(),
                classes[rows],
                steps=self.steps,
                step=self.step,
                confidence=self.confidence,
            )
            pixels.append(ascent.pixels)
            confidence.append(ascent.probability[-1])
        return torch.cat(pixels), torch.cat(confidence)

    def _smooth(self, model: Model, classes: Tensor, seed: int, job: Job) -> Tensor:
        """Patterns of low spatial frequencies that raise the probability alone, without the transforms of `maximise`."""
        size, parts = model.batch(gradient=True), []
        for first in range(0, len(classes), size):
            rows = slice(first, first + size)
            optimised = optimise(
                model,
                LogProbability(classes[rows].cpu()),
                Fourier(model.shape, decay_power=_SMOOTH, contrast=10.0),
                Schedule(self.steps, keep_best=True, target=float(np.log(self.confidence))),
                start=[seed + i for i in range(len(classes))][rows],
                step=Adam(0.05),
                progress=lambda steps: job.progress(steps, show.SMOOTH, self.steps),
            )
            parts.append(optimised.pixels)
        return torch.cat(parts)

    def _certain(self, model: Model, images: Images) -> tuple[Tensor, int]:
        """The image (1, c, h, w) of which the network is most certain, correctly so where labels are known, and its class."""
        best, chosen, own = -1.0, 0, 0
        for batch in images.batches(model.batch(), model.device):
            confidence, predicted = predict(model, batch.pixels).softmax(1).max(1)
            if batch.labels is not None:
                confidence = torch.where(predicted == batch.labels, confidence, 0)
            top = int(confidence.argmax())
            if float(confidence[top]) > best:
                best, chosen = float(confidence[top]), int(batch.positions[top])
                own = int(predicted[top])
        return images.select([chosen]).pixels(model.device), own

    def _target_seconds(self, model: Model) -> float:
        """Seconds of the images of one target on one core, about."""
        return len(show.ROWS) * GRADIENT_COST * self.steps * forward_seconds(model)

    def _targets(self, model: Model) -> list[int]:
        total = len(model.classes)
        if not self.targets:
            count = max(1, min(self.n_targets, total, int(_SECONDS / self._target_seconds(model))))
            return np.unique(np.linspace(0, total - 1, count).round().astype(int)).tolist()
        indices = []
        for text in self.targets:
            if text in model.classes:
                indices.append(model.classes.index(text))
            elif text.isdigit() and int(text) < total:
                indices.append(int(text))
            elif text.isdigit():
                raise UserError(f"there is no class {text}: the classes of {model.name} are 0 to {total - 1}")
            else:
                raise unknown("class", text, model.classes)
        return indices

    def _transferred(self, other: Model, ends: dict[str, Tensor], targets: list[int]) -> list[int]:
        """How many images of each row another network predicts as their target."""
        wanted = torch.tensor(targets)
        return [
            int((predict(other, ends[name].to(other.device)).argmax(1).cpu() == wanted).sum())
            for name in show.ROWS
        ]


def _confidence(model: Model, pixels: Tensor, classes: Tensor) -> Tensor:
    return model.logits(pixels).softmax(1).gather(1, classes[:, None])[:, 0]
