"""Can the accuracies be trusted: the checks for gradient masking, and what image compression leaves of the attack."""

import numpy as np

from probe.analyses.adversarial.masking_report import IMPLICATIONS, format_measured
from probe.analyses.adversarial.robustness_captions import (
    ChecksFindings,
    ReencodingFindings,
    checks_caption,
    reencoding_caption,
)
from probe.exhibits.exhibits import Cell, Table, facts_of
from probe.methods.adversarial.budget import Budget
from probe.methods.adversarial.masking import Check, failed_checks
from probe.methods.adversarial.suite import ENCODINGS, IN_BALL, JPEG, AttackCurves


def checks_table(checks: list[Check], n: int) -> Table:
    """The checks for gradient masking, on `n` images."""
    failed = tuple(check.name for check in failed_checks(checks))
    findings = ChecksFindings(failed=failed, checks=len(checks), n=n)
    return Table(
        title="Checks for gradient masking",
        caption=checks_caption(findings),
        facts=facts_of(findings),
        columns=["check", "verdict", "measured", "what a failure implies"],
        rows=[
            [check.name, check.verdict, format_measured(check), IMPLICATIONS[check.name]] for check in checks
        ],
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
