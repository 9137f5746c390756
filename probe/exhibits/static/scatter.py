"""Draws points in the plane, by group, with thumbnails where they do not cover each other."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from probe.exhibits.exhibits import Array, Scatter
from probe.exhibits.static.theme import MARKERS, SMALL, Theme, blank, fit, legend, linear_axis

_WIDTH, _HEIGHT = 1400, 1050
_THUMBNAIL = 46  # pixels
_NAMED = 40  # points that may carry their names


def draw(exhibit: Scatter, theme: Theme) -> Figure:
    """Points of all groups are drawn in an order that hides none of the groups behind another."""
    n = len(exhibit.x)
    made = blank(_WIDTH, _HEIGHT)
    made.set_layout_engine("constrained", w_pad=0.05, h_pad=0.05)
    axes = made.add_subplot()
    groups = exhibit.group if exhibit.group is not None else np.zeros(n, dtype=int)
    names = exhibit.group_names or [""]
    colours = theme.colours(len(names))
    area = float(np.clip(9000 / n, 5, 34))
    order = np.random.default_rng(0).permutation(n)
    for part in np.array_split(order, min(n, 8)):  # interleaved: each part holds some of every group
        for g in range(len(names)):
            here = part[groups[part] == g]
            axes.scatter(
                exhibit.x[here],
                exhibit.y[here],
                s=area,
                color=colours[g],
                marker=MARKERS[g % len(MARKERS)],
                alpha=0.85 if n < 2000 else 0.6,
                linewidths=0,
                zorder=2,
            )
    axes.margins(0.05)
    if exhibit.equal:
        axes.set_aspect("equal", adjustable="datalim")
    if exhibit.x_label or exhibit.y_label:
        axes.set_xlabel(fit(exhibit.x_label, _WIDTH - 300))
        axes.set_ylabel(fit(exhibit.y_label, _HEIGHT - 300))
        axes.grid(True)
        for axis in (axes.xaxis, axes.yaxis):
            linear_axis(axis, ticks=7)
    else:  # the axes of an embedding mean nothing
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(True)
        axes.spines[:].set_color(theme.grid)
    if len(names) > 1:
        handles = [
            Line2D(
                [],
                [],
                linestyle="none",
                marker=MARKERS[g % len(MARKERS)],
                color=c,
                markersize=6,
                markeredgewidth=0,
            )
            for g, c in enumerate(colours)
        ]
        legend(axes, handles, names, _WIDTH - 100)
    made.draw_without_rendering()  # places in pixels are known once the layout is settled
    places = axes.transData.transform(np.column_stack([exhibit.x, exhibit.y]))
    if exhibit.thumbnails is not None:
        _thumbnails(axes, exhibit.thumbnails, places, [colours[g] for g in groups])
    elif exhibit.point_names and n <= _NAMED:
        _names(axes, exhibit.point_names, places, theme)
    return made


def _apart(places: Array, width: float, height: float) -> list[int]:
    """The points, in order, whose boxes of that many pixels do not overlap an earlier one's."""
    chosen: list[int] = []
    for i, place in enumerate(places):
        distance = np.abs(places[chosen] - place)
        if not ((distance[:, 0] < width) & (distance[:, 1] < height)).any():
            chosen.append(i)
    return chosen


def _thumbnails(axes: Axes, thumbnails: Array, places: Array, colours: list[str]) -> None:
    height, width = thumbnails.shape[1:3]
    factor = max(1, _THUMBNAIL // max(height, width)) if max(height, width) <= _THUMBNAIL else 0
    size = np.array([width, height]) * (factor or _THUMBNAIL / max(height, width))
    back = axes.transData.inverted()
    limits = axes.get_xlim(), axes.get_ylim()
    for i in _apart(places, *(size + 8).tolist()):
        low, high = back.transform(places[i] - size / 2), back.transform(places[i] + size / 2)
        picture = np.repeat(thumbnails[i], 3, axis=2) if thumbnails.shape[3] == 1 else thumbnails[i]
        box = (low[0], high[0], low[1], high[1])
        drawn = axes.imshow(
            np.clip(picture, 0, 1),
            extent=box,
            aspect="auto",
            zorder=4,
            interpolation="nearest" if factor else "antialiased",
        )
        drawn.set_clip_on(True)
        axes.plot(
            [low[0], high[0], high[0], low[0], low[0]],
            [low[1], low[1], high[1], high[1], low[1]],
            color=colours[i],
            linewidth=1.4,
            zorder=5,
        )
    axes.set(xlim=limits[0], ylim=limits[1])


def _names(axes: Axes, names: list[str], places: Array, theme: Theme) -> None:
    for i in _apart(places, 170, 26):
        axes.annotate(
            fit(names[i], 160),
            tuple(axes.transData.inverted().transform(places[i])),
            xytext=(5, 3),
            textcoords="offset points",
            fontsize=SMALL,
            color=theme.muted,
        )
