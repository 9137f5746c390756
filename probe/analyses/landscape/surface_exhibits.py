"""Exhibits and numbers of `surface`."""

from collections.abc import Mapping, Sequence

import numpy as np

from probe.analyses.landscape.surface_captions import (
    ErrorFindings,
    SurfaceFindings,
    error_caption,
    line_caption,
    surface_caption,
)
from probe.analyses.landscape.surface_grid import SurfaceGrid
from probe.analyses.landscape.surface_plane import Plane
from probe.exhibits.exhibits import Chart, Exhibit, Line, Matrix, Scale, Surface, Table, facts_of
from probe.exhibits.result import Number
from probe.exhibits.wording import snake_case
from probe.methods.landscape.convexity import negative_curvature

Grids = Mapping[str, SurfaceGrid]
_LOG_RATIO = 30.0  # highest over lowest loss above which the scale is logarithmic by default
_MAX_CELLS = 61  # of a map of errors


def findings_of(
    grids: Grids, planes: Mapping[str, Plane], *, exact: bool, scale: str
) -> list[SurfaceFindings]:
    """One for each model. scale: "linear", "log", or "auto": logarithmic where the losses differ by much."""
    lows, highs = zip(*(_extremes(grid.loss) for grid in grids.values()), strict=True)
    auto = min(lows) > 0 and max(highs) / min(lows) > _LOG_RATIO
    log = min(lows) > 0 and (scale == "log" or (scale == "auto" and auto))
    findings = []
    for (name, grid), low, high in zip(grids.items(), lows, highs, strict=True):
        plane = planes[name]
        share = float("nan") if plane.is_line else negative_curvature(grid.loss, plane.x, plane.y)
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = grid.spread / np.abs(grid.loss)
        findings.append(
            SurfaceFindings(
                model=name,
                loss=grid.centre,
                accuracy=grid.centre_accuracy,
                lowest=low,
                highest=high,
                negative_curvature=None if np.isnan(share) else share,
                images=grid.images,
                points=grid.loss.size,
                computed=int(grid.computed.sum()),
                used=int(np.median(grid.used[grid.computed])),
                error=float(grid.error.max()),
                spread=float(np.median(relative[np.isfinite(relative)]))
                if np.isfinite(relative).any()
                else 0.0,
                precision_error=grid.precision_error,
                precision_checks=grid.precision_checks,
                arithmetic=grid.arithmetic,
                precise_below=grid.precise_below,
                folded=grid.folded,
                exact=exact,
                holes=int((~np.isfinite(grid.loss)).sum()),
                log=log,
            )
        )
    return findings


def exhibits_of(
    grids: Grids, planes: Mapping[str, Plane], findings: Sequence[SurfaceFindings], directions: str, data: str
) -> list[Exhibit]:
    """Surfaces or lines of the loss and of the accuracy, a table, and maps of the stated errors."""
    plane = next(iter(planes.values()))
    exhibits: list[Exhibit] = []
    if plane.is_line:
        exhibits += [_line(grids, plane, findings, directions, data), _accuracy_line(grids, plane, findings)]
    else:
        exhibits += [
            _surface(grids, plane, findings, surface_caption(list(findings), directions, data)),
            _accuracy(grids, plane, findings),
        ]
    if len(grids) > 1 or not plane.is_line:
        exhibits.append(_table(findings))
    exhibits += [_errors(name, grid, plane) for name, grid in grids.items() if not grid.computed.all()]
    return exhibits


def numbers_of(findings: Sequence[SurfaceFindings], grids: Grids) -> dict[str, Number]:
    """Of each model the loss at its weights and the share of negative curvature; how the surface was computed."""
    numbers: dict[str, Number] = {}
    for number, f in enumerate(findings):
        key, label = ("", "") if number == 0 else (f"_{snake_case(f.model)}_{number + 1}", f", {f.model}")
        spread = grids[f.model].centre_spread
        known = np.isfinite(spread)
        numbers[f"loss{key}"] = Number(
            value=f.loss,
            label=f"loss at the network's weights{label}",
            low=f.loss - spread if known else None,
            high=f.loss + spread if known else None,
            n=f.images,
            format="{:.4g}",
        )
        numbers[f"highest_loss{key}"] = Number(value=f.highest, label=f"highest loss{label}", format="{:.4g}")
        if f.negative_curvature is not None:
            numbers[f"negative_curvature{key}"] = Number(
                value=f.negative_curvature,
                label=f"share of the plane with negative curvature{label}",
                format="{:.1%}",
            )
        numbers[f"computed_fraction{key}"] = Number(
            value=f.computed_percent, label=f"points computed{label}", n=f.points, format="{:.0%}"
        )
        if not f.exact:
            numbers[f"precision_error{key}"] = Number(
                value=f.precision_error,
                label=f"largest difference from float32{label}",
                n=f.precision_checks,
                format="{:.3%}",
            )
            numbers[f"stated_error{key}"] = Number(
                value=f.error, label=f"largest stated error of a point{label}", format="{:.2%}"
            )
    return {key: number for key, number in numbers.items() if np.isfinite(number.value)}


def _extremes(loss: np.ndarray) -> tuple[float, float]:
    finite = loss[np.isfinite(loss)]
    return (float(finite.min()), float(finite.max())) if finite.size else (float("nan"), float("nan"))


def _drawable(values: np.ndarray) -> np.ndarray:
    """Float32 with NaN for what is not finite."""
    return np.where(np.isfinite(values), values, np.nan).astype(np.float32)


def _facts(findings: Sequence[SurfaceFindings], planes: Sequence[Plane]) -> dict[str, float]:
    facts: dict[str, float] = {}
    for i, f in enumerate(findings):
        suffix = f"_{i + 1}" if i else ""
        facts |= {name + suffix: value for name, value in facts_of(f).items()}
    for plane in planes[:1]:
        facts |= plane.facts
    return facts


def _surface(grids: Grids, plane: Plane, findings: Sequence[SurfaceFindings], caption: str) -> Surface:
    several = len(grids) > 1
    z = [_drawable(grid.loss) for grid in grids.values()]
    computed = [grid.computed for grid in grids.values()]
    return Surface(
        title="Loss surface" if not several else "Loss surfaces on one scale",
        caption=caption,
        facts=_facts(findings, [plane]),
        x=plane.x.astype(np.float32),
        y=plane.y.astype(np.float32),
        z=np.stack(z) if several else z[0],
        names=list(grids) if several else [],
        computed=np.stack(computed) if several else computed[0],
        x_label=plane.labels[0],
        y_label=plane.labels[1],
        z_label="cross-entropy",
        z_log=findings[0].log,
        path=None if plane.path is None else plane.path.astype(np.float32),
        centre=True,
    )


def _accuracy(grids: Grids, plane: Plane, findings: Sequence[SurfaceFindings]) -> Surface:
    several = len(grids) > 1
    z = [100 * _drawable(grid.accuracy) for grid in grids.values()]
    return Surface(
        title="Accuracy surface" if not several else "Accuracy surfaces on one scale",
        caption="Accuracy over the same points: "
        + ", ".join(
            f"{100 * f.accuracy:.1f}% at the weights of {f.model}, {np.nanmin(grid):.1f}% to {np.nanmax(grid):.1f}% around them"
            for f, grid in zip(findings, z, strict=True)
        )
        + ".",
        x=plane.x.astype(np.float32),
        y=plane.y.astype(np.float32),
        z=np.stack(z) if several else z[0],
        names=list(grids) if several else [],
        facts={f"accuracy_{i + 1}": f.accuracy for i, f in enumerate(findings)},
        x_label=plane.labels[0],
        y_label=plane.labels[1],
        z_label="accuracy, %",
        path=None if plane.path is None else plane.path.astype(np.float32),
        centre=True,
    )


def _line(
    grids: Grids, plane: Plane, findings: Sequence[SurfaceFindings], directions: str, data: str
) -> Chart:
    lines = []
    for name, grid in grids.items():
        loss, spread = grid.loss[0], grid.spread[0]
        lines.append(
            Line(
                name=name,
                x=plane.x.astype(np.float32),
                y=_drawable(loss),
                low=_drawable(np.maximum(loss - spread, 0)),
                high=_drawable(loss + spread),
            )
        )
    return Chart(
        title="Loss along the line",
        caption=line_caption(list(findings), directions, data),
        facts=_facts(findings, [plane]),
        lines=lines,
        x_label=plane.labels[0],
        y_label="cross-entropy",
        y_log=findings[0].log,
    )


def _accuracy_line(grids: Grids, plane: Plane, findings: Sequence[SurfaceFindings]) -> Chart:
    return Chart(
        title="Accuracy along the line",
        caption="Accuracy at the same points: "
        + ", ".join(f"{f.accuracy:.1%} at the weights of {f.model}" for f in findings)
        + ".",
        facts={f"accuracy_{i + 1}": f.accuracy for i, f in enumerate(findings)},
        lines=[
            Line(name=name, x=plane.x.astype(np.float32), y=grid.accuracy[0].astype(np.float32))
            for name, grid in grids.items()
        ],
        x_label=plane.labels[0],
        y_label="accuracy",
        y_range=(0, 1),
    )


def _table(findings: Sequence[SurfaceFindings]) -> Table:
    columns = [
        "model", "loss", "accuracy", "lowest", "highest", "negative curvature", "points computed", "images a point",
        "arithmetic", "difference from float32", "stated error",
    ]  # fmt: skip
    rows = [
        [
            f.model, f.loss, f.accuracy, f.lowest, f.highest, f.negative_curvature, f"{f.computed:,} of {f.points:,}",
            f.used, f.arithmetic, None if f.exact else f.precision_error, f.error,
        ]
        for f in findings
    ]  # fmt: skip
    shares = [f.negative_curvature for f in findings if f.negative_curvature is not None]
    caption = (
        f"Negative curvature at {' and '.join(f'{100 * share:.1f}%' for share in shares)} of the inner points: there one of "
        "the two principal curvatures of the surface is negative and more than a tenth of the other. "
        if shares
        else ""
    )
    return Table(
        title="How the surface was computed",
        caption=caption + "Loss and accuracy are those of the network's own weights.",
        columns=columns,
        rows=[list(row) for row in rows],
        formats={
            "accuracy": ".1%",
            "negative curvature": ".1%",
            "difference from float32": ".3%",
            "stated error": ".2%",
        },
        facts={"tenth": 0.1},
    )


def _errors(name: str, grid: SurfaceGrid, plane: Plane) -> Matrix:
    """The stated relative error of every point, the first row on top being that of the largest y."""
    interpolated = ~grid.computed
    findings = ErrorFindings(
        model=name,
        largest=float(grid.error[interpolated].max()),
        median=float(np.median(grid.error[interpolated])),
        interpolated=int(interpolated.sum()),
        points=grid.loss.size,
        checked=len(grid.checked),
        worst=float(grid.checked.max()) if len(grid.checked) else 0.0,
    )
    step = [max(1, -(-size // _MAX_CELLS)) for size in grid.error.shape]
    values = 100 * grid.error[:: step[0], :: step[1]][::-1]
    return Matrix(
        title=f"Stated error, {name}",
        caption=error_caption(findings),
        facts=facts_of(findings),
        values=values.astype(np.float32),
        row_labels=[f"{v:.3g}" for v in plane.y[:: step[0]][::-1]],
        column_labels=[f"{v:.3g}" for v in plane.x[:: step[1]]],
        row_title=plane.labels[1],
        column_title=plane.labels[0],
        scale=Scale(low=0, high=max(float(values.max()), 1e-6), kind="sequential", label="stated error, %"),
    )
