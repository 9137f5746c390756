"""Minimal radii of the images against their margins, and the least robust images."""

import numpy as np
import torch

from probe.analyses.adversarial.robustness_data import Adversarials, LabelledImages
from probe.analyses.adversarial.robustness_image_captions import (
    ExamplesFindings,
    MarginFindings,
    examples_caption,
    margin_caption,
)
from probe.exhibits.exhibits import Exhibit, ImageGrid, Scatter, facts_of
from probe.methods.adversarial.criteria import predict
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


def examples_grid(
    data: LabelledImages, curves: AttackCurves, adversarials: Adversarials, count: int
) -> list[Exhibit]:
    """The images of the smallest minimal radius beside the adversarial versions that have it; empty where there is none."""
    radii = np.where(curves.correct, curves.min_eps, np.inf)
    rows = np.argsort(radii, kind="stable")[:count]
    rows, changed = adversarials.of(rows[np.isfinite(radii[rows])])
    if not len(rows):
        return []
    model = data.model
    pixels, labels, _ = data.select(torch.from_numpy(rows))
    adversarial, eps = torch.from_numpy(changed).to(pixels), radii[rows]
    before, after = (predict(model, x).softmax(1).max(1) for x in (pixels, adversarial))
    images, captions = [], []
    for k in range(len(rows)):
        images += [x[k].permute(1, 2, 0).cpu().numpy() for x in (pixels, adversarial)]
        captions += [
            f"{model.classes[int(before.indices[k])]} ({float(before.values[k]):.0%})",
            f"{model.classes[int(after.indices[k])]} ({float(after.values[k]):.0%})\neps {eps[k]:.2g}",
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
            failures=True,
        )
    ]
