"""Draw points in the plane by group, with thumbnails where they do not overlap."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from probe.exhibits.exhibits import Array, Scatter
from probe.exhibits.static.theme import (
    MARKERS,
    SMALL,
    Theme,
    legend,
    line_height,
    linear_axis,
    new_figure,
    shorten,
    text_width,
)

_WIDTH, _HEIGHT = 1400, 1050
_THUMBNAIL = 64  # pixels
_RASTERISED = 2000  # points from which a vector figure holds an image of them
_NAMED = 40  # points up to which their names are drawn
_NAME_WIDTH = 320  # pixels, as are these:
_NAME_GAP = 14
_NAME_RISE = 20
_NAME_HEIGHT = line_height(SMALL)


def draw(exhibit: Scatter, theme: Theme) -> Figure:
    """The points are drawn in a random order, so that no group hides another."""
    n = len(exhibit.x)
    figure = new_figure(_WIDTH, _HEIGHT)
    figure.set_layout_engine("constrained", w_pad=0.05, h_pad=0.05)
    axes = figure.add_subplot()
    groups = exhibit.group if exhibit.group is not None else np.zeros(n, dtype=int)
    names = exhibit.group_names or [""]
    colours = theme.colours(len(names))
    area = float(np.clip(9000 / n, 5, 34))
    order = np.random.default_rng(0).permutation(n)
    for part in np.array_split(order, min(n, 8)):  # each part has points of every group
        for g in range(len(names)):
            members = part[groups[part] == g]
            axes.scatter(
                exhibit.x[members],
                exhibit.y[members],
                s=area,
                color=colours[g],
                marker=MARKERS[g % len(MARKERS)],
                alpha=0.85 if n < 2000 else 0.6,
                linewidths=0,
                rasterized=n > _RASTERISED,  # in vector figures
                zorder=2,
            )
    if exhibit.links is not None:
        _links(axes, exhibit, theme)
    axes.margins(0.05)
    if exhibit.equal:
        axes.set_aspect("equal", adjustable="datalim")
    if exhibit.x_label or exhibit.y_label:
        axes.set_xlabel(shorten(exhibit.x_label, _WIDTH - 300))
        axes.set_ylabel(shorten(exhibit.y_label, _HEIGHT - 300))
        axes.grid(True)
        for axis in (axes.xaxis, axes.yaxis):
            linear_axis(axis, ticks=7)
    else:  # the axes of an embedding have no meaning
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
    figure.draw_without_rendering()  # fixes the layout, which determines positions in pixels
    positions = axes.transData.transform(np.column_stack([exhibit.x, exhibit.y]))
    if exhibit.thumbnails is not None:
        _thumbnails(axes, exhibit.thumbnails, positions, [colours[g] for g in groups])
    elif exhibit.point_names and n <= _NAMED:
        _names(axes, exhibit.point_names, positions, theme)
    return figure


def _links(axes: Axes, exhibit: Scatter, theme: Theme) -> None:
    """A line between the points of each pair, and a ring around the second."""
    assert exhibit.links is not None
    points = np.column_stack([exhibit.x, exhibit.y])
    lines = LineCollection(
        points[exhibit.links].tolist(), colors=theme.ink, linewidths=0.8, alpha=0.6, zorder=3
    )
    axes.add_collection(lines)
    ends = points[exhibit.links[:, 1]]
    axes.scatter(
        ends[:, 0], ends[:, 1], s=60, facecolors="none", edgecolors=theme.ink, linewidths=1, zorder=3
    )


def _without_overlap(positions: Array, width: float, height: float) -> list[int]:
    """The points, in order, whose boxes of `width` x `height` pixels do not overlap an earlier one."""
    chosen: list[int] = []
    for i, position in enumerate(positions):
        distance = np.abs(positions[chosen] - position)
        if not ((distance[:, 0] < width) & (distance[:, 1] < height)).any():
            chosen.append(i)
    return chosen


def _thumbnails(axes: Axes, thumbnails: Array, positions: Array, colours: list[str]) -> None:
    height, width = thumbnails.shape[1:3]
    factor = max(1, _THUMBNAIL // max(height, width)) if max(height, width) <= _THUMBNAIL else 0
    size = np.array([width, height]) * (factor or _THUMBNAIL / max(height, width))
    to_data = axes.transData.inverted()
    limits = axes.get_xlim(), axes.get_ylim()
    for i in _without_overlap(positions, *(size + 8).tolist()):
        low, high = to_data.transform(positions[i] - size / 2), to_data.transform(positions[i] + size / 2)
        image = np.repeat(thumbnails[i], 3, axis=2) if thumbnails.shape[3] == 1 else thumbnails[i]
        box = (low[0], high[0], low[1], high[1])
        drawn = axes.imshow(
            np.clip(image, 0, 1),
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


def _names(axes: Axes, names: list[str], positions: Array, theme: Theme) -> None:
    """Names beside their points, to the right where that stays inside of the axes, else to the left."""
    named = [i for i, name in enumerate(names) if name]
    texts = [shorten(names[i], _NAME_WIDTH) for i in named]
    widths = np.array([text_width(text, SMALL) for text in texts])
    starts = positions[named, 0] + _NAME_GAP
    left = starts + widths > axes.bbox.x1
    starts = np.where(left, positions[named, 0] - _NAME_GAP - widths, starts)
    middles = np.stack([starts + widths / 2, positions[named, 1] + _NAME_RISE], 1)
    above = middles[:, 1] + _NAME_HEIGHT / 2 > axes.bbox.y1
    middles[above, 1] -= 2 * _NAME_RISE
    for k in _without_overlap_of(middles, widths + 4):
        axes.annotate(
            texts[k],
            tuple(axes.transData.inverted().transform(middles[k])),
            ha="center",
            va="center",
            fontsize=SMALL,
            color=theme.muted,
        )


def _without_overlap_of(middles: Array, widths: Array) -> list[int]:
    """The boxes, in order, that do not overlap an earlier one; all are as high as a line."""
    chosen: list[int] = []
    for i, middle in enumerate(middles):
        distance = np.abs(middles[chosen] - middle)
        overlaps = (distance[:, 0] < (widths[chosen] + widths[i]) / 2) & (distance[:, 1] < _NAME_HEIGHT)
        if not overlaps.any():
            chosen.append(i)
    return chosen
