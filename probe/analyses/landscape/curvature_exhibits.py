"""Exhibits, numbers and captions of `curvature`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probe.exhibits.exhibits import Chart, Line, Surface, facts_of
from probe.exhibits.result import Number
from probe.exhibits.wording import capitalised, counted, percent, sentences
from probe.methods.landscape.lanczos import Ritz, spectral_density

_GRID = 400
_CONVEX = 0.1  # ratio up to which a point is called nearly convex


@dataclass(frozen=True, kw_only=True)
class CurvatureFindings:
    """largest, smallest: eigenvalues with the largest residual of each; trace: with its 95% interval. weights: number of
    weights; images: of the loss; products: Hessian-vector products; reported: eigenvalues at each end.
    """

    largest: float
    largest_residual: float
    smallest: float
    smallest_residual: float
    trace: float
    trace_low: float
    trace_high: float
    weights: int
    images: int
    products: int
    runs: int
    reported: int
    near_zero: float

    @classmethod
    def of(
        cls, runs: Sequence[Ritz], top: int, weights: int, images: int, trace: tuple[float, float, float]
    ) -> "CurvatureFindings":
        best = max(runs, key=lambda run: run.values[0])
        lowest = min(runs, key=lambda run: run.values[-1])
        limit = 0.01 * max(abs(best.values[0]), abs(lowest.values[-1]))
        near = np.mean([run.weights[np.abs(run.values) <= limit].sum() for run in runs])
        return cls(
            largest=float(best.values[0]),
            largest_residual=float(best.residuals[0]),
            smallest=float(lowest.values[-1]),
            smallest_residual=float(lowest.residuals[-1]),
            trace=trace[0],
            trace_low=trace[1],
            trace_high=trace[2],
            weights=weights,
            images=images,
            products=sum(len(run.values) for run in runs),
            runs=len(runs),
            reported=min(top, max(1, len(best.values) // 2)),
            near_zero=float(min(1.0, near)),
        )

    @property
    def ratio(self) -> float:
        """|smallest / largest|, 0 where no eigenvalue is negative."""
        return abs(self.smallest / self.largest) if self.smallest < 0 and self.largest else 0.0


def numbers(f: CurvatureFindings) -> dict[str, Number]:
    """The extreme eigenvalues, their ratio and the trace."""
    return {
        "largest_eigenvalue": Number(
            value=f.largest,
            label="largest eigenvalue of the Hessian",
            low=f.largest - f.largest_residual,
            high=f.largest + f.largest_residual,
            n=f.images,
        ),
        "smallest_eigenvalue": Number(
            value=f.smallest,
            label="smallest eigenvalue of the Hessian",
            low=f.smallest - f.smallest_residual,
            high=f.smallest + f.smallest_residual,
            n=f.images,
        ),
        "eigenvalue_ratio": Number(value=f.ratio, label="|smallest / largest eigenvalue|", n=f.images),
        "trace": Number(
            value=f.trace, label="trace of the Hessian", low=f.trace_low, high=f.trace_high, n=f.images
        ),
    }


def eigenvalue_caption(f: CurvatureFindings) -> str:
    """How curved the loss is, and how convex."""
    return sentences(
        f"The largest eigenvalue is {f.largest:.3g}, the smallest {f.smallest:.3g}, "
        f"{f.ratio:.2g} of it in size.",
        "There are directions of clearly negative curvature: the weights are not at a minimum of the loss on these images."
        if f.ratio > _CONVEX
        else "The loss is nearly convex here."
        if f.smallest < 0
        else "No negative curvature was seen.",
        f"Lanczos iteration, {counted(f.products, 'Hessian-vector product')} on {counted(f.images)}; bars: an eigenvalue "
        "lies within them. Rank 1 is the end of the spectrum; further ones converge later.",
    )


def eigenvalue_chart(runs: Sequence[Ritz], f: CurvatureFindings) -> Chart:
    """Eigenvalues at both ends of the spectrum, from the run that reached furthest."""
    best = max(runs, key=lambda run: run.values[0])
    lowest = min(runs, key=lambda run: run.values[-1])
    rank = np.arange(1, f.reported + 1, dtype=np.float32)

    def line(name: str, values: np.ndarray, residuals: np.ndarray) -> Line:
        y = values.astype(np.float32)
        return Line(
            name=name,
            x=rank,
            y=y,
            low=y - residuals.astype(np.float32),
            high=y + residuals.astype(np.float32),
        )

    ends = lowest.values[::-1][: f.reported], lowest.residuals[::-1][: f.reported]
    return Chart(
        title="Eigenvalues of the Hessian",
        caption=eigenvalue_caption(f),
        facts={**facts_of(f), "ratio": f.ratio},
        lines=[
            line("largest", best.values[: f.reported], best.residuals[: f.reported]),
            line("smallest", *ends),
        ],
        x_label="rank, from the end of the spectrum",
        y_label="eigenvalue",
        kind="points",
    )


def density_caption(f: CurvatureFindings) -> str:
    """Where the eigenvalues lie."""
    return sentences(
        f"{capitalised(percent(f.near_zero))} of the {f.weights:,} eigenvalues are within 1% of the largest from zero: in these directions "
        "the loss is flat.",
        f"Trace: {f.trace:.3g}, 95% interval {f.trace_low:.3g} to {f.trace_high:.3g}.",
        f"Stochastic Lanczos quadrature, {counted(f.runs, 'run')}; widened by a Gaussian of 1% of the range.",
    )


def density_chart(runs: Sequence[Ritz], f: CurvatureFindings) -> Chart:
    """The density of all eigenvalues on a logarithmic axis."""
    low, high = f.smallest, f.largest
    width = (high - low) or 1.0
    grid = np.linspace(low - 0.06 * width, high + 0.06 * width, _GRID)
    density = spectral_density(runs, grid, sigma=0.01 * width)
    floor = float(density.max()) * 1e-9
    return Chart(
        title="Spectral density of the Hessian",
        caption=density_caption(f),
        facts={**facts_of(f), "within": 0.01},
        lines=[
            Line(name="density", x=grid.astype(np.float32), y=np.maximum(density, floor).astype(np.float32))
        ],
        x_label="eigenvalue",
        y_label="density",
        y_log=True,
    )


def warnings(f: CurvatureFindings) -> list[str]:
    """What could mislead: ends that have not converged, few images."""
    messages = []
    scale = max(abs(f.largest), abs(f.smallest))
    if max(f.largest_residual, f.smallest_residual) > 0.1 * scale:
        messages.append("The extreme eigenvalues have not converged to 10% of the largest: set more --steps.")
    if f.images < 50:
        messages.append(
            f"The Hessian is computed on {counted(f.images)}: with so few images, its largest eigenvalues are specific to them. "
            "Take more with --max-images."
        )
    return messages


@dataclass(frozen=True, kw_only=True)
class RatioFindings:
    """|smallest / largest eigenvalue| over a plane: at the centre or beside it, median and largest; convex: the fraction
    of points up to a tenth; unknown: points whose loss is not finite."""

    centre: float
    median: float
    largest: float
    convex: float
    points: int
    images: int
    tolerance: float
    unknown: int
    side: int

    @classmethod
    def of(cls, ratio: np.ndarray, side: int, images: int, tolerance: float) -> "RatioFindings":
        finite = ratio[np.isfinite(ratio)]
        middle = ratio[len(ratio) // 2, len(ratio) // 2]
        return cls(
            centre=float(middle) if np.isfinite(middle) else -1.0,
            median=float(np.median(finite)) if finite.size else -1.0,
            largest=float(finite.max()) if finite.size else -1.0,
            convex=float((finite <= _CONVEX).mean()) if finite.size else 0.0,
            points=ratio.size,
            images=images,
            tolerance=tolerance,
            unknown=int((~np.isfinite(ratio)).sum()),
            side=side,
        )


def ratio_caption(f: RatioFindings) -> str:
    """How convex the loss is around the weights."""
    return sentences(
        f"The loss is nearly convex (ratio up to {_CONVEX:g}) at {percent(f.convex)} of {f.points} points around the weights; "
        f"the ratio is {f.centre:.2g} in the middle, {f.median:.2g} in the median and {f.largest:.2g} at most.",
        f"Both axes are random directions with filter normalisation; {counted(f.images)} a point; extreme eigenvalues by "
        f"Lanczos iteration to {f.tolerance:.0%}.",
        "0: no negative curvature; 1: as much of it as of positive curvature.",
        f.unknown > 0 and f"Holes: {counted(f.unknown, 'point')} with a loss that is not finite.",
    )


def ratio_surface(ratio: np.ndarray, axis: np.ndarray, f: RatioFindings) -> Surface:
    """The map of ratios; where all points are equal to 0 too."""
    return Surface(
        title="Ratio of negative to positive curvature",
        caption=ratio_caption(f),
        facts={**facts_of(f), "convex_limit": _CONVEX},
        x=axis.astype(np.float32),
        y=axis.astype(np.float32),
        z=np.where(np.isfinite(ratio), ratio, np.nan).astype(np.float32),
        x_label="first random direction",
        y_label="second random direction",
        z_label="|smallest / largest eigenvalue|",
        centre=True,
    )


def ratio_numbers(f: RatioFindings) -> dict[str, Number]:
    """The share of the plane that is nearly convex, and the median ratio."""
    return {
        "nearly_convex": Number(
            value=f.convex, label=f"share of the plane that is nearly convex (ratio up to {_CONVEX:g})", n=f.points,
            format="{:.0%}",
        ),
        "median_ratio": Number(value=f.median, label="median |smallest / largest eigenvalue| over the plane", n=f.points),
    }  # fmt: skip


def ratio_warnings(f: RatioFindings) -> list[str]:
    """That few images make the map theirs."""
    if f.images >= 50:
        return []
    return [
        f"The map of curvature ratios is computed on {counted(f.images)} a point: its shape is known for these images only. "
        "Take more with --plane-images."
    ]
