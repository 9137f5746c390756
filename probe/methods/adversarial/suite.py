"""Attacks at several radii on a batch of images: which images they fool, and the smallest radius that fools each image."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from probe.methods.adversarial.attack import Attack, BoundedAttack
from probe.methods.adversarial.budget import Budget
from probe.methods.adversarial.criteria import make_criterion, predict
from probe.methods.adversarial.evaluate import Evaluation, evaluate
from probe.methods.adversarial.gradient_attacks import ray
from probe.methods.adversarial.min_radius import Bracket, PGDRadiusSearch, Smallest, min_radius_on_ray
from probe.methods.adversarial.minimal_attacks import DeepFool
from probe.methods.adversarial.quantisation import quantise_in_ball, through_jpeg, through_png
from probe.model.model import Model

IN_BALL = "PNG, inside the eps ball"
JPEG = "JPEG 75"
ENCODINGS = ("float32", IN_BALL, "PNG, rounded", "JPEG 95", JPEG, "JPEG 50")
"""How adversarial images are saved."""


@dataclass(frozen=True)
class AttackCurves:
    """The outcome of every attack at every radius; one row an image.

    ids, labels, predictions: (n,) int; correct: (n,) bool; confidences: (n,) in [0, 1]; margins: (n,) logit of the
    label minus the largest other one; all without an attack.
    fooled: (n, attacks, radii) bool. attacked_predictions, queries: (n, attacks) int, at the largest radius.
    invalid: (n,) bool, whether an attack left its ball or the logits are NaN: nothing is known of the image.
    min_eps, min_eps_fgsm: (n,) smallest Linf radius of all attacks, and along the ray of FGSM; 0 for what is
    misclassified already, inf where there is none.
    reencoded_predictions, clean_predictions: (n, ENCODINGS) int, of the adversarial images of the reference attack and
    of the images themselves after encoding. change: (n, ENCODINGS) largest change by both, in grey levels.
    """

    ids: np.ndarray
    labels: np.ndarray
    correct: np.ndarray
    predictions: np.ndarray
    confidences: np.ndarray
    margins: np.ndarray
    fooled: np.ndarray
    attacked_predictions: np.ndarray
    queries: np.ndarray
    invalid: np.ndarray
    min_eps: np.ndarray
    min_eps_fgsm: np.ndarray
    reencoded_predictions: np.ndarray
    clean_predictions: np.ndarray
    change: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def robust(self) -> np.ndarray:
        """(n, attacks) bool: which images are correct and not fooled at the largest radius."""
        return self.correct[:, None] & ~self.fooled[:, :, -1]


@dataclass(frozen=True)
class LabelledBatch:
    """pixels: (n, c, h, w) in [0, 1]. labels, ids: (n,)."""

    pixels: Tensor
    labels: Tensor
    ids: Tensor

    def take(self, rows: Tensor) -> "LabelledBatch":
        """rows: on the CPU."""
        there = rows.to(self.pixels.device)
        return LabelledBatch(self.pixels[there], self.labels[there], self.ids[rows])

    def evaluate(self, model: Model, attack: Attack, seed: int) -> Evaluation:
        return evaluate(model, self.pixels, self.labels, attack, seed=seed, ids=self.ids)


@dataclass(frozen=True)
class _Outcome:
    """An attack at all radii. fooled: (n, radii) bool. invalid: (n,) bool. evaluation: at the largest radius."""

    fooled: np.ndarray
    invalid: np.ndarray
    evaluation: Evaluation


def attack_curves(
    model: Model, pixels: Tensor, labels: Tensor, ids: Tensor, budget: Budget
) -> tuple[AttackCurves, Tensor]:
    """Every attack at every radius, and the minimal radii with the images (n, c, h, w) that have them.

    pixels: (n, c, h, w) in [0, 1]. labels, ids: (n,). Raises UserError as `evaluate` does.
    """
    batch, criterion = LabelledBatch(pixels, labels, ids), make_criterion(model, pixels, labels)
    rays = ray(model, pixels, criterion)
    smallest = Smallest.start(pixels, criterion.is_adversarial(rays.logits))
    outcomes = [_at_all_radii(model, batch, attack, budget, smallest) for attack in budget.attacks]
    evaluations = [outcome.evaluation for outcome in outcomes]
    reference = evaluations[budget.reference]
    min_eps_fgsm = min_radius_on_ray(model, rays, criterion)
    on_ray = rays.at(torch.where(torch.isfinite(min_eps_fgsm), min_eps_fgsm, 0))
    smallest.update(pixels, on_ray, torch.isfinite(min_eps_fgsm))
    _search(model, batch, outcomes, budget, smallest)
    saved = _encoded(pixels, reference.pixels, budget.reference_eps)
    curves = AttackCurves(
        ids=ids.numpy(),
        labels=labels.cpu().numpy(),
        correct=reference.correct.numpy(),
        predictions=reference.clean_prediction.numpy(),
        confidences=reference.clean_confidence.numpy(),
        margins=criterion.margin(rays.logits).cpu().numpy(),
        fooled=np.stack([outcome.fooled for outcome in outcomes], 1),
        attacked_predictions=np.stack([evaluation.prediction.numpy() for evaluation in evaluations], 1),
        queries=np.stack([evaluation.queries.numpy() for evaluation in evaluations], 1),
        invalid=np.any([outcome.invalid for outcome in outcomes], axis=0),
        min_eps=smallest.size.cpu().numpy(),
        min_eps_fgsm=min_eps_fgsm.cpu().numpy(),
        reencoded_predictions=_predictions(model, saved),
        clean_predictions=_predictions(model, _encoded(pixels, pixels, budget.reference_eps)),
        change=np.stack([((x - pixels) * 255).abs().flatten(1).amax(1).cpu().numpy() for x in saved], 1),
    )
    return curves, smallest.pixels


def _at_all_radii(
    model: Model, batch: LabelledBatch, attack: Attack, budget: Budget, smallest: Smallest
) -> _Outcome:
    """Largest radius first. An attack without a radius is run once and succeeds where its Linf change fits."""
    n, radii = len(batch.pixels), budget.radii(attack)
    if not isinstance(attack, BoundedAttack):
        evaluation = batch.evaluate(model, attack, budget.seed)
        smallest.update(batch.pixels, evaluation.pixels, evaluation.fooled.to(batch.pixels.device))
        fits = evaluation.linf.numpy()[:, None] <= radii * (1 + 1e-6)
        return _Outcome(evaluation.fooled.numpy()[:, None] & fits, evaluation.invalid.numpy(), evaluation)
    fooled, invalid = np.zeros((n, len(radii)), dtype=bool), np.zeros(n, dtype=bool)
    rows, largest = torch.arange(n), None
    for k in reversed(range(len(radii))):
        if not len(rows):
            break
        within, part = attack.model_copy(update={"eps": float(radii[k])}), batch.take(rows)
        evaluation = part.evaluate(model, within, budget.seed)
        smallest.update(part.pixels, evaluation.pixels, evaluation.fooled.to(part.pixels.device), rows)
        fooled[rows, k] = evaluation.fooled.numpy()
        invalid[rows] |= evaluation.invalid.numpy()
        largest = evaluation if largest is None else largest
        if attack.searches_ball:
            rows = rows[evaluation.fooled]
    assert largest is not None
    return _Outcome(fooled, invalid, largest)


def _search(
    model: Model, batch: LabelledBatch, outcomes: list[_Outcome], budget: Budget, smallest: Smallest
) -> None:
    """The minimal radii by DeepFool, then by bisection with PGD between its largest failure and the smallest success."""
    pixels = batch.pixels
    nearest = evaluate(
        model, pixels, batch.labels, DeepFool(norm="linf", candidates=4, steps=10), ids=batch.ids
    )
    smallest.update(pixels, nearest.pixels, nearest.fooled.to(pixels.device))
    failed = np.zeros(len(pixels))
    for attack, outcome in zip(budget.attacks, outcomes, strict=True):
        if attack is budget.pgd:
            failed = np.where(outcome.fooled, 0, budget.radii(attack)).max(1)
    bracket = Bracket(torch.from_numpy(failed).to(pixels), smallest.size)
    search = PGDRadiusSearch(
        budget.search(eps=1.0, steps=max(5, budget.pgd.steps // 2)),
        rounds=budget.search_rounds,
        tolerance=0.05,
    )
    search(model, pixels, batch.labels, bracket=bracket, smallest=smallest, seed=budget.seed, ids=batch.ids)


def _encoded(pixels: Tensor, adversarials: Tensor, eps: float) -> list[Tensor]:
    """`adversarials` after each of ENCODINGS."""
    return [
        adversarials,
        through_png(quantise_in_ball(pixels, adversarials, eps)),
        through_png(adversarials),
        *(through_jpeg(adversarials, quality) for quality in (95, 75, 50)),
    ]


def _predictions(model: Model, encoded: list[Tensor]) -> np.ndarray:
    """(n, ENCODINGS) int"""
    return np.stack([predict(model, pixels).argmax(1).cpu().numpy() for pixels in encoded], 1)
