"""What does an attack change on its way from the pixels to the answer?"""

import torch
from pydantic import Field
from torch import Tensor

from probe.analyses.adversarial.attack_path_images import attribution_pictures, spectrum_chart
from probe.analyses.adversarial.attack_path_layers import layers_chart, turning_chart
from probe.analyses.adversarial.attack_path_plane import loss_surface, way_scatter
from probe.analyses.adversarial.masking_report import masking_warnings
from probe.analyses.adversarial.warnings import UNLABELLED, invalid_warning
from probe.analyses.analysis import Analysis
from probe.analyses.job import Job
from probe.data.images import Images
from probe.errors import UserError
from probe.exhibits.exhibits import Exhibit
from probe.exhibits.result import Number, Result
from probe.exhibits.wording import format_eps
from probe.methods.adversarial.activation_shift import along, class_means
from probe.methods.adversarial.blackbox import random_noise
from probe.methods.adversarial.criteria import labels_or_predictions
from probe.methods.adversarial.evaluate import Evaluation, evaluate, joined
from probe.methods.adversarial.gradient_attacks import PGD
from probe.methods.adversarial.masking import SAMPLE, quick_checks
from probe.methods.adversarial.per_image_random import PerImageRng
from probe.methods.attribution.registry import METHODS, chosen
from probe.model.model import Model
from probe.params import Fraction, Names


class AttackPath(Analysis):
    """What does an attack change on its way from the pixels to the answer?"""

    name = "attack-path"
    title = "Anatomy of an attack"
    source = "Szegedy et al. 2014, arXiv 1312.6199; Goodfellow et al. 2015, arXiv 1412.6572; Yin et al. 2019, arXiv 1906.08988"
    needs_images = 2

    eps: Fraction = Field(8 / 255, gt=0, le=1, description="largest change of a pixel, of [0, 1]")
    steps: int = Field(20, ge=1, le=1000, description="gradient steps of PGD")
    at_most: int = Field(64, ge=2, le=10_000, description="images to attack; drawn evenly over the classes")
    layers: Names = Field((), description="addresses to follow (default: up to twelve, from first to last)")
    method: str = Field("integrated_gradients", description="attribution to compare: " + ", ".join(METHODS))
    examples: int = Field(3, ge=1, le=20, description="images whose attribution is shown")
    grid: int = Field(21, ge=5, le=101, description="points along each side of the loss surface")

    def run(self, model: Model, images: Images, job: Job) -> Result:
        (method,) = chosen([self.method])
        addresses = [model.layers.find(a).address for a in self.layers] or along(model.layers, 12)
        seed = job.seed()
        images = images.take(self.at_most, seed=seed)
        size = model.batch(gradient=True)
        pixels, labels = images.pixels(model.device), labels_or_predictions(model, images).to(model.device)
        checks = quick_checks(model, pixels[:SAMPLE], labels[:SAMPLE])
        outcomes, total = [], -(-len(images) // size)
        for rows in job.progress(torch.arange(len(images)).split(size), "attacking", total):
            outcomes.append(self._attacked(model, pixels[rows], labels[rows], rows, seed))
        outcome = joined(outcomes, pixels=True)
        warnings = [UNLABELLED] if images.labels is None else []
        warnings += invalid_warning(outcome.invalid) + masking_warnings(checks)
        rows = outcome.fooled.nonzero()[:, 0]
        if not len(rows):
            warnings.append(
                f"No image is fooled at eps {format_eps(self.eps)}: what is shown is the attempt. Try a larger eps."
            )
            rows = outcome.correct.nonzero()[:, 0]
        if not len(rows):
            raise UserError(
                f"{model.name} answers none of {len(images)} images rightly: there is nothing to attack"
            )
        before, after = pixels[rows], outcome.pixels[rows]
        noised = random_noise(
            before, (after - before).flatten(1).norm(dim=1), PerImageRng(seed, rows, like=before)
        )
        source, goal = (o[rows].to(model.device) for o in (outcome.clean_prediction, outcome.prediction))
        means, count = class_means(model, images.batches(size, model.device), addresses)
        exhibits: list[Exhibit] = [
            layers_chart(model, addresses, before, after, noised, size),
            *turning_chart(model, after, source, goal, means, count, addresses),
        ]
        likeness, picture = attribution_pictures(
            model, method.name, before, after, source, goal, outcome, rows, self.examples
        )
        exhibits += [picture, spectrum_chart(before, after, noised, self.eps)]
        try:
            exhibits.append(
                way_scatter(model, images, before[:1], after[:1], int(source[0]), int(goal[0]), size)
            )
        except UserError as error:
            warnings.append(f"The way through the embedding is not shown: {error}.")
        exhibits.append(loss_surface(model, before[0], after[0], noised[0], int(source[0]), self.grid))
        numbers = {
            "fooled": Number(value=outcome.success_rate, n=int(outcome.correct.sum()), format="{:.1%}"),
            "likeness of attribution": Number(
                value=likeness, n=min(self.examples, len(rows)), format="{:.2f}"
            ),
        }
        return Result(exhibits=exhibits, numbers=numbers, warnings=warnings)

    def _attacked(self, model: Model, pixels: Tensor, labels: Tensor, rows: Tensor, seed: int) -> Evaluation:
        return evaluate(model, pixels, labels, PGD(eps=self.eps, steps=self.steps), seed=seed, ids=rows)
