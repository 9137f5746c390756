"""Accuracy under each attack: by radius, side by side, and by the L2 norm of the smallest perturbation."""

import numpy as np

from probe.analyses.adversarial.robustness_captions import (
    AccuracyFindings,
    MinimalFindings,
    StrongestFindings,
    accuracy_caption,
    minimal_caption,
    strongest_caption,
)
from probe.analyses.adversarial.robustness_masking import UniversalSuccess
from probe.exhibits.exhibits import Cell, Chart, Line, Table
from probe.exhibits.wording import snake_case
from probe.methods.adversarial.attack import BoundedAttack
from probe.methods.adversarial.budget import Budget
from probe.methods.adversarial.suite import AttackCurves
from probe.methods.adversarial.suite_searches import MinimalPerturbations
from probe.statistics import wilson_interval

STRONGEST = "strongest of all attacks"


def robust_to_all(curves: AttackCurves, budget: Budget) -> np.ndarray:
    """(n, radii) which images are correct and robust to everything that was tried, the search for min_eps too."""
    radii = np.array(budget.eps)
    fooled = curves.min_eps[:, None] <= radii * (1 + 1e-6) + 1e-6
    for k, attack in enumerate(budget.attacks):
        within = budget.radii(attack)[:, None] <= radii * (1 + 1e-9)
        fooled |= (curves.fooled[:, k, :, None] & within).any(1)
    return curves.correct[:, None] & ~fooled


def accuracy_chart(curves: AttackCurves, budget: Budget, passes: float, stages: tuple[str, ...]) -> Chart:
    """Accuracy against eps under each attack, and under the strongest of them on each image.

    passes: forward passes of an image that were spent on attacks. stages: the attacks on the survivors.
    """
    n, names = len(curves), budget.names
    lines = [
        _accuracy_line(
            name,
            budget.radii(attack),
            curves.correct,
            curves.correct[:, None] & ~curves.fooled[:, k],
            dashed=attack.name == "noise",
        )
        for k, (name, attack) in enumerate(zip(names, budget.attacks, strict=True))
    ]
    robust = robust_to_all(curves, budget)
    lines.append(_accuracy_line(STRONGEST, np.array(budget.eps), curves.correct, robust, dashed=True))
    findings = AccuracyFindings(
        n=n,
        eps=budget.eps[-1],
        clean=float(curves.correct.mean()),
        attacked={name: float(line.y[-1]) for name, line in zip(names, lines, strict=False)},
        robust=float(robust[:, -1].mean()),
        own_eps=any(budget.radii(attack)[-1] != budget.eps[-1] for attack in budget.attacks),
        nested=tuple(
            name
            for name, attack in zip(names, budget.attacks, strict=True)
            if isinstance(attack, BoundedAttack) and attack.searches_ball
        ),
        passes=passes,
        stages=stages,
    )
    return Chart(
        title="Accuracy against the size of the perturbation",
        caption=accuracy_caption(findings),
        lines=lines,
        x_label="eps: largest change of a pixel value, in [0, 1]",
        y_label="accuracy",
        y_range=(0, 1),
        facts={"passes": passes},
    )


def _accuracy_line(
    name: str, radii: np.ndarray, correct: np.ndarray, robust: np.ndarray, *, dashed: bool
) -> Line:
    """robust: (n, radii) bool, which images are classified correctly at each radius."""
    counts, n = [int(correct.sum()), *robust.sum(0).tolist()], len(correct)
    ends = np.array([wilson_interval(count, n) for count in counts])
    return Line(
        name=name,
        x=np.r_[0, radii],
        y=np.array(counts) / n,
        low=ends[:, 0],
        high=ends[:, 1],
        dashed=dashed,
    )


def attack_table(
    curves: AttackCurves, minimal: MinimalPerturbations | None, universal: UniversalSuccess, budget: Budget
) -> Table:
    """Each attack at its largest radius: accuracy, success rate and what it cost."""
    n = len(curves)
    rows: list[list[Cell]] = []
    for k, (name, attack) in enumerate(zip(budget.names, budget.attacks, strict=True)):
        fooled = curves.fooled[:, k, -1]
        queries = curves.queries[fooled, k]
        rows.append([
            name, str(attack), n, float(curves.robust[:, k].mean()), _success_rate(fooled, curves.correct),
            float(np.median(queries)) if len(queries) else None,
        ])  # fmt: skip
    if universal.n:
        rate = (universal.correct - universal.robust) / universal.correct if universal.correct else None
        rows.append(["universal perturbation", None, universal.n, universal.robust / universal.n, rate, None])
    if minimal is not None:
        correct, fooled = curves.correct[: len(minimal.one_pixel)], minimal.one_pixel
        rows.append([
            f"one pixel of any colour, {budget.queries} queries", None, len(correct),
            float((correct & ~fooled).mean()), _success_rate(fooled, correct), None,
        ])  # fmt: skip
    rates = {str(row[0]): row[4] for row in rows if isinstance(row[4], float)}
    strongest = max(rates, key=lambda name: rates[name]) if rates else None
    findings = StrongestFindings(
        eps=budget.eps[-1],
        strongest=strongest,
        success=rates[strongest] if strongest is not None else 0.0,
        universal=universal.n > 0,
        one_pixel=minimal is not None,
    )
    return Table(
        title="Comparison of the attacks",
        caption=strongest_caption(findings),
        columns=["attack", "parameters", "images", "accuracy", "success rate", "queries"],
        rows=rows,
        formats={"accuracy": "{:.1%}", "success rate": "{:.1%}", "queries": "{:.0f}"},
    )


def _success_rate(fooled: np.ndarray, correct: np.ndarray) -> float | None:
    return float(fooled.sum() / correct.sum()) if correct.any() else None


def minimal_chart(curves: AttackCurves, minimal: MinimalPerturbations) -> Chart:
    """Accuracy against the L2 norm of the change, read off the smallest perturbations."""
    norms = {
        "single gradient step": minimal.fgsm,
        "DeepFool": minimal.deepfool,
        "Carlini-Wagner": minimal.carlini_wagner,
    }
    correct = curves.correct[: len(minimal.fgsm)]
    finite = np.concatenate([values[np.isfinite(values)] for values in norms.values()])
    largest = float(np.quantile(finite, 0.98)) if len(finite) and finite.max() > 0 else 1.0
    x = np.linspace(0, max(largest, 1e-3), 41)
    medians = {name: float(np.median(values[correct])) for name, values in norms.items() if correct.any()}
    return Chart(
        title="Minimal L2 perturbations",
        caption=minimal_caption(MinimalFindings(n=len(correct), medians=medians)),
        facts={snake_case(f"median {name}"): norm for name, norm in medians.items() if np.isfinite(norm)},
        lines=[
            Line(name=name, x=x, y=(correct[:, None] & (values[:, None] > x)).mean(0))
            for name, values in norms.items()
        ],
        x_label="L2 norm of the change",
        y_label="accuracy",
        y_range=(0, 1),
    )
