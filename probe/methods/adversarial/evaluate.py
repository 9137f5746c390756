"""Evaluation of an attack: which images it changes into misclassified ones, by how much, and whether it kept its bounds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from time import perf_counter

import torch
from torch import Tensor

from probe.errors import UserError
from probe.methods.adversarial.attack import Attack, AttackResult
from probe.methods.adversarial.criteria import Criterion, make_criterion, predict
from probe.methods.adversarial.norms import in_ball, perturbation_norm
from probe.methods.adversarial.per_image_random import PerImageRng
from probe.model.model import Model

Perturb = Callable[[Model, Tensor, Criterion, PerImageRng], AttackResult]
"""A function with the arguments of `Attack.perturb`."""


@dataclass(frozen=True)
class Evaluation:
    """What an attack did to every image; one row an image, on the CPU but for the pixels.

    correct: classified correctly before (for a target: and not as the target). fooled: correct before, and the
    criterion met now. prediction, confidence: the predicted class now and its probability; clean_prediction,
    clean_confidence: before. linf, l2, l1: norms of the change. success_step: the first successful step, -1 where there
    was none. queries: forward passes. pixels: (n, c, h, w). seconds: of the whole attack, divided evenly.
    invalid: the attack returned no image, left its bounds, or the logits are NaN or infinite: it counts as not fooled,
    but nothing is known of this image.
    """

    correct: Tensor
    fooled: Tensor
    clean_prediction: Tensor
    clean_confidence: Tensor
    prediction: Tensor
    confidence: Tensor
    linf: Tensor
    l2: Tensor
    l1: Tensor
    success_step: Tensor
    queries: Tensor
    seconds: Tensor
    invalid: Tensor
    pixels: Tensor

    def __len__(self) -> int:
        return len(self.correct)

    @property
    def accuracy(self) -> float:
        """Proportion of all images that were classified correctly and are not fooled."""
        return float((self.correct & ~self.fooled).float().mean())

    @property
    def success_rate(self) -> float:
        """Proportion of the correctly classified images that are fooled; nan where there was none."""
        return float(self.fooled.sum()) / int(self.correct.sum()) if self.correct.any() else float("nan")


def evaluate(
    model: Model,
    pixels: Tensor,
    labels: Tensor,
    attack: Attack | Perturb,
    *,
    targets: Tensor | int | None = None,
    seed: int = 0,
    ids: Tensor | None = None,
) -> Evaluation:
    """Attack the images that are classified correctly and predict the class of what the attack returns.

    Arguments as for `Attack.__call__`; attack: an attack, or a function such as `Attack.perturb`.
    An image that was misclassified before is not attacked and counts as no success. A result that is not finite or
    leaves [0, 1] or the attack's own bounds is replaced by the original image.
    Raises UserError as the attack does, and for a model whose logits of the original images are not finite.
    """
    if isinstance(attack, Attack):
        perturb, in_bounds = attack.perturb, attack.in_bounds
        criterion = attack.criterion(model, pixels, labels, targets)
    else:
        perturb, in_bounds = attack, _valid
        criterion = make_criterion(model, pixels, labels, targets)
    ids = torch.arange(len(pixels)) if ids is None else ids
    clean_logits = predict(model, pixels)
    if not bool(torch.isfinite(clean_logits).all()):
        raise UserError(f"{model.name} gives NaN or infinite logits for some of the images")
    clean_confidence, clean_prediction = clean_logits.softmax(1).max(1)
    correct = clean_prediction == criterion.labels
    rows = correct.nonzero()[:, 0]
    adversarials, success_step = pixels.clone(), torch.full_like(clean_prediction, -1)
    queries, invalid = torch.zeros_like(clean_prediction), torch.zeros_like(correct)
    started = perf_counter()
    if len(rows):
        x = pixels[rows]
        result = perturb(model, x, criterion.take(rows), PerImageRng(seed, ids[rows.cpu()], like=x))
        valid = in_bounds(x, result.pixels)
        adversarials[rows] = torch.where(valid[:, None, None, None], result.pixels, x)
        success_step[rows], queries[rows], invalid[rows] = result.success_step, result.queries, ~valid
    seconds = perf_counter() - started
    logits = predict(model, adversarials)
    confidence, prediction = logits.softmax(1).max(1)
    fooled = criterion.is_adversarial(logits) & correct
    change = adversarials - pixels
    return Evaluation(
        correct=correct.cpu(),
        fooled=fooled.cpu(),
        clean_prediction=clean_prediction.cpu(),
        clean_confidence=clean_confidence.cpu(),
        prediction=prediction.cpu(),
        confidence=confidence.cpu(),
        linf=perturbation_norm(change, "linf").cpu(),
        l2=perturbation_norm(change, "l2").cpu(),
        l1=perturbation_norm(change, "l1").cpu(),
        success_step=torch.where(fooled, success_step, -1).cpu(),
        queries=queries.cpu(),
        seconds=torch.full((len(pixels),), seconds / len(pixels)),
        invalid=(invalid | ~torch.isfinite(logits).all(1)).cpu(),
        pixels=adversarials,
    )


def _valid(pixels: Tensor, perturbed: Tensor) -> Tensor:
    return in_ball(pixels, perturbed, None)


def joined(evaluations: Sequence[Evaluation], *, pixels: bool = False) -> Evaluation:
    """The evaluations of several batches as one; by default without the pixels, so that memory stays small."""
    parts = {field.name: [getattr(part, field.name) for part in evaluations] for field in fields(Evaluation)}
    if not pixels:
        parts["pixels"] = [part.pixels[:0].cpu() for part in evaluations]
    return Evaluation(**{name: torch.cat(values) for name, values in parts.items()})
