"""Which images and which classes fall first, and into which answers?"""

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from probe.data.images import Images
from probe.exhibits.exhibits import Chart, Exhibit, ImageGrid, Line, Matrix, Scale, Scatter
from probe.exhibits.wording import counted, format_eps
from probe.methods.adversarial import gradient_attacks
from probe.methods.adversarial.criteria import Criterion, predict
from probe.methods.adversarial.per_image_random import PerImageRng
from probe.methods.adversarial.suite import ATTACKS, Arrays
from probe.model.model import Model

PGD = ATTACKS.index("PGD")
_CLASSES = 20


def margin_scatter(table: Arrays, classes: tuple[str, ...]) -> list[Exhibit]:
    """Does a large margin mean a large radius?"""
    rows = np.flatnonzero(table["right"] & np.isfinite(table["least"]))
    if len(rows) < 3:
        return []
    x, y = table["margin"][rows], table["least"][rows]
    sure = table["clean_chance"][rows]
    by_margin, by_chance = (
        float(spearmanr(v, y).statistic) if np.ptp(v) > 0 and np.ptp(y) > 0 else 0.0 for v in (x, sure)
    )
    group = len(classes) <= _CLASSES
    return [
        Scatter(
            title="Margin and minimal radius",
            caption=f"Half of the {len(rows)} images that fall at all are fooled by eps {np.median(y):.4f} ({255 * np.median(y):.1f} grey levels), "
            f"the most fragile by {y.min():.2g}. The rank correlation of the minimal eps with the margin is {by_margin:.2f}, "
            f"with the probability of the answer {by_chance:.2f}.",
            x=x.astype(np.float32),
            y=y.astype(np.float32),
            group=table["label"][rows].astype(np.int64) if group else None,
            group_names=list(classes) if group else [],
            x_label="margin: logit of the class minus the best other",
            y_label="minimal eps found",
        )
    ]


def fragile_pictures(
    model: Model, images: Images, labels: Tensor, table: Arrays, count: int, steps: int, seed: int
) -> list[Exhibit]:
    """The images that need least, beside what fools them."""
    least = np.where(table["right"], table["least"], np.inf)
    rows = np.argsort(least, kind="stable")[:count]
    rows = rows[np.isfinite(least[rows])]
    if not len(rows):
        return []
    pixels, own = images.select(rows).pixels(model.device), labels[rows].to(model.device)
    # A hair more than the least radius, and more climbs, so that every one of them falls again.
    eps = torch.from_numpy(least[rows] * 1.05 + 1e-4).to(pixels).clamp_max(1)
    index = torch.from_numpy(table["index"][rows])
    attack, rng = gradient_attacks.PGD(steps=2 * steps, restarts=4), PerImageRng(seed, index, like=pixels)
    made = attack.within(model, pixels, Criterion(own), rng, eps).pixels
    before, after = (predict(model, p).softmax(1).max(1) for p in (pixels, made))
    grid, said = [], []
    for k in range(len(rows)):
        grid += [p[k].permute(1, 2, 0).cpu().numpy() for p in (pixels, made)]
        said += [
            f"{model.classes[int(before.indices[k])]} ({float(before.values[k]):.0%})",
            f"{model.classes[int(after.indices[k])]} ({float(after.values[k]):.0%})\neps {float(eps[k]):.4f}",
        ]
    turned = int((after.indices != own).sum())
    return [
        ImageGrid(
            title="The most fragile images",
            caption=f"{_told(turned, len(rows))} fooled by at most eps {float(eps.max()):.4f} "
            f"({255 * float(eps.max()):.1f} grey levels); beside each what it became.",
            images=grid,
            labels=said,
            columns=2 * min(3, len(rows)),
            column_headers=["image", "attacked"] * min(3, len(rows)),
        )
    ]


def _told(some: int, n: int) -> str:
    """The subject of a sentence on `some` of `n` images, with its verb."""
    if n == 1:
        return "The image shown is" if some else "The image shown is not"
    if some == n:
        return f"All {n} images shown are"
    return f"{some} of the {n} images shown {'is' if some == 1 else 'are'}"


def class_chart(table: Arrays, classes: tuple[str, ...], eps: float) -> Chart:
    """Accuracy of each class, before and under PGD; of many classes those that lose most."""
    present = np.unique(table["label"])
    clean = np.array([table["right"][table["label"] == c].mean() for c in present])
    stands = table["right"] & ~table["fooled"][:, PGD, -1]
    under = np.array([stands[table["label"] == c].mean() for c in present])
    finding = _falling([classes[c] for c in present], clean, under)
    if len(present) > _CLASSES:
        kept = np.sort(np.argsort(under - clean, kind="stable")[:_CLASSES])
        present, clean, under = present[kept], clean[kept], under[kept]
    return Chart(
        title="Which classes fall first",
        caption=f"At eps {format_eps(eps)} {finding}.",
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


def _falling(names: list[str], clean: np.ndarray, under: np.ndarray) -> str:
    """Which class loses the largest share of what was right, and which the least; of those that had any."""
    had = np.flatnonzero(clean > 0)
    if not len(had):
        return "no class can fall: none is answered rightly as it stands"
    kept = under[had] / clean[had]
    if np.ptp(kept) < 1e-9:
        who = names[had[0]] if len(had) == 1 else "every class"
        if kept[0] == 0:
            return f"{who} loses all that was right"
        return f"{who} keeps {'all that' if kept[0] == 1 else f'{kept[0]:.0%} of what'} was right"
    worst, best = had[int(kept.argmin())], had[int(kept.argmax())]
    return (
        f"{names[worst]} falls furthest, from {clean[worst]:.0%} to {under[worst]:.0%}, and {names[best]} least, from "
        f"{clean[best]:.0%} to {under[best]:.0%}"
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
    total, most = int(fooled.sum()), int(values[a, b])
    pair = f"{classes[kept[a]]} into {classes[kept[b]]}"
    if total == 1:
        finding = f"At eps {format_eps(eps)} PGD fools one image: it turns {pair}."
    elif most == 1:
        finding = (
            f"At eps {format_eps(eps)} PGD fools {counted(total)}, no two from one class into the same other."
        )
    else:
        others = int((values == most).sum()) - 1
        alike = f" (as often as {counted(others, 'other pair')})" if others else ""
        finding = (
            f"At eps {format_eps(eps)} PGD turns {pair} most often, {most} of {counted(total)} fooled{alike}; "
            f"{classes[attractor]} attracts {(goal == attractor).mean():.0%}."
        )
    return [
        Matrix(
            title="Where the answers go",
            caption=finding,
            values=values,
            row_labels=[classes[c] for c in kept],
            column_labels=[classes[c] for c in kept],
            row_title="answer before",
            column_title="answer after PGD",
            format="{:.0f}",
            scale=Scale(low=0, high=float(values.max()), kind="sequential", label="images"),
        )
    ]
