"""Can the accuracies be trusted: the checks for gradient masking, and what image compression leaves of the attack."""

import numpy as np

from probe.analyses.adversarial.masking_report import IMPLICATIONS, format_measured
from probe.analyses.adversarial.robustness_captions import (
    ChecksFindings,
    QualityFindings,
    ReencodingFindings,
    checks_caption,
    quality_caption,
    reencoding_caption,
)
from probe.exhibits.exhibits import Cell, Table, facts_of
from probe.exhibits.wording import format_eps
from probe.methods.adversarial.budget import Budget
from probe.methods.adversarial.gradient_quality import GradientQuality
from probe.methods.adversarial.masking import Check, failed_checks, skipped_checks
from probe.methods.adversarial.suite import ENCODINGS, IN_BALL, JPEG, AttackCurves


def checks_table(checks: list[Check], n: int) -> Table:
    """The checks for gradient masking, on `n` images."""
    failed, skipped = (
        tuple(check.name for check in part) for part in (failed_checks(checks), skipped_checks(checks))
    )
    findings = ChecksFindings(failed=failed, checks=len(checks), n=n, skipped=skipped)
    return Table(
        title="Checks for gradient masking",
        caption=checks_caption(findings),
        facts=facts_of(findings) | {"run": len(checks) - len(skipped)},
        columns=["check", "verdict", "measured", "what a failure implies"],
        rows=[
            [check.name, check.verdict, format_measured(check), IMPLICATIONS[check.name]] for check in checks
        ],
    )


def quality_table(quality: GradientQuality) -> Table:
    """The rise of the loss along the gradient, predicted and measured, for steps of several lengths."""
    figures, n = quality.figures(), quality.predicted.shape[1]
    findings = QualityFindings(
        n=n,
        length=figures["length"],
        ratio=figures["ratio"],
        outside=figures["outside"],
        fell=figures["fell"],
        predicts=quality.predicts,
    )
    rows: list[list[Cell]] = []
    for length, predicted, measured, ratio in zip(
        quality.lengths, quality.predicted, quality.measured, quality.ratio, strict=True
    ):
        known = ratio[~ratio.isnan()].cpu().numpy()
        rows.append([
            format_eps(length), float(predicted.median()), float(measured.median()),
            *([float(q) for q in np.quantile(known, (0.5, 0.1, 0.9))] if len(known) else [None] * 3),
        ])  # fmt: skip
    return Table(
        title="Rise of the loss along its gradient",
        caption=quality_caption(findings),
        facts=facts_of(findings),
        columns=["step", "predicted rise", "measured rise", "ratio", "ratio, 10%", "ratio, 90%"],
        rows=rows,
        formats={
            "predicted rise": "{:.3g}",
            "measured rise": "{:.3g}",
            "ratio": "{:.2f}",
            "ratio, 10%": "{:.2f}",
            "ratio, 90%": "{:.2f}",
        },
    )


def reencoding_table(curves: AttackCurves, budget: Budget) -> Table:
    """Are the adversarial images of the reference attack still misclassified after they were saved?"""
    fooled = curves.fooled[:, budget.reference, -1]
    still = (curves.reencoded_predictions != curves.labels[:, None]) & fooled[:, None]
    rows: list[list[Cell]] = [
        [
            encoding,
            _mean(still[fooled, k]),
            float(curves.change[:, k].max()),
            float((curves.correct & ~still[:, k]).mean()),
            float((curves.clean_predictions[:, k] == curves.labels).mean()),
        ]
        for k, encoding in enumerate(ENCODINGS)
    ]
    png, jpeg = (ENCODINGS.index(encoding) for encoding in (IN_BALL, JPEG))
    findings = ReencodingFindings(
        attack=budget.names[budget.reference],
        fooled=int(fooled.sum()),
        eps=budget.reference_eps,
        png=_mean(still[fooled, png]) or 0.0,
        jpeg=_mean(still[fooled, jpeg]) or 0.0,
        clean_jpeg=float((curves.clean_predictions[:, jpeg] == curves.labels).mean()),
    )
    return Table(
        title="Attack after image compression",
        caption=reencoding_caption(findings),
        facts=facts_of(findings),
        columns=[
            "saved as",
            "still fooled",
            "largest change, grey levels",
            "accuracy",
            "accuracy without attack",
        ],
        rows=rows,
        formats={
            "still fooled": "{:.1%}",
            "largest change, grey levels": "{:.2f}",
            "accuracy": "{:.1%}",
            "accuracy without attack": "{:.1%}",
        },
    )


def _mean(mask: np.ndarray) -> float | None:
    return float(mask.mean()) if len(mask) else None
