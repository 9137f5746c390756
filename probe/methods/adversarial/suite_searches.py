"""Smallest L2 perturbations, one-pixel attacks and targeted attacks on a batch of images."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from probe.methods.adversarial.attack import AttackResult
from probe.methods.adversarial.blackbox import OnePixel
from probe.methods.adversarial.budget import Budget
from probe.methods.adversarial.criteria import Criterion
from probe.methods.adversarial.evaluate import Evaluation, evaluate
from probe.methods.adversarial.gradient_attacks import ray
from probe.methods.adversarial.min_radius import min_radius_on_ray
from probe.methods.adversarial.minimal_attacks import CarliniWagner, DeepFool
from probe.methods.adversarial.per_image_random import PerImageRng
from probe.methods.adversarial.suite import LabelledBatch
from probe.model.model import Model


@dataclass(frozen=True)
class MinimalPerturbations:
    """L2 norms of the smallest perturbation that each attack finds: (n,), 0 for what is misclassified already, else inf
    where there is none. one_pixel: (n,) bool, whether a single pixel of any colour is enough.
    """

    fgsm: np.ndarray
    deepfool: np.ndarray
    carlini_wagner: np.ndarray
    one_pixel: np.ndarray


@dataclass(frozen=True)
class TargetedSuccess:
    """The outcome of an attack towards one class, of the images of other classes that are classified correctly.

    labels: (m,) int. success: (m,) bool.
    """

    labels: np.ndarray
    success: np.ndarray


def minimal_perturbations(
    model: Model, pixels: Tensor, labels: Tensor, ids: Tensor, budget: Budget
) -> MinimalPerturbations:
    """The smallest L2 change along one gradient, by DeepFool, and by Carlini-Wagner from there; one-pixel attacks.

    pixels: (n, c, h, w) in [0, 1]. labels, ids: (n,). Raises UserError as `evaluate` does.
    """
    batch, criterion = LabelledBatch(pixels, labels, ids), Criterion(labels)
    rays = ray(model, pixels, criterion, norm="l2")
    deepfool = batch.evaluate(model, DeepFool(), budget.seed)
    refine = _Refinement(CarliniWagner(rounds=2, steps=60), deepfool.pixels, ids)
    population = max(4, min(40, budget.queries))
    generations = max(0, budget.queries // population - 1)
    return MinimalPerturbations(
        fgsm=min_radius_on_ray(model, rays, criterion, eps=20.0, grid=24, tolerance=1e-3).cpu().numpy(),
        deepfool=_l2(deepfool),
        carlini_wagner=_l2(evaluate(model, pixels, labels, refine, seed=budget.seed, ids=ids)),
        one_pixel=batch.evaluate(
            model, OnePixel(population=population, generations=generations), budget.seed
        ).fooled.numpy(),
    )


@dataclass(frozen=True)
class _Refinement:
    """Carlini-Wagner from `start` (n, c, h, w), the images `ids` (n,) after another attack; as `evaluate` takes it."""

    attack: CarliniWagner
    start: Tensor
    ids: Tensor

    def __call__(self, model: Model, pixels: Tensor, criterion: Criterion, rng: PerImageRng) -> AttackResult:
        row = {name: k for k, name in enumerate(self.ids.tolist())}
        rows = torch.tensor([row[name] for name in rng.ids.tolist()], device=pixels.device)
        return self.attack.refine(model, pixels, criterion, self.start[rows])


def _l2(evaluation: Evaluation) -> np.ndarray:
    """(n,) L2 norms of the changes that fool, 0 for what is misclassified already, else inf."""
    norms = torch.where(evaluation.fooled, evaluation.l2, torch.inf)
    return torch.where(evaluation.correct, norms, 0).numpy()


def targeted_success(
    model: Model, pixels: Tensor, labels: Tensor, ids: Tensor, target: int, budget: Budget
) -> TargetedSuccess:
    """Which images PGD, of half its steps, leads to the class `target` within the largest radius.

    pixels: (n, c, h, w) in [0, 1]. labels, ids: (n,). Raises UserError as `evaluate` does.
    """
    rows = (labels != target).nonzero()[:, 0]
    if not len(rows):
        return TargetedSuccess(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=bool))
    attack = budget.search(eps=budget.eps[-1], steps=targeted_steps(budget))
    evaluation = evaluate(
        model, pixels[rows], labels[rows], attack, targets=target, seed=budget.seed, ids=ids[rows.cpu()]
    )
    correct = evaluation.correct.numpy()
    return TargetedSuccess(labels[rows].cpu().numpy()[correct], evaluation.fooled.numpy()[correct])


def targeted_steps(budget: Budget) -> int:
    """Steps of targeted PGD: half as many, for there are about ten times as many attempts as images."""
    return -(-budget.pgd.steps // 2)
