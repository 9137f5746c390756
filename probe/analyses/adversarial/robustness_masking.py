"""The parts of the robustness analysis that are one chunk each: masking checks and the universal perturbation."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch

from probe.analyses.adversarial.robustness_data import LabelledImages, Task, first_images, run_tasks
from probe.analyses.adversarial.robustness_plan import CHECKS, UNIVERSAL, Spending
from probe.analyses.job import Arrays, Job
from probe.methods.adversarial.attack import BoundedAttack
from probe.methods.adversarial.budget import Budget
from probe.methods.adversarial.criteria import predict
from probe.methods.adversarial.gradient_attacks import FGSM
from probe.methods.adversarial.gradient_quality import GradientQuality, gradient_quality
from probe.methods.adversarial.masking import Check, CheckPlan, Known, masking_checks
from probe.methods.adversarial.suite import AttackCurves
from probe.methods.adversarial.universal import UniversalPerturbation
from probe.model.budget import GRADIENT_COST


@dataclass(frozen=True)
class UniversalSuccess:
    """Of `n` images that the universal perturbation was not fitted on: how many were correct, and how many are robust."""

    n: int = 0
    correct: int = 0
    robust: int = 0


@dataclass(frozen=True)
class MaskingOutcome:
    """The masking checks, the quality of the gradient (None without any correct image), the universal perturbation."""

    checks: list[Check]
    quality: GradientQuality | None
    universal: UniversalSuccess


def measure_masking(
    job: Job, data: LabelledImages, curves: AttackCurves, budget: Budget, spending: Spending
) -> MaskingOutcome:
    """The masking checks on the first images, with the attacks that were run on them already, and beside them a universal
    perturbation, if what the checks are not allowed to take suffices for it."""
    allowed = spending.allowance(CHECKS)
    tasks = [Task(CHECKS, lambda: _checks(data, curves, budget, allowed))]
    tasks += _universal_tasks(data, budget, spending, reserved=allowed)
    checks, *universal = run_tasks(job, data, spending, CHECKS, tasks)
    quality = None
    if "predicted" in checks:
        predicted, measured = (torch.from_numpy(checks[name]) for name in ("predicted", "measured"))
        quality = GradientQuality(
            tuple(checks["lengths"].tolist()), predicted, measured, int(checks["verdict_row"])
        )
    return MaskingOutcome(
        [Check(**check) for check in json.loads(str(checks["checks"]))],
        quality,
        _success(universal),
    )


def measure_universal(job: Job, data: LabelledImages, budget: Budget, spending: Spending) -> UniversalSuccess:
    """The universal perturbation by itself; none (n 0) where the budget is too small."""
    tasks = _universal_tasks(data, budget, spending)
    return _success(run_tasks(job, data, spending, UNIVERSAL, tasks) if tasks else [])


def _universal_tasks(
    data: LabelledImages, budget: Budget, spending: Spending, *, reserved: float = 0
) -> list[Task]:
    attack = UniversalPerturbation(eps=budget.eps[-1], batch=data.batch)
    cost = GRADIENT_COST * attack.epochs * len(data) / 2 + len(data)
    if cost > spending.allowance(UNIVERSAL, reserved=reserved):
        spending.omitted.append(UNIVERSAL)
        return []
    return [Task(UNIVERSAL, lambda: _universal(data, attack, budget))]


def _success(chunks: Sequence[Arrays]) -> UniversalSuccess:
    return UniversalSuccess(*chunks[0]["counts"].tolist()) if chunks else UniversalSuccess()


def _checks(data: LabelledImages, curves: AttackCurves, budget: Budget, passes: float) -> Arrays:
    """The checks as JSON, and the arrays of the quality of the gradient."""
    eps, rows = budget.eps[-1], first_images(data)
    outcomes = {
        attack.name: torch.from_numpy(~curves.fooled[: len(rows), k, -1])
        for k, attack in reversed(list(enumerate(budget.attacks)))
        if isinstance(attack, BoundedAttack) and attack.eps == eps
    }
    if any(isinstance(attack, FGSM) and attack.loss != "log-odds" for attack in budget.attacks):
        outcomes.pop("fgsm", None)
    pixels, labels, _ = data.select(rows)
    correct = torch.from_numpy(curves.correct[: len(rows)]).to(pixels.device).nonzero()[:, 0]
    quality = gradient_quality(data.model, pixels[correct], labels[correct], eps) if len(correct) else None
    known = Known(fgsm=outcomes.get("fgsm"), pgd=outcomes.get("pgd"), quality=quality)
    plan = CheckPlan(eps=eps, steps=budget.pgd.steps, seed=budget.seed, passes=passes)
    checks = masking_checks(data.model, pixels, labels, plan, ids=rows, known=known)
    arrays = {"checks": np.array(json.dumps([asdict(check) for check in checks]))}
    if quality is not None:
        arrays |= {
            "lengths": np.array(quality.lengths),
            "predicted": quality.predicted.cpu().numpy(),
            "measured": quality.measured.cpu().numpy(),
            "verdict_row": np.array(quality.verdict_row),
        }
    return arrays


def _universal(data: LabelledImages, attack: UniversalPerturbation, budget: Budget) -> Arrays:
    """A universal perturbation fitted on every second image, on the others."""
    positions = torch.arange(len(data))
    pixels, labels, _ = data.select(positions[::2])
    change = attack.fit(data.model, pixels, labels, seed=budget.seed)
    robust = correct = 0
    for rows in positions[1::2].split(data.batch):
        pixels, labels, _ = data.select(rows)
        before = predict(data.model, pixels).argmax(1) == labels
        after = predict(data.model, (pixels + change).clamp(0, 1)).argmax(1) == labels
        robust, correct = robust + int((before & after).sum()), correct + int(before.sum())
    return {"counts": np.array([len(positions[1::2]), correct, robust])}
