"""Robustness by class, and how fooled images are classified."""

import numpy as np

from probe.analyses.adversarial.robustness_image_captions import (
    ClassFindings,
    ConfusionFindings,
    class_caption,
    confusion_caption,
)
from probe.exhibits.exhibits import Chart, Exhibit, Line, Matrix, Scale, facts_of
from probe.methods.adversarial.budget import Budget
from probe.methods.adversarial.suite import AttackCurves

_CLASSES = 20
"""More are too many to show."""


def class_chart(curves: AttackCurves, classes: tuple[str, ...], budget: Budget) -> Chart:
    """Accuracy of each class, clean and under the reference attack; of many classes those that lose most."""
    present = np.unique(curves.labels)
    robust = curves.robust[:, budget.reference]
    clean, attacked = (
        np.array([correct[curves.labels == c].mean() for c in present])
        for correct in (curves.correct, robust)
    )
    if len(present) > _CLASSES:
        rows = np.sort(np.argsort(attacked - clean, kind="stable")[:_CLASSES])
        present, clean, attacked = present[rows], clean[rows], attacked[rows]
    names, attack = [classes[c] for c in present], budget.names[budget.reference]
    findings = ClassFindings(
        attack=attack,
        eps=budget.reference_eps,
        names=tuple(names),
        clean=tuple(clean),
        attacked=tuple(attacked),
    )
    return Chart(
        title="Accuracy by class",
        caption=class_caption(findings),
        lines=[
            Line(name=name, x=np.arange(len(present), dtype=float), y=values)
            for name, values in (("clean", clean), (f"under {attack}", attacked))
        ],
        x_label="class",
        y_label="accuracy",
        kind="bar",
        y_range=(0, 1),
        ticks=names,
    )


def confusion_matrix(curves: AttackCurves, classes: tuple[str, ...], budget: Budget) -> list[Exhibit]:
    """How the reference attack changes the predictions of the images that it fools; empty where it fools none."""
    fooled = curves.fooled[:, budget.reference, -1]
    if not fooled.any():
        return []
    before, after = curves.predictions[fooled], curves.attacked_predictions[fooled, budget.reference]
    frequency = np.bincount(np.r_[before, after], minlength=len(classes))
    shown = np.sort(np.argsort(-frequency, kind="stable")[: min(_CLASSES, int((frequency > 0).sum()))])
    values = np.array(
        [[((before == a) & (after == b)).sum() for b in shown] for a in shown], dtype=np.float32
    )
    row, column = np.unravel_index(int(values.argmax()), values.shape)
    attractor, attack = int(np.bincount(after).argmax()), budget.names[budget.reference]
    findings = ConfusionFindings(
        attack=attack,
        eps=budget.reference_eps,
        fooled=int(fooled.sum()),
        pair=(classes[shown[row]], classes[shown[column]]),
        count=int(values.max()),
        ties=int((values == values.max()).sum()) - 1,
        attractor=classes[attractor],
        proportion=float((after == attractor).mean()),
    )
    return [
        Matrix(
            title="Predictions after the attack",
            caption=confusion_caption(findings),
            facts=facts_of(findings),
            values=values,
            row_labels=[classes[c] for c in shown],
            column_labels=[classes[c] for c in shown],
            row_title="prediction before",
            column_title=f"prediction after {attack}",
            format="{:.0f}",
            scale=Scale(low=0, high=float(values.max()), kind="sequential", label="images"),
        )
    ]
