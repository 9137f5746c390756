"""Can the figures be believed: is the gradient masked, and what of the attack outlives a file?"""

from probe.analyses.adversarial.masking_report import IMPLICATIONS, format_measured
from probe.exhibits.exhibits import Cell, Table
from probe.exhibits.wording import counted, format_eps
from probe.methods.adversarial.masking import Check
from probe.methods.adversarial.suite import ATTACKS, FILES, Arrays

PGD = ATTACKS.index("PGD")


def checklist_table(checks: list[Check], n: int) -> Table:
    """The signs of a masked gradient."""
    bad = [check.name for check in checks if check.verdict == "WARN"]
    said = f"{len(bad)} of {len(checks)} checks warn: not so that {', nor that '.join(bad)}" if bad else (
        f"None of {len(checks)} checks warns: nothing says that the accuracies above are too good"
    )  # fmt: skip
    return Table(
        title="Is the gradient masked?",
        caption=f"{said} ({counted(n)}).",
        columns=["what should hold", "verdict", "measured", "if it does not"],
        rows=[
            [check.name, check.verdict, format_measured(check), IMPLICATIONS[check.name]] for check in checks
        ],
    )


def file_table(table: Arrays, eps: float) -> Table:
    """Do the images of PGD still fool after they were saved?"""
    fooled = table["fooled"][:, PGD, -1]
    still = (table["filed"] != table["label"][:, None]) & fooled[:, None]
    rows: list[list[Cell]] = [
        [way, float(still[fooled, w].mean()) if fooled.any() else None, float(table["filed_change"][:, w].max()),
         float((table["right"] & ~still[:, w]).mean()),
         float((table["filed_alone"][:, w] == table["label"]).mean())]
        for w, way in enumerate(FILES)
    ]  # fmt: skip
    kept = {way: row[1] for way, row in zip(FILES, rows, strict=True)}
    return Table(
        title="What a file leaves of the attack",
        caption=(
            f"Of {counted(int(fooled.sum()))} fooled at eps {format_eps(eps)} ({255 * eps:.3g} grey levels) {kept[FILES[1]]:.0%} still "
            f"fool{'s' if fooled.sum() == 1 else ''} as 8-bit PNG kept inside the ball, {kept['JPEG 75']:.0%} as JPEG of quality 75; "
            f"read back from the file. Quality 75 by itself leaves {rows[FILES.index('JPEG 75')][4]:.1%} answered rightly, without "
            "any attack."
            if fooled.any()
            else f"No image was fooled at eps {format_eps(eps)}, so no file can lose anything."
        ),
        columns=["saved as", "still fooled", "largest change, grey levels", "accuracy", "without the attack"],
        rows=rows,
        formats={
            "still fooled": "{:.1%}",
            "largest change, grey levels": "{:.2f}",
            "accuracy": "{:.1%}",
            "without the attack": "{:.1%}",
        },
    )
