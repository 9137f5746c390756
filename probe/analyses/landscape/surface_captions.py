"""Captions of `surface`: what is seen, how it was computed, and how far it can be trusted."""

from dataclasses import dataclass

from probe.exhibits.wording import counted, listed, percent, sentences, significant

_CLEAR = 0.1  # difference between two shares of negative curvature that a caption calls one


@dataclass(frozen=True, kw_only=True)
class SurfaceFindings:
    """One surface. loss, accuracy: at the origin. lowest, highest: finite losses on the surface.

    negative_curvature: fraction of the inner points where the smaller curvature of the surface is negative and more
    than a tenth of the larger, None for a line. images: on which it was computed. error: largest stated relative error
    of a point on these images. spread: median relative half-width of the 95% intervals for other images.
    precision_error: largest relative difference from float32, at precision_checks points. holes: losses that are not
    finite. used: median number of images of the computed points.
    """

    model: str
    loss: float
    accuracy: float
    lowest: float
    highest: float
    negative_curvature: float | None
    images: int
    points: int
    computed: int
    used: int
    error: float
    spread: float
    precision_error: float
    precision_checks: int
    arithmetic: str
    precise_below: float
    folded: int
    exact: bool
    holes: int
    log: bool = False

    @property
    def computed_percent(self) -> float:
        return self.computed / self.points


def surface_caption(findings: list[SurfaceFindings], directions: str, data: str) -> str:
    """findings: one for each model. directions: what the axes are, as a sentence. data: the name of the images."""
    first = findings[0]
    return sentences(
        *(_finding(f, alone=len(findings) == 1) for f in findings),
        _comparison(findings),
        directions,
        _computation(findings, data),
        any(f.holes for f in findings)
        and f"Holes: {counted(sum(f.holes for f in findings), 'point')} whose loss is NaN or infinite.",
        first.log and "The scale is logarithmic.",
    )


def _finding(f: SurfaceFindings, *, alone: bool) -> str:
    name = "The loss" if alone else f"{f.model}: the loss"
    curvature = (
        ""
        if f.negative_curvature is None
        else f"; the surface curves down at {percent(f.negative_curvature)} of its points"
    )
    return (
        f"{name} is {significant(f.loss)} at the network's own weights ({f.accuracy:.1%} correct) and "
        f"{significant(f.lowest)} to {significant(f.highest)} around them{curvature}."
    )


def _comparison(findings: list[SurfaceFindings]) -> str:
    shares = {f.model: f.negative_curvature for f in findings if f.negative_curvature is not None}
    if len(findings) < 2 or len(shares) < 2:
        return ""
    ordered = sorted(shares, key=lambda name: shares[name])
    gap = shares[ordered[-1]] - shares[ordered[0]]
    if gap < _CLEAR:
        return (
            "By this measure, neither is clearly less convex than the other."
            if len(ordered) == 2
            else "By this measure, none of them is clearly less convex than another."
        )
    if len(ordered) == 2:
        return f"By this measure, the surface of {ordered[1]} is less convex than that of {ordered[0]}."
    return (
        f"By this measure, {ordered[-1]} has the least convex surface and {ordered[0]} the most convex one."
    )


def _computation(findings: list[SurfaceFindings], data: str) -> str:
    first = findings[0]
    where = f"{counted(first.images)} of {data}"
    if first.exact:
        return (
            f"Every point was computed on all {where}, in {first.arithmetic}. For other images of this kind "
            f"a loss differs by about {first.spread:.0%} (half-width of its 95% interval, median)."
        )
    kinds = sorted({f.arithmetic for f in findings})
    arithmetic = (
        f"in {listed(kinds)}"
        + (
            f" (float32 where the loss is below {listed([f'{f.precise_below:.3g}' for f in findings if f.precise_below])})"
            if any(f.precise_below for f in findings)
            else ""
        )
        + (
            f" with {listed([str(f.folded) for f in findings])} batch norms folded"
            if any(f.folded for f in findings)
            else ""
        )
    )
    checks = max(f.precision_checks for f in findings)
    return sentences(
        f"Computed in fast mode on {where}, {arithmetic}.",
        any(f.computed < f.points for f in findings)
        and f"{listed([f'{f.computed:,} of {f.points:,}' for f in findings])} points were computed (white dots) and the "
        "others interpolated.",
        any(f.used < f.images for f in findings)
        and f"A point was computed on {listed([f'{f.used:,}' for f in findings])} images (median).",
        checks > 0
        and f"The loss differs from float32 by at most {_small(max(f.precision_error for f in findings))} at "
        f"{checks} points.",
        f"The largest stated error of a point on these images is {_small(max(f.error for f in findings))} (for 95% of the points)."
        if max(f.error for f in findings) > 0
        else "",
        f"For other images of this kind a loss differs by about {first.spread:.0%} (half-width of its 95% interval, median).",
    )


def _small(fraction: float) -> str:
    return "less than 0.01%" if 0 < fraction < 1e-4 else f"{fraction:.2%}"


def line_caption(findings: list[SurfaceFindings], directions: str, data: str) -> str:
    """As `surface_caption`, for a line."""
    return sentences(
        *(_finding(f, alone=len(findings) == 1) for f in findings),
        directions,
        _computation(findings, data),
        "Bands: 95% intervals for other images of this kind.",
        any(f.holes for f in findings) and "Gaps: losses that are NaN or infinite.",
    )


@dataclass(frozen=True, kw_only=True)
class ErrorFindings:
    """Stated errors of a surface of which some points are interpolated.

    largest, median: stated relative errors of the interpolated points. checked: randomly chosen points at which the
    interpolation was compared with the computed loss; worst: the largest relative error there; inside: how many of them
    lie within the stated limits, by which these were set.
    """

    model: str
    largest: float
    median: float
    interpolated: int
    points: int
    checked: int
    worst: float


def error_caption(f: ErrorFindings) -> str:
    return sentences(
        f"{f.interpolated:,} of {f.points:,} points of {f.model} are interpolated; the stated error of these is "
        f"{f.median:.2%} in the median and {f.largest:.2%} at most.",
        f.checked > 0
        and f"It is the 95% quantile of the errors at {counted(f.checked, 'randomly chosen point')}, which were computed to "
        f"check it and were off by at most {f.worst:.2%}, and the error of the arithmetic.",
        "The errors of computed points come only from skipped images and from the arithmetic.",
    )


def warnings_of(findings: list[SurfaceFindings], *, few: int = 100) -> list[str]:
    """What could mislead: few images, holes, a surface that is flat or saturated."""
    warnings = []
    first = findings[0]
    if first.images < few:
        warnings.append(
            f"The surface is computed on {counted(first.images)}: its shape may be specific to these images. "
            "Take more with --max-images and --n."
        )
    for f in findings:
        if f.holes:
            warnings.append(
                f"{f.model}: {counted(f.holes, 'point')} of {f.points:,} {'has' if f.holes == 1 else 'have'} a loss that "
                "is NaN or infinite, and is shown as a hole. A smaller range may have none."
            )
        if f.accuracy < 0.2 and f.loss > 2:
            warnings.append(
                f"{f.model} classifies {f.accuracy:.0%} of these images correctly: its weights do not lie near a minimum."
            )
    return warnings
