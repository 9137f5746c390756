"""Minimal radii of the images against their margins, and the least robust images."""

import numpy as np
import torch

from probe.analyses.adversarial.robustness_data import LabelledImages
from probe.analyses.adversarial.robustness_image_captions import (
    ExamplesFindings,
    MarginFindings,
    examples_caption,
    margin_caption,
)
from probe.exhibits.exhibits import Exhibit, ImageGrid, Scatter, facts_of
from probe.methods.adversarial.budget import Budget
from probe.methods.adversarial.criteria import predict
from probe.methods.adversarial.per_image_random import PerImageRng
from probe.methods.adversarial.suite import AttackCurves

_CLASSES = 20


def margin_scatter(curves: AttackCurves, classes: tuple[str, ...]) -> list[Exhibit]:
    """Does a large margin mean a large minimal radius? Empty for fewer than three images that can be fooled."""
    rows = np.flatnonzero(curves.correct & np.isfinite(curves.min_eps))
    if len(rows) < 3:
        return []
    margins, radii = curves.margins[rows], curves.min_eps[rows]
    findings = MarginFindings(
        n=len(rows),
        median=float(np.median(radii)),
        smallest=float(radii.min()),
        with_margin=_rank_correlation(margins, radii),
        with_confidence=_rank_correlation(curves.confidences[rows], radii),
    )
    group = len(classes) <= _CLASSES
    return [
        Scatter(
            title="Margin and minimal radius",
            caption=margin_caption(findings),
            facts=facts_of(findings),
            x=margins.astype(np.float32),
            y=radii.astype(np.float32),
            group=curves.labels[rows].astype(np.int64) if group else None,
            group_names=list(classes) if group else [],
            x_label="margin: logit of the class minus the largest other one",
            y_label="minimal eps",
        )
    ]


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    from scipy.stats import spearmanr  # not at the top: its import adds filters of warnings

    return float(spearmanr(a, b).statistic) if np.ptp(a) > 0 and np.ptp(b) > 0 else 0.0


def examples_grid(data: LabelledImages, curves: AttackCurves, budget: Budget, count: int) -> list[Exhibit]:
    """The images of the smallest minimal radius beside their adversarial versions; empty where there is none."""
    radii = np.where(curves.correct, curves.min_eps, np.inf)
    rows = np.argsort(radii, kind="stable")[:count]
    rows = rows[np.isfinite(radii[rows])]
    if not len(rows):
        return []
    model = data.model
    pixels, labels, _ = data.select(torch.from_numpy(rows))
    # Slightly more than the minimal radius, and more steps and restarts, so that every one of them is fooled again.
    eps = torch.from_numpy(radii[rows] * 1.05 + 1e-4).to(pixels).clamp_max(1)
    attack = budget.search(eps=1.0, steps=2 * budget.pgd.steps, restarts=4)
    criterion = attack.criterion(model, pixels, labels)
    rng = PerImageRng(budget.seed, torch.from_numpy(curves.ids[rows]), like=pixels)
    adversarials = attack.within(model, pixels, criterion, rng, eps).pixels
    before, after = (predict(model, x).softmax(1).max(1) for x in (pixels, adversarials))
    images, captions = [], []
    for k in range(len(rows)):
        images += [x[k].permute(1, 2, 0).cpu().numpy() for x in (pixels, adversarials)]
        captions += [
            f"{model.classes[int(before.indices[k])]} ({float(before.values[k]):.0%})",
            f"{model.classes[int(after.indices[k])]} ({float(after.values[k]):.0%})\neps {float(eps[k]):.4f}",
        ]
    findings = ExamplesFindings(
        fooled=int((after.indices != labels).sum()), n=len(rows), eps=float(eps.max())
    )
    return [
        ImageGrid(
            title="The least robust images",
            caption=examples_caption(findings),
            facts=facts_of(findings),
            images=images,
            labels=captions,
            columns=2 * min(3, len(rows)),
            column_headers=["image", "adversarial"] * min(3, len(rows)),
        )
    ]
