"""How many images stand which attack, shown with its finding."""

import numpy as np

from probe.exhibits.exhibits import Cell, Chart, Line, Table
from probe.exhibits.result import Number
from probe.exhibits.wording import counted, format_eps
from probe.methods.adversarial.suite import ATTACKS, Arrays
from probe.statistics import wilson_interval

_NAMES = {
    "noise": "random signs",
    "FGSM": "FGSM, one step",
    "PGD": "PGD",
    "square": "square, blind",
}


def share(hits: int, n: int) -> Number:
    """A share of `n` with its 95 % interval."""
    low, high = wilson_interval(hits, n)
    return Number(value=hits / max(1, n), low=low, high=high, n=n, format="{:.1%}")


def standing(table: Arrays, radii: np.ndarray) -> np.ndarray:
    """(n, radii) which images are right and stand everything that was tried, the search for their least radius too."""
    found = table["least"][:, None] <= radii * (1 + 1e-6) + 1e-6
    return table["right"][:, None] & ~table["fooled"].any(1) & ~found


def accuracy_chart(table: Arrays, radii: np.ndarray) -> Chart:
    """Accuracy against eps for every attack of the ladder, and for the best of them on each image."""
    right, fooled, n = table["right"], table["fooled"], len(table["right"])
    x = np.r_[0, radii]
    stands = {_NAMES[name]: right[:, None] & ~fooled[:, a] for a, name in enumerate(ATTACKS)}
    stands["worst of all"] = standing(table, radii)
    lines = []
    for name, mask in stands.items():
        counts = [int(right.sum()), *mask.sum(0).tolist()]
        ends = np.array([wilson_interval(k, n) for k in counts])
        lines.append(
            Line(
                name=name,
                x=x,
                y=np.array(counts) / n,
                low=ends[:, 0],
                high=ends[:, 1],
                dashed=name in (_NAMES["noise"], "worst of all"),
            )
        )
    at_end = {line.name: line.y[-1] for line in lines}
    return Chart(
        title="Accuracy against the size of the change",
        caption=f"Of {counted(n)} {right.mean():.1%} {'is' if n == 1 else 'are'} answered rightly; at eps {format_eps(radii[-1])} one step leaves "
        f"{at_end[_NAMES['FGSM']]:.1%}, PGD {at_end['PGD']:.1%}, blind squares {at_end[_NAMES['square']]:.1%}, random signs "
        f"{at_end[_NAMES['noise']]:.1%}. Fooled by at least one: all but {at_end['worst of all']:.1%}. PGD and the squares go on at a "
        "smaller eps with the images that fell at the larger one. Bands: 95 %.",
        lines=lines,
        x_label="eps: largest change of a pixel, of [0, 1]",
        y_label="accuracy",
        y_range=(0, 1),
    )


def attack_table(
    table: Arrays,
    least: Arrays,
    shared: tuple[int, int, int],
    eps: float,
    steps: int,
    queries: int,
) -> Table:
    """Each attack at the largest radius: accuracy, success, and what it cost."""
    right, n = table["right"], len(table["right"])
    rows: list[list[Cell]] = []
    told = {"PGD": f"PGD, {steps} steps", "square": f"square, {queries} answers"}
    for a, name in enumerate(ATTACKS):
        fooled = table["fooled"][:, a, -1]
        asked = table["queries"][fooled, a]
        rows.append([
            told.get(name, _NAMES[name]), n, float((right & ~fooled).mean()), _over(fooled, right),
            float(np.median(asked)) if len(asked) else None,
        ])  # fmt: skip
    stand, were, unseen = shared
    if unseen:
        rows.append(
            [
                "one change for all",
                unseen,
                stand / unseen,
                (were - stand) / were if were else None,
                None,
            ]
        )
    some = right[: len(least["one_pixel"])]
    fooled = least["one_pixel"]
    rows.append(
        [
            f"one pixel, {queries} answers",
            len(some),
            float((some & ~fooled).mean()),
            _over(fooled, some),
            None,
        ]
    )
    known = [row for row in rows if row[3] is not None]
    strongest = max(known, key=lambda row: float(row[3] or 0)) if known else None
    return Table(
        title="The attacks side by side",
        caption=(
            f"At eps {format_eps(eps)} the strongest is {strongest[0]}: it fools {strongest[3]:.0%} of what was answered rightly. "
            if strongest
            else "No image is answered rightly, so none can be fooled. "
        )
        + "Passes: forward passes until the first success, median over the images that were fooled. One change for all "
        "is made from every second image and tried on the others; one pixel is looked for by evolution.",
        columns=["attack", "images", "accuracy", "fooled, of those right", "passes"],
        rows=rows,
        formats={"accuracy": "{:.1%}", "fooled, of those right": "{:.1%}", "passes": "{:.0f}"},
    )  # fmt: skip


def _over(hits: np.ndarray, right: np.ndarray) -> float | None:
    return float(hits.sum() / right.sum()) if right.any() else None


def l2_chart(right: np.ndarray, least: Arrays) -> Chart:
    """Accuracy against the L2 norm of the change, read off the smallest changes found."""
    names = {"fgsm_l2": "one gradient step", "deepfool_l2": "DeepFool", "carlini_l2": "Carlini-Wagner"}
    found = np.concatenate([least[name][np.isfinite(least[name])] for name in names])
    reach = float(np.quantile(found, 0.98)) if len(found) and found.max() > 0 else 1.0
    x = np.linspace(0, max(reach, 1e-3), 41)
    lines = [
        Line(name=said, x=x, y=(right[:, None] & (least[name][:, None] > x)).mean(0))
        for name, said in names.items()
    ]
    middle = {name: np.median(least[name][right]) if right.any() else np.inf for name in names}
    parts = [
        f"{names[k]} {v:.2f}" if np.isfinite(v) else f"{names[k]} finds none for half of them"
        for k, v in middle.items()
    ]
    return Chart(
        title="The smallest change, in L2",
        caption=f"Half of the images that were right are fooled by a change of L2 norm: {', '.join(parts)} "
        f"({counted(len(right))}; Carlini-Wagner goes on from DeepFool by 2 rounds of 60 steps)."
        if right.any()
        else "No image is answered rightly, so none can be fooled.",
        lines=lines,
        x_label="L2 norm of the change",
        y_label="accuracy",
        y_range=(0, 1),
    )
