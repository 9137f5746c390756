"""How the counts of a robustness report are shown, each with its finding."""

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from probe.analyses.fgsm import short
from probe.data.images import Images
from probe.exhibits.exhibits import Cell, Chart, Exhibit, Line, Matrix, Pictures, Scale, Scatter, Table
from probe.exhibits.result import Number
from probe.methods.attacks import ascend, pgd
from probe.methods.balls import size
from probe.methods.goals import answers
from probe.methods.intervals import wilson
from probe.methods.masking import Check
from probe.methods.vulnerability import FILES, LADDER
from probe.subject.subject import Subject

Arrays = dict[str, np.ndarray]

_CLASSES = 20
_CLIMBED = 5
_NAMES = {
    "noise": "random signs",
    "FGSM": "FGSM, one step",
    "PGD": "PGD",
    "square": "square, blind",
}
PGD = LADDER.index("PGD")


def share(hits: int, n: int) -> Number:
    """A share of `n` with its 95 % interval."""
    low, high = wilson(hits, n)
    return Number(value=hits / max(1, n), low=low, high=high, n=n, format="{:.1%}")


def accuracy_chart(table: Arrays, radii: np.ndarray) -> Chart:
    """Accuracy against eps for every attack of the ladder, and for the best of them on each image."""
    right, fooled, n = table["right"], table["fooled"], len(table["right"])
    x = np.r_[0, radii]
    stands = {_NAMES[name]: right[:, None] & ~fooled[:, a] for a, name in enumerate(LADDER)}
    stands["worst of all"] = right[:, None] & ~fooled.any(1)
    lines = []
    for name, mask in stands.items():
        counts = [int(right.sum()), *mask.sum(0).tolist()]
        ends = np.array([wilson(k, n) for k in counts])
        lines.append(
            Line(
                name=name,
                x=x,
                y=np.array(counts) / n,
                low=ends[:, 0],
                high=ends[:, 1],
                dashed=name == _NAMES["noise"],
            )
        )
    at_end = {line.name: line.y[-1] for line in lines}
    return Chart(
        title="Accuracy against the size of the change",
        caption=f"Of {n:,} images {right.mean():.1%} are answered rightly; at eps {short(radii[-1])} one step leaves "
        f"{at_end[_NAMES['FGSM']]:.1%}, PGD {at_end['PGD']:.1%}, blind squares {at_end[_NAMES['square']]:.1%}, random signs "
        f"{at_end[_NAMES['noise']]:.1%}. Fooled by at least one: all but {at_end['worst of all']:.1%}. Bands: 95 %.",
        lines=lines,
        x_label="eps: largest change of a pixel, of [0, 1]",
        y_label="accuracy",
        y_range=(0, 1),
    )


def attack_table(
    table: Arrays, least: Arrays, shared: tuple[int, int, int], eps: float, steps: int, queries: int
) -> Table:
    """Each attack at the largest radius: accuracy, success, and what it cost."""
    right, n = table["right"], len(table["right"])
    rows: list[list[Cell]] = []
    told = {"PGD": f"PGD, {steps} steps", "square": f"square, {queries} answers"}
    for a, name in enumerate(LADDER):
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
    rows.append(["one pixel", len(some), float((some & ~fooled).mean()), _over(fooled, some), None])
    known = [row for row in rows if row[3] is not None]
    strongest = max(known, key=lambda row: float(row[3] or 0)) if known else None
    return Table(
        title="The attacks side by side",
        caption=(
            f"At eps {short(eps)} the strongest is {strongest[0]}: it fools {strongest[3]:.0%} of what was answered rightly. "
            if strongest
            else "No image is answered rightly, so none can be fooled. "
        )
        + "Passes: forward passes until the first success, median over the images that were fooled. One change for all "
        "is made from every second image and tried on the others.",
        columns=["attack", "images", "accuracy", "fooled, of those right", "passes"],
        rows=rows,
        formats={"accuracy": "{:.1%}", "fooled, of those right": "{:.1%}", "passes": "{:.0f}"},
    )  # fmt: skip


def _over(hits: np.ndarray, right: np.ndarray) -> float | None:
    return float(hits.sum() / right.sum()) if right.any() else None


def checklist_table(checks: list[Check], n: int) -> Table:
    """The signs of a masked gradient."""
    bad = [check.name for check in checks if check.verdict == "WARN"]
    said = f"{len(bad)} of {len(checks)} checks warn: not so that {', nor that '.join(bad)}" if bad else (
        f"None of {len(checks)} checks warns: nothing says that the accuracies above are too good"
    )  # fmt: skip
    return Table(
        title="Is the gradient masked?",
        caption=f"{said} ({n} images).",
        columns=["what should hold", "verdict", "measured", "if it does not"],
        rows=[[check.name, check.verdict, check.figure, check.meaning] for check in checks],
    )


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
        f"{names[k]} {v:.2f}" if np.isfinite(v) else f"{names[k]} more than can be found"
        for k, v in middle.items()
    ]
    return Chart(
        title="The smallest change, in L2",
        caption=f"Half of the images that were right are fooled by a change of L2 norm: {', '.join(parts)} ({len(right)} images).",
        lines=lines,
        x_label="L2 norm of the change",
        y_label="accuracy",
        y_range=(0, 1),
    )


def margin_scatter(table: Arrays, classes: tuple[str, ...]) -> list[Exhibit]:
    """Does a large margin mean a large radius?"""
    rows = np.flatnonzero(table["right"] & np.isfinite(table["pgd_least"]))
    if len(rows) < 3:
        return []
    x, y = table["margin"][rows], table["pgd_least"][rows]
    sure = table["clean_chance"][rows]
    by_margin, by_chance = (
        float(spearmanr(v, y).statistic) if np.ptp(v) > 0 and np.ptp(y) > 0 else 0.0 for v in (x, sure)
    )
    group = len(classes) <= _CLASSES
    return [
        Scatter(
            title="Margin and minimal radius",
            caption=f"Half of the {len(rows)} images are fooled by eps {np.median(y):.4f} ({255 * np.median(y):.1f} grey levels), "
            f"the most fragile by {y.min():.4f}. The rank correlation of the minimal eps with the margin is {by_margin:.2f}, "
            f"with the probability of the answer {by_chance:.2f}.",
            x=x.astype(np.float32),
            y=y.astype(np.float32),
            group=table["label"][rows].astype(np.int64) if group else None,
            group_names=list(classes) if group else [],
            x_label="margin: logit of the class minus the best other",
            y_label="minimal eps by PGD",
        )
    ]


def fragile_pictures(
    subject: Subject, images: Images, labels: Tensor, table: Arrays, count: int, steps: int, seed: int
) -> list[Exhibit]:
    """The images that need least, beside what fools them."""
    least = np.where(table["right"], table["pgd_least"], np.inf)
    rows = np.argsort(least, kind="stable")[:count]
    rows = rows[np.isfinite(least[rows])]
    if not len(rows):
        return []
    pixels, own = images.select(rows).pixels(subject.device), labels[rows].to(subject.device)
    # A hair more than the least radius, and more climbs, so that every one of them falls again.
    eps = torch.from_numpy(least[rows] * 1.05 + 1e-4).to(pixels).clamp_max(1)
    index = torch.from_numpy(table["index"][rows])
    made = pgd(subject, pixels, own, eps=eps, steps=2 * steps, restarts=4, seed=seed, index=index).pixels
    before, after = (answers(subject, p).softmax(1).max(1) for p in (pixels, made))
    grid, said = [], []
    for k in range(len(rows)):
        grid += [p[k].permute(1, 2, 0).cpu().numpy() for p in (pixels, made)]
        said += [
            f"{subject.classes[int(before.indices[k])]} ({float(before.values[k]):.1%})",
            f"{subject.classes[int(after.indices[k])]} ({float(after.values[k]):.1%}), eps {float(eps[k]):.4f}",
        ]
    turned = int((after.indices != own).sum())
    return [
        Pictures(
            title="The most fragile images",
            caption=f"{turned} of these {len(rows)} images are fooled by at most eps {float(eps.max()):.4f} "
            f"({255 * float(eps.max()):.1f} grey levels): each beside what fools it.",
            images=grid,
            labels=said,
            columns=2 * min(3, len(rows)),
            column_heads=["image", "attacked"] * min(3, len(rows)),
        )
    ]


def class_chart(table: Arrays, classes: tuple[str, ...], eps: float) -> Chart:
    """Accuracy of each class, before and under PGD; of many classes those that lose most."""
    present = np.unique(table["label"])
    clean = np.array([table["right"][table["label"] == c].mean() for c in present])
    stands = table["right"] & ~table["fooled"][:, PGD, -1]
    under = np.array([stands[table["label"] == c].mean() for c in present])
    order = np.argsort(under, kind="stable")
    worst, best = present[order[0]], present[order[-1]]
    if len(present) > _CLASSES:
        kept = np.sort(np.argsort(under - clean, kind="stable")[:_CLASSES])
        present, clean, under = present[kept], clean[kept], under[kept]
    return Chart(
        title="Which classes fall first",
        caption=f"At eps {short(eps)} {classes[worst]} keeps {stands[table['label'] == worst].mean():.0%}, "
        f"{classes[best]} {stands[table['label'] == best].mean():.0%}.",
        lines=[
            Line(name=name, x=np.arange(len(present), dtype=float), y=values)
            for name, values in (("clean", clean), ("under PGD", under))
        ],
        x_label="class",
        y_label="accuracy",
        kind="bar",
        y_range=(0, 1),
        ticks=[classes[c] for c in present],
    )


def flow_matrix(table: Arrays, classes: tuple[str, ...], eps: float) -> list[Exhibit]:
    """Where the answers of fooled images go."""
    fooled = table["fooled"][:, PGD, -1]
    if not fooled.any():
        return []
    source, goal = table["clean"][fooled], table["answer"][fooled, PGD]
    both = np.bincount(np.r_[source, goal], minlength=len(classes))
    kept = np.sort(np.argsort(-both, kind="stable")[: min(_CLASSES, int((both > 0).sum()))])
    place = {int(c): k for k, c in enumerate(kept)}
    values = np.zeros((len(kept), len(kept)), dtype=np.float32)
    for a, b in zip(source.tolist(), goal.tolist(), strict=True):
        if a in place and b in place:
            values[place[a], place[b]] += 1
    a, b = np.unravel_index(int(values.argmax()), values.shape)
    attractor = int(np.bincount(goal, minlength=len(classes)).argmax())
    return [
        Matrix(
            title="Where the answers go",
            caption=f"Of {int(fooled.sum())} images fooled at eps {short(eps)} the answer turns most often from {classes[kept[a]]} to "
            f"{classes[kept[b]]} ({int(values[a, b])} times); {classes[attractor]} attracts {(goal == attractor).mean():.0%} of them.",
            values=values,
            row_labels=[classes[c] for c in kept],
            column_labels=[classes[c] for c in kept],
            row_title="answer before",
            column_title="answer after PGD",
            format="{:.0f}",
            scale=Scale(low=0, high=float(values.max()), kind="sequential", label="images"),
        )
    ]


def target_matrix(
    flows: list[Arrays], targets: list[int], classes: tuple[str, ...], eps: float
) -> list[Exhibit]:
    """How often an image of one class can be led to another."""
    values = np.full((len(targets), len(targets)), np.nan, dtype=np.float32)
    for column, flow in enumerate(flows):
        for row, c in enumerate(targets):
            of = flow["success"][flow["label"] == c]
            if len(of):
                values[row, column] = of.mean()
    if not np.isfinite(values).any():
        return []
    hits, tries = (
        sum(int(v) for v in counts)
        for counts in ((f["success"].sum() for f in flows), (len(f["label"]) for f in flows))
    )
    easiest, by_target = (
        int(np.nanargmax(values)),
        np.array([np.nanmean(c) if np.isfinite(c).any() else np.nan for c in values.T]),
    )
    a, b = divmod(easiest, len(targets))
    return [
        Matrix(
            title="Can an image be led to a chosen class?",
            caption=f"PGD at eps {short(eps)} reaches the chosen class in {hits / tries:.0%} of {tries} tries; easiest is "
            f"{classes[targets[a]]} to {classes[targets[b]]} ({values[a, b]:.0%}), hardest to reach {classes[targets[int(np.nanargmin(by_target))]]} "
            f"({np.nanmin(by_target):.0%}).",
            values=values,
            row_labels=[classes[c] for c in targets],
            column_labels=[classes[c] for c in targets],
            row_title="true class",
            column_title="chosen class",
            format="{:.0%}",
            scale=Scale(low=0, high=1, kind="sequential", label="reached"),
        )
    ]


def ascent_pictures(
    subject: Subject, images: Images, table: Arrays, targets: list[int], steps: int, seed: int
) -> Pictures:
    """Where climbing the score of a class leads, from an image and from noise."""
    chosen = torch.tensor(targets[:_CLIMBED], device=subject.device)
    row = int(table["right"].argmax())
    image = images.select([row]).pixels(subject.device)
    draw = torch.rand(image.shape, generator=torch.Generator().manual_seed(seed)).to(image)
    begin = torch.cat([image.expand(len(chosen), -1, -1, -1), draw.expand(len(chosen), -1, -1, -1)])
    climbed = ascend(subject, begin, chosen.repeat(2), steps=5 * steps, confidence=0.95)
    moved = size(climbed.pixels - begin, "l2").tolist()
    sure = climbed.probability[-1].tolist()
    said = subject.classes[int(answers(subject, image).argmax())]
    grid, labels = [], []
    for half, (start, name) in enumerate(((image, said), (draw, "noise"))):
        grid.append(start[0].permute(1, 2, 0).cpu().numpy())
        labels.append(name)
        for k, c in enumerate(chosen.tolist()):
            at = half * len(chosen) + k
            grid.append(climbed.pixels[at].permute(1, 2, 0).cpu().numpy())
            labels.append(f"{subject.classes[c]} ({sure[at]:.0%}), L2 {moved[at]:.1f}")
    reached = sum(p >= 0.95 for p in sure)
    return Pictures(
        title="Climbing the score of a class",
        caption=f"{reached} of {len(sure)} climbs reach 95 %: from an image of {said} after a change of L2 norm "
        f"{np.median(moved[: len(chosen)]):.1f}, from noise after {np.median(moved[len(chosen) :]):.1f} (medians). "
        "The more robust the network, the longer the climb and the more of the class is to be seen.",
        images=grid,
        labels=labels,
        columns=1 + len(chosen),
        column_heads=["start", *(subject.classes[c] for c in chosen.tolist())],
        row_heads=["image", "noise"],
    )


def file_table(table: Arrays, eps: float) -> Table:
    """Do the images of PGD still fool after they were saved?"""
    fooled = table["fooled"][:, PGD, -1]
    still = (table["filed"] != table["label"][:, None]) & fooled[:, None]
    rows: list[list[Cell]] = [
        [way, float(still[fooled, w].mean()) if fooled.any() else None, float(table["filed_change"][:, w].max()),
         float((table["right"] & ~still[:, w]).mean())]
        for w, way in enumerate(FILES)
    ]  # fmt: skip
    kept = {way: row[1] for way, row in zip(FILES, rows, strict=True)}
    return Table(
        title="What a file leaves of the attack",
        caption=(
            f"Of {int(fooled.sum())} images fooled at eps {short(eps)} ({255 * eps:.3g} grey levels) {kept[FILES[1]]:.0%} still fool as "
            f"8-bit PNG kept inside the ball, {kept['JPEG 75']:.0%} as JPEG of quality 75; read back from the file."
            if fooled.any()
            else f"No image was fooled at eps {short(eps)}, so no file can lose anything."
        ),
        columns=["saved as", "still fooled", "largest change, grey levels", "accuracy"],
        rows=rows,
        formats={"still fooled": "{:.1%}", "largest change, grey levels": "{:.2f}", "accuracy": "{:.1%}"},
    )
