"""The tables of the robustness analysis, measured a chunk of images at a time."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from probe.analyses.job import Arrays, Job, joined
from probe.data.images import Images
from probe.methods.adversarial.attack import BoundedAttack
from probe.methods.adversarial.budget import Budget
from probe.methods.adversarial.criteria import predict
from probe.methods.adversarial.gradient_attacks import FGSM
from probe.methods.adversarial.masking import Check, CheckPlan, Robust, masking_checks
from probe.methods.adversarial.suite import AttackCurves, attack_curves
from probe.methods.adversarial.suite_searches import (
    MinimalPerturbations,
    TargetedSuccess,
    minimal_perturbations,
    targeted_success,
)
from probe.methods.adversarial.universal import UniversalPerturbation
from probe.model.model import Model

FEW = 48
"""Images for searches that need hundreds of forward passes an image."""

_TARGETS = 10

T = TypeVar("T")


@dataclass(frozen=True)
class LabelledImages:
    """The images that are attacked, their labels (n,) on the CPU, the model, and how many fit into a batch."""

    model: Model
    images: Images
    labels: Tensor
    batch: int

    def __len__(self) -> int:
        return len(self.images)

    def select(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pixels and labels on the device of the model, and ids, of the images `rows`."""
        pixels = self.images.select(rows).pixels(self.model.device)
        return pixels, self.labels[rows].to(self.model.device), rows

    def split(self, rows: Tensor) -> Sequence[Tensor]:
        return rows.split(self.batch)


def as_arrays(table: Any) -> Arrays:
    """The columns of a dataclass of arrays, as chunks are stored."""
    return {field.name: getattr(table, field.name) for field in fields(table)}


def from_chunks(kind: type[T], chunks: Sequence[Arrays]) -> T:
    """The table that was stored with `as_arrays`, rows of several chunks after each other."""
    return kind(**joined(chunks))


def measure_curves(job: Job, data: LabelledImages, budget: Budget) -> AttackCurves:
    """Every attack on every image."""

    def compute(rows: Tensor, _: torch.Generator) -> Arrays:
        return as_arrays(attack_curves(data.model, *data.select(rows), budget))

    return from_chunks(AttackCurves, job.chunks("attacks", data.split(torch.arange(len(data))), compute))


def measure_minimal(job: Job, data: LabelledImages, budget: Budget) -> MinimalPerturbations:
    """The minimal perturbations of the first `FEW` images."""

    def compute(rows: Tensor, _: torch.Generator) -> Arrays:
        return as_arrays(minimal_perturbations(data.model, *data.select(rows), budget))

    return from_chunks(
        MinimalPerturbations, job.chunks("smallest changes", data.split(first_images(data)), compute)
    )


def first_images(data: LabelledImages) -> Tensor:
    """The positions of the first `FEW` images."""
    return torch.arange(min(FEW, len(data)))


def measure_targets(
    job: Job, data: LabelledImages, rows: Tensor, targets: list[int], budget: Budget
) -> list[TargetedSuccess]:
    """The images `rows` attacked towards each of `targets`; nothing where there are no rows."""
    if not len(rows):
        return []

    def compute(target: int, _: torch.Generator) -> Arrays:
        return joined(
            [
                as_arrays(targeted_success(data.model, *data.select(part), target, budget))
                for part in data.split(rows)
            ]
        )

    return [from_chunks(TargetedSuccess, [chunk]) for chunk in job.chunks("targets", targets, compute)]


def target_classes(labels: np.ndarray, classes: int) -> list[int]:
    """The ten most frequent classes of the images, in their own order."""
    by_frequency = np.argsort(-np.bincount(labels, minlength=classes), kind="stable")[:_TARGETS]
    return sorted(int(c) for c in by_frequency)


def target_rows(curves: AttackCurves, targets: list[int], per_class: int) -> Tensor:
    """The first `per_class` correctly classified images of each class of `targets`."""
    rows = [np.flatnonzero((curves.labels == c) & curves.correct)[:per_class] for c in targets]
    return torch.from_numpy(np.concatenate(rows))


def measure_checks(data: LabelledImages, curves: AttackCurves, budget: Budget) -> list[Check]:
    """The masking checks on the first images, with the attacks that were run on them already."""
    eps, rows = budget.eps[-1], first_images(data)
    plan = CheckPlan(eps=eps, steps=budget.pgd.steps, queries=budget.queries, seed=budget.seed)
    known = {
        attack.name: torch.from_numpy(~curves.fooled[: len(rows), k, -1])
        for k, attack in reversed(list(enumerate(budget.attacks)))
        if isinstance(attack, BoundedAttack) and attack.eps == eps
    }
    if any(isinstance(attack, FGSM) and attack.loss != "log-odds" for attack in budget.attacks):
        known.pop("fgsm", None)
    robust = Robust(fgsm=known.get("fgsm"), pgd=known.get("pgd"), square=known.get("square"))
    return masking_checks(data.model, *data.select(rows)[:2], plan, ids=rows, robust=robust)


@dataclass(frozen=True)
class UniversalSuccess:
    """Of `n` images that the universal perturbation was not fitted on: how many were correct, and how many are robust."""

    n: int
    correct: int
    robust: int


def measure_universal(data: LabelledImages, budget: Budget) -> UniversalSuccess:
    """A universal perturbation fitted on every second image, on the others."""
    positions = torch.arange(len(data))
    pixels, labels, _ = data.select(positions[::2])
    attack = UniversalPerturbation(eps=budget.eps[-1], batch=data.batch)
    change = attack.fit(data.model, pixels, labels, seed=budget.seed)
    robust = correct = 0
    for rows in data.split(positions[1::2]):
        pixels, labels, _ = data.select(rows)
        before = predict(data.model, pixels).argmax(1) == labels
        after = predict(data.model, (pixels + change).clamp(0, 1)).argmax(1) == labels
        robust, correct = robust + int((before & after).sum()), correct + int(before.sum())
    return UniversalSuccess(n=len(positions[1::2]), correct=correct, robust=robust)
