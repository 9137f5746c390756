"""What does an attack change between the pixels and the prediction?"""

from typing import Annotated

import torch
from pydantic import BeforeValidator, Field

from probe.analyses.adversarial.attack_path_images import attribution_grid, spectrum_chart
from probe.analyses.adversarial.attack_path_layers import class_change_chart, shift_chart
from probe.analyses.adversarial.attack_path_pairs import make_pairs
from probe.analyses.adversarial.attack_path_plane import loss_surface, path_scatter
from probe.analyses.adversarial.masking_report import masking_warnings
from probe.analyses.adversarial.warnings import UNLABELLED, invalid_warning
from probe.analyses.analysis import Analysis
from probe.analyses.job import Job
from probe.data.images import Images
from probe.errors import NoGradientError, UserError
from probe.exhibits.exhibits import Exhibit
from probe.exhibits.result import Number, Result
from probe.methods.adversarial.activation_shift import class_means, spread_layers
from probe.methods.adversarial.criteria import labels_or_predictions
from probe.methods.adversarial.evaluate import Evaluation, evaluate, joined
from probe.methods.adversarial.masking import SAMPLE, quick_checks
from probe.methods.adversarial.registry import ATTACKS
from probe.methods.attribution.registry import METHODS, methods_help
from probe.model.budget import GRADIENT_COST, affordable
from probe.model.model import Model
from probe.params import Fraction, Names

MOST_IMAGES = 64
_SECONDS = 30.0  # of the attack, estimated on one core


class AttackPath(Analysis):
    """What does an attack change between the pixels and the prediction?"""

    name = "attack-path"
    title = "Attack path"
    source = "Szegedy et al. 2014, arXiv 1312.6199; Goodfellow et al. 2015, arXiv 1412.6572; Yin et al. 2019, arXiv 1906.08988"
    needs_images = 2

    eps: Fraction = Field(
        8 / 255, gt=0, le=1, description="radius of the attack in [0, 1], unless the attack states its own"
    )
    attack: Annotated[str, BeforeValidator(ATTACKS.text)] = Field(
        "pgd(steps=20)", description="attack to follow: any of " + ", ".join(ATTACKS.catalogue)
    )
    max_images: int = Field(
        0,
        ge=0,
        le=10_000,
        description="number of images to attack, at least 2, sampled evenly over the classes (0: as many as fit into half"
        " a minute, up to 64)",
    )
    layers: Names = Field(
        (),
        description="addresses of the layers to follow (default: up to twelve, spread from the first to the last)",
    )
    method: Annotated[str, BeforeValidator(METHODS.text)] = Field(
        "integrated-gradients", description=f"attribution method: {methods_help()}"
    )
    examples: int = Field(3, ge=1, le=20, description="number of images whose attribution is shown")
    grid: int = Field(21, ge=5, le=101, description="number of points along each side of the loss surface")

    def run(self, model: Model, images: Images, job: Job) -> Result:
        addresses = [model.layers.find(a).address for a in self.layers] or spread_layers(model.layers, 12)
        seed = job.seed()
        images = images.take(max(2, self.max_images or self._affordable(model)), seed=seed)
        evaluation, warnings = self._evaluate(model, images, job, seed)
        pairs = make_pairs(model, images, evaluation, seed)
        means, count = class_means(model, images.batches(pairs.batch, model.device), addresses)
        exhibits: list[Exhibit] = [
            shift_chart(model, addresses, pairs),
            *class_change_chart(model, addresses, pairs, means, count),
        ]
        numbers = {
            "success_rate": Number(
                value=evaluation.success_rate,
                label="success rate",
                n=int(evaluation.correct.sum()),
                format="{:.1%}",
            )
        }
        try:
            similarity, attribution = attribution_grid(
                model, METHODS.parse(self.method), pairs, self.examples
            )
        except NoGradientError as error:
            warnings.append(f"The attributions are not shown: {error}.")
        else:
            exhibits.append(attribution)
            numbers["attribution_correlation"] = Number(
                value=similarity,
                label="rank correlation of the attributions before and after",
                n=min(self.examples, len(pairs)),
                format="{:.2f}",
            )
        exhibits.append(spectrum_chart(pairs))
        try:
            exhibits.append(path_scatter(model, images, pairs))
        except UserError as error:
            warnings.append(f"The path in feature space is not shown: {error}.")
        exhibits.append(loss_surface(model, pairs, self.grid))
        return Result(exhibits=exhibits, numbers=numbers, warnings=warnings)

    def _affordable(self, model: Model) -> int:
        steps = getattr(ATTACKS.parse(self.attack), "steps", 1)
        return affordable(_SECONDS, model, passes=GRADIENT_COST * steps, low=16, high=MOST_IMAGES)

    def _evaluate(self, model: Model, images: Images, job: Job, seed: int) -> tuple[Evaluation, list[str]]:
        """The attack on all images, and the warnings about it. UserError where no image is classified correctly."""
        attack, batch = ATTACKS.parse(self.attack).with_defaults(eps=self.eps), model.batch(gradient=True)
        pixels, labels = images.pixels(model.device), labels_or_predictions(model, images).to(model.device)
        checks = quick_checks(model, pixels[:SAMPLE], labels[:SAMPLE])
        parts, total = [], -(-len(images) // batch)
        for rows in job.progress(torch.arange(len(images)).split(batch), "attacking", total):
            parts.append(evaluate(model, pixels[rows], labels[rows], attack, seed=seed, ids=rows))
        evaluation = joined(parts, pixels=True)
        if not evaluation.correct.any():
            raise UserError(
                f"{model.name} classifies none of {len(images)} images correctly: there is nothing to attack"
            )
        warnings = [UNLABELLED] if images.labels is None else []
        warnings += invalid_warning(evaluation.invalid) + masking_warnings(checks)
        if not evaluation.fooled.any():
            warnings.append(
                f"{attack.title} fools no image: the exhibits show images whose prediction does not change. Try a larger eps."
            )
        return evaluation, warnings
