"""Draw a chart: lines with their intervals, points, or vertical or horizontal bars."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from probe.exhibits.exhibits import Array, Chart, Line
from probe.exhibits.static.theme import (
    BODY,
    MARKERS,
    SMALL,
    Theme,
    legend,
    linear_axis,
    log_axis,
    new_figure,
    shorten,
    text_width,
)

_WIDTH, _HEIGHT = 1400, 740
_MANY = 30  # points above which a line has no markers


def draw(exhibit: Chart, theme: Theme) -> Figure:
    """Bars are horizontal if the names of the ticks would not fit below vertical ones."""
    names = [shorten(tick, 420) for tick in exhibit.ticks]
    tick_width = (_WIDTH - 160) / max(len(names), 1) - 14
    crowded = any(text_width(name, SMALL) > tick_width for name in names)
    horizontal = exhibit.kind == "bar" and crowded and len(names) <= 60
    series = len(exhibit.lines)
    height = max(300, 130 + len(names) * max(34, 18 * series + 12)) if horizontal else _HEIGHT
    figure = new_figure(_WIDTH, height + (34 if series > 1 else 0))
    figure.set_layout_engine("constrained", w_pad=0.05, h_pad=0.05)
    axes = figure.add_subplot()
    colours = theme.colours(series)
    handles: list[Any] = []
    for i, line in enumerate(exhibit.lines):
        if exhibit.kind == "bar":
            handles.append(_bars(axes, line, i, series, colours[i], theme, horizontal=horizontal))
        else:
            handles.append(
                _series(axes, line, i, series, colours[i], joined=exhibit.kind == "line" or line.dashed)
            )

    axes.margins(x=0.02)
    value, category = (axes.xaxis, axes.yaxis) if horizontal else (axes.yaxis, axes.xaxis)
    category_label, value_label = (
        (axes.set_ylabel, axes.set_xlabel) if horizontal else (axes.set_xlabel, axes.set_ylabel)
    )
    category_label(shorten(exhibit.x_label, 900 if not horizontal else height, BODY))
    value_label(shorten(exhibit.y_label, 900 if horizontal else _HEIGHT, BODY))
    if exhibit.y_range is not None:
        (axes.set_xlim if horizontal else axes.set_ylim)(*exhibit.y_range)
    if exhibit.y_log:
        log_axis(axes, "x" if horizontal else "y")
    else:
        linear_axis(value, ticks=6, whole=all(line.y.dtype.kind in "iu" for line in exhibit.lines))
    if exhibit.x_log and not horizontal:
        log_axis(axes, "x")
    elif not names:
        linear_axis(category, ticks=9, whole=_whole(exhibit.lines))
    if names:
        _categories(axes, names, horizontal=horizontal, crowded=crowded)
    value.grid(True)
    if exhibit.kind != "bar" and not names:
        category.grid(True)
    axes.tick_params(which="minor", length=0)
    if series > 1:
        legend(axes, handles, [line.name for line in exhibit.lines], _WIDTH - 140)
    return figure


def _series(axes: Axes, line: Line, i: int, series: int, colour: str, *, joined: bool) -> Any:
    few = len(line.x) <= _MANY and series <= 12
    marker = MARKERS[i % len(MARKERS)] if (few and not line.dashed) or not joined else ""
    (drawn,) = axes.plot(
        line.x,
        line.y,
        color=colour,
        linestyle=("--" if line.dashed else "-") if joined else "none",
        linewidth=1.8 if series <= 12 else 1.0,
        marker=marker,
        markersize=4.2 if few else 2.6,
        markeredgewidth=0,
        zorder=3,
        solid_capstyle="round",
    )
    if line.low is not None and line.high is not None:
        if joined:
            axes.fill_between(line.x, line.low, line.high, color=colour, alpha=0.16, linewidth=0, zorder=2)
        else:
            axes.vlines(line.x, line.low, line.high, color=colour, alpha=0.6, linewidth=1.1, zorder=2)
    return drawn


def _bars(axes: Axes, line: Line, i: int, series: int, colour: str, theme: Theme, *, horizontal: bool) -> Any:
    step = _step(line.x)
    thick = step * (0.72 if series > 1 else 0.78) / series
    if len(line.x) > 20 and series == 1:
        thick = step * 0.92
    positions = line.x + (i - (series - 1) / 2) * thick
    bars = axes.barh if horizontal else axes.bar
    drawn = bars(positions, line.y, thick * (0.94 if series > 1 else 1), color=colour, linewidth=0, zorder=2)
    if line.low is not None and line.high is not None:
        whiskers = axes.hlines if horizontal else axes.vlines
        whiskers(positions, line.low, line.high, color=theme.ink, linewidth=1.0, zorder=3)
    return drawn


def _categories(axes: Axes, names: list[str], *, horizontal: bool, crowded: bool) -> None:
    positions = np.arange(len(names))
    if horizontal:
        axes.set_yticks(positions, names)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        return
    room = (_WIDTH - 160) / len(names)
    every = max(1, int(np.ceil(34 / room))) if crowded else 1
    axes.set_xticks(positions[::every], names[::every])
    if crowded and room < 60:
        axes.tick_params(axis="x", labelrotation=90)
    elif crowded:
        axes.set_xticks(positions, names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.tick_params(axis="x", length=0)


def _step(x: Array) -> float:
    gaps = np.diff(np.unique(x))
    return float(gaps.min()) if len(gaps) else 1.0


def _whole(lines: list[Line]) -> bool:
    return all(bool(np.equal(np.mod(line.x, 1), 0).all()) for line in lines)
