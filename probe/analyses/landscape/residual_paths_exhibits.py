"""Exhibits, numbers and captions of `residual-paths`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probe.exhibits.exhibits import Chart, Line, facts_of
from probe.exhibits.result import Number, proportion
from probe.exhibits.wording import capitalised, counted, percent, sentences
from probe.statistics import wilson_interval

Array = np.ndarray
_MOST = 0.95  # of the gradient, which the effective lengths hold


@dataclass(frozen=True)
class PathFindings:
    """Paths by length. counts: (blocks + 1,) of all paths; norms: mean norm of the gradient along one path of each length;
    sums: mean norm of the summed gradient of all paths of each length; whole: of the gradient of the network.
    """

    counts: Array
    norms: Array
    sums: Array
    whole: float
    blocks: int
    images: int
    samples: int

    @property
    def share(self) -> Array:
        """Of each length in the gradient: number of paths times mean norm, normalised."""
        total = self.counts * self.norms
        return total / total.sum() if total.sum() > 0 else total

    @property
    def effective(self) -> tuple[int, int]:
        """The shortest run of lengths that holds 95% of the gradient."""
        share = np.r_[0.0, np.cumsum(self.share)]
        spans = [
            (high - low, low, high)
            for low in range(self.blocks + 1)
            for high in range(low, self.blocks + 1)
            if share[high + 1] - share[low] >= _MOST - 1e-12
        ]
        _, low, high = min(spans, default=(0, 0, self.blocks))
        return low, high

    @property
    def effective_paths(self) -> float:
        """The fraction of all paths that have an effective length."""
        low, high = self.effective
        return float(self.counts[low : high + 1].sum() / self.counts.sum())

    @property
    def mean_length(self) -> float:
        return float((np.arange(self.blocks + 1) * self.share).sum())

    @property
    def facts(self) -> dict[str, float]:
        """What the captions state."""
        low, high = self.effective
        return {
            **facts_of(self),
            "effective_low": float(low),
            "effective_high": float(high),
            "effective_paths": self.effective_paths,
            "mean_length": self.mean_length,
            "half": self.blocks / 2,
            "most": _MOST,
            "paths": float(self.counts.sum()),
            "outside": 100 * self.effective_paths,
        }


@dataclass(frozen=True)
class LesionFindings:
    """Errors of a residual network: base, without each block (blocks,), without `counts` random blocks (counts, draws),
    and in another order, with Kendall's tau."""

    model: str
    addresses: tuple[str, ...]
    base: float
    single: Array
    counts: Array
    many: Array
    tau: Array
    reordered: Array
    images: int
    draws: int


@dataclass(frozen=True)
class PlainLesions:
    """Errors of another network without each of the same modules: positions (n,) among the blocks, single (n,)."""

    model: str
    base: float
    positions: Array
    single: Array


def length_chart(f: PathFindings) -> Chart:
    """How many paths there are of each length, and how much of the gradient they carry."""
    low, high = f.effective
    length = np.arange(f.blocks + 1, dtype=np.float32)
    return Chart(
        title="Paths by length",
        caption=sentences(
            f"{f.blocks} blocks make {f.counts.sum():.3g} paths, most of them through about half of the blocks; "
            f"{_MOST:.0%} of the gradient comes from paths through {low} to {high} residual branches, which are "
            f"{_percent(f.effective_paths)} of all paths.",
            f"The mean length is {f.mean_length:.1f} weighted by gradient, {f.blocks / 2:.1f} by number.",
            "The gradient of a length is the number of its paths times the mean norm along one path.",
            f"{counted(f.images)}, {counted(f.samples, 'random path')} of each length.",
        ),
        facts=f.facts,
        lines=[
            Line(
                name="share of paths", x=length, y=(f.counts / f.counts.sum()).astype(np.float32), dashed=True
            ),
            Line(name="share of the gradient", x=length, y=f.share.astype(np.float32)),
        ],
        x_label="residual branches on the path",
        y_label="share",
    )


def gradient_chart(f: PathFindings) -> Chart:
    """Norms of gradients along single paths, and of the sums over all paths of each length."""
    length = np.arange(f.blocks + 1, dtype=np.float32)
    positive = f.norms[f.norms > 0]
    rate = (
        float((np.log10(f.norms[-1]) - np.log10(f.norms[0])) / f.blocks)
        if len(positive) == len(f.norms)
        else 0.0
    )
    floor = max(float(positive.min()) if len(positive) else 1.0, 1e-30)
    return Chart(
        title="Gradient by path length",
        caption=sentences(
            rate < 0
            and f"Along a single path the gradient shrinks by a factor of {10**-rate:.3g} with each residual branch.",
            rate > 0
            and f"Along a single path the gradient grows by a factor of {10**rate:.3g} with each residual branch.",
            f"The sums of all paths of one length, exact, are largest at length {int(f.sums.argmax())}; together they are the "
            f"gradient of the network (norm {f.whole:.3g}). They are smaller than number times norm, since paths of one "
            "length cancel in part.",
            f"Means over {counted(f.images)}.",
        ),
        facts={**f.facts, "factor": 10**-rate, "growth": 10**rate, "peak": float(f.sums.argmax())},
        lines=[
            Line(
                name="along one path, mean", x=length, y=np.maximum(f.norms, floor * 0.1).astype(np.float32)
            ),
            Line(
                name="sum of all paths, exact", x=length, y=np.maximum(f.sums, floor * 0.1).astype(np.float32)
            ),
            Line(
                name="number of paths times mean",
                x=length,
                y=np.maximum(f.counts * f.norms, floor * 0.1).astype(np.float32),
                dashed=True,
            ),
        ],
        x_label="residual branches on the path",
        y_label="norm of the gradient with respect to the input",
        y_log=True,
    )


def single_chart(f: LesionFindings, others: Sequence[PlainLesions]) -> Chart:
    """The error without each block, one at a time."""
    worst = int(f.single.argmax())
    bounds = np.array([wilson_interval(round(e * f.images), f.images) for e in f.single]).T.astype(np.float32)
    x = np.arange(len(f.single), dtype=np.float32)
    lines = [
        Line(name=f.model, x=x, y=f.single.astype(np.float32), low=bounds[0], high=bounds[1]),
        Line(name=f"{f.model}, whole", x=x, y=np.full(len(x), f.base, dtype=np.float32), dashed=True),
    ]
    facts = {
        "median": float(np.median(f.single)),
        "worst": float(f.single[worst]),
        "base": f.base,
        "images": float(f.images),
    }
    parts = []
    for i, other in enumerate(others):
        x_other = other.positions.astype(np.float32)
        lines.append(Line(name=other.model, x=x_other, y=other.single.astype(np.float32)))
        facts |= {f"other_median_{i}": float(np.median(other.single)), f"other_base_{i}": other.base}
        parts.append(
            f"In {other.model}, which has an error of {other.base:.1%}, it is {np.median(other.single):.1%}."
        )
    return Chart(
        title="One block deleted",
        caption=sentences(
            f"Without a block of {f.model} the error is {np.median(f.single):.1%} in the median and {f.single[worst]:.1%} at "
            f"most ({f.addresses[worst]}); of the whole network it is {f.base:.1%}.",
            *parts,
            "In a residual block, the branch is deleted and the skip connection stays; in another network, the whole module "
            "is deleted if it keeps the shape of its input."
            if others
            else "The residual branch is deleted, the skip connection stays.",
            f"{counted(f.images)}, with 95% intervals.",
        ),
        facts=facts,
        lines=lines,
        x_label="deleted block",
        y_label="error",
        y_range=(0, 1),
        ticks=list(f.addresses),
    )


def many_chart(f: LesionFindings) -> Chart:
    """The error against the number of deleted blocks."""
    mean, low, high = f.many.mean(1), f.many.min(1), f.many.max(1)
    return Chart(
        title="Blocks deleted at random",
        caption=sentences(
            f"The error rises from {f.base:.1%} to {mean[-1]:.1%} with {counted(int(f.counts[-1]), 'block')} deleted, "
            f"{_smoothly(mean)}.",
            f"Means of {counted(f.draws, 'random choice')}, with their range, on {counted(f.images)}.",
        ),
        facts={"base": f.base, "last": float(mean[-1]), "images": float(f.images), "draws": float(f.draws)},
        lines=[
            Line(
                name=f.model,
                x=np.r_[0, f.counts].astype(np.float32),
                y=np.r_[f.base, mean].astype(np.float32),
                low=np.r_[f.base, low].astype(np.float32),
                high=np.r_[f.base, high].astype(np.float32),
            )
        ],
        x_label="number of deleted blocks",
        y_label="error",
        y_range=(0, 1),
    )


def _smoothly(mean: Array) -> str:
    steps = np.diff(mean)
    return (
        "without a jump"
        if len(steps) == 0 or steps.max() < 0.25
        else f"by up to {steps.max():.0%} with one block more"
    )


def reorder_chart(f: LesionFindings) -> Chart:
    """The error against the rank correlation of the order of the blocks with their own."""
    order = np.argsort(f.tau)
    lowest = order[0]
    return Chart(
        title="Blocks in another order",
        caption=sentences(
            f"With blocks of equal shape swapped the error is {f.reordered.mean():.1%} on average and {f.reordered[lowest]:.1%} "
            f"where the order differs most (Kendall's tau {f.tau[lowest]:.2f}); in the original order it is {f.base:.1%}.",
            f"{counted(len(f.tau), 'random order')}, {counted(f.images)}.",
        ),
        facts={
            "mean": float(f.reordered.mean()),
            "error": float(f.reordered[lowest]),
            "base": f.base,
            "images": float(f.images),
            "orders": float(len(f.tau)),
        },
        lines=[
            Line(
                name=f.model,
                x=f.tau[order].astype(np.float32),
                y=f.reordered[order].astype(np.float32),
            )
        ],
        x_label="Kendall's tau with the original order",
        y_label="error",
        kind="points",
        y_range=(0, 1),
    )


def numbers(
    lengths: PathFindings, lesions: LesionFindings, others: Sequence[PlainLesions]
) -> dict[str, Number]:
    """Effective path lengths, and what a deleted block costs."""
    low, high = lengths.effective
    headline = {
        "mean_path_length": Number(
            value=lengths.mean_length, label="mean path length, weighted by gradient", format="{:.1f}"
        ),
        "shortest_effective": Number(
            value=low, label="shortest effective path (residual branches)", format="{:.0f}"
        ),
        "longest_effective": Number(
            value=high, label="longest effective path (residual branches)", format="{:.0f}"
        ),
        "effective_paths": Number(
            value=lengths.effective_paths,
            label="share of paths that carry 95% of the gradient",
            format="{:.3%}",
        ),
        "error": proportion(
            round(lesions.base * lesions.images), lesions.images, label="error of the whole network"
        ),
        "error_single_deletion": Number(
            value=float(np.median(lesions.single)),
            label="median error with one block deleted",
            n=lesions.images,
            format="{:.1%}",
        ),
    }
    for i, other in enumerate(others):
        headline[f"error_single_deletion_{i + 2}"] = Number(
            value=float(np.median(other.single)),
            label=f"median error with one block deleted, {other.model}",
            n=lesions.images,
            format="{:.1%}",
        )
    return headline


def warnings(lengths: PathFindings, lesions: LesionFindings, compared: bool, usable: int) -> list[str]:
    """What is missing or could mislead."""
    messages = []
    if lengths.samples < 3:
        messages.append(
            f"{capitalised(counted(lengths.samples, 'random path'))} of each length: the shares of the gradient scatter by more "
            "than they differ. Take more with --samples."
        )
    if not compared:
        messages.append(
            "The effect of deleted blocks is best judged beside a plain network of the same depth: add --compare-to, such as plain56-cifar10 for "
            "resnet56-cifar10."
        )
    elif not usable:
        messages.append(
            "The compared models have no modules of the same names that keep the shape of their input: nothing was deleted "
            "in them."
        )
    if not len(lesions.tau):
        messages.append("No blocks were swapped: no two blocks of the same shape are separate modules.")
    if lesions.images < 50:
        messages.append(f"Errors are those of {counted(lesions.images)}: their intervals are wide.")
    return messages


def _percent(fraction: float) -> str:
    return f"{fraction:.3%}" if 0 < fraction < 0.01 else percent(fraction)
