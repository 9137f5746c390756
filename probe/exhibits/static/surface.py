"""Draw surfaces as contour maps and in three dimensions, several of them side by side on one scale."""

from math import floor, log10
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, MaxNLocator
from mpl_toolkits.mplot3d import Axes3D

from probe.exhibits.colour import colourise
from probe.exhibits.exhibits import Array, Scale, Surface
from probe.exhibits.static.theme import (
    BODY,
    SMALL,
    Theme,
    colormap,
    linear_axis,
    log_text,
    new_figure,
    shorten,
)

_WIDTH, _HEIGHT = 1600, 760  # of a single surface
_COLUMN, _ROWS, _LEFT = 620, 1240, 135  # of each of several: the map above the surface
_BAND, _LINES = 25, 9  # levels of colour, and at most so many contour lines
_PATH = "#d55e00"


def draw(exhibit: Surface, theme: Theme) -> Figure:
    """All panels have the same colour scale and the same contour lines."""
    z = exhibit.surfaces.astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.log10(z) if exhibit.z_log else z
    low, high = float(np.nanmin(z)), float(np.nanmax(z))
    scale = Scale(low=low, high=high if high > low else low + 1, kind="sequential")
    if len(z) == 1:
        figure = new_figure(_WIDTH, _HEIGHT)
        flat = figure.add_axes((0.084, 0.125, 0.375, 0.82))
        filled = _contours(flat, exhibit, 0, z[0], scale, theme)
        _colour_bar(figure, (0.472, 0.125, 0.011, 0.82), filled, exhibit, theme)
        _surface_3d(figure, (0.555, 0.02, 0.43, 0.97), exhibit, 0, z[0], scale, theme)
        return figure
    k = len(z)
    width = _LEFT + k * _COLUMN + 110
    figure = new_figure(width, _ROWS)
    filled = None
    for i in range(k):
        left = (_LEFT + i * _COLUMN) / width
        flat = figure.add_axes((left, 0.54, (_COLUMN - 60) / width, 0.41))
        filled = _contours(flat, exhibit, i, z[i], scale, theme)
        flat.set_title(shorten(exhibit.names[i], _COLUMN - 70, BODY), fontsize=BODY, color=theme.ink)
        if i:
            flat.set_ylabel("")
            flat.set_yticklabels([])
        _surface_3d(
            figure, (left - 30 / width, 0.0, (_COLUMN - 10) / width, 0.47), exhibit, i, z[i], scale, theme
        )
    _colour_bar(figure, (1 - 128 / width, 0.54, 16 / width, 0.41), filled, exhibit, theme)
    return figure


def _z_axis(axis: Axis, exhibit: Surface, scale: Scale, *, ticks: int) -> None:
    """The ticks of z; on a logarithmic scale log z is drawn, and the ticks show z."""
    if not exhibit.z_log:
        linear_axis(axis, ticks=ticks)
        return
    if scale.high - scale.low >= 1.5:
        axis.set_major_locator(MaxNLocator(ticks, integer=True))
        axis.set_major_formatter(FuncFormatter(lambda value, _: log_text(10**value)))
    else:
        axis.set_major_locator(MaxNLocator(ticks))
        axis.set_major_formatter(FuncFormatter(lambda value, _: _rounded(10**value)))


def _colour_bar(figure: Figure, box: tuple[float, ...], filled: Any, exhibit: Surface, theme: Theme) -> None:
    bar = figure.colorbar(filled, cax=figure.add_axes(box))  # type: ignore[arg-type]
    low, high = filled.get_clim()
    _z_axis(bar.ax.yaxis, exhibit, Scale(low=low, high=high), ticks=6)
    bar.ax.tick_params(length=0, pad=4)
    bar.outline.set_visible(False)  # pyrefly: ignore
    bar.set_label(shorten(exhibit.z_label, 560, BODY), color=theme.ink)


def _contours(axes: Axes, exhibit: Surface, which: int, z: Array, scale: Scale, theme: Theme) -> Any:
    """A heat map with labelled contour lines; gaps stay grey."""
    levels = np.linspace(scale.low, scale.high, _BAND)
    masked = np.ma.masked_invalid(z)
    axes.set_facecolor((0.6, 0.6, 0.6))
    filled = axes.contourf(exhibit.x, exhibit.y, masked, levels=levels, cmap=colormap(scale.kind))
    if np.nanmin(z) < np.nanmax(z):
        lines = _line_levels(exhibit, scale)
        drawn = axes.contour(
            exhibit.x,
            exhibit.y,
            masked,
            levels=lines,
            colors="white",
            linewidths=0.6,
            linestyles="solid",
            alpha=0.75,
        )
        labels = axes.clabel(drawn, fontsize=SMALL - 1.5, fmt=lambda value: _level_text(value, exhibit))
        for text in labels:
            text.set_path_effects([withStroke(linewidth=1.2, foreground=(0, 0, 0, 0.45))])
    if exhibit.computed is not None:
        mask = exhibit.computed if exhibit.computed.ndim == 2 else exhibit.computed[which]
        if not mask.all():
            rows, columns = np.nonzero(mask)
            axes.plot(exhibit.x[columns], exhibit.y[rows], ".", color="white", markersize=1.5, alpha=0.55)
    if exhibit.centre and exhibit.x[0] <= 0 <= exhibit.x[-1] and exhibit.y[0] <= 0 <= exhibit.y[-1]:
        axes.plot(0, 0, "+", color="white", markersize=9, markeredgewidth=2.2)
        axes.plot(0, 0, "+", color=_PATH, markersize=8, markeredgewidth=1.2)
    if exhibit.path is not None and which == 0:
        px, py = exhibit.path[:, 0], exhibit.path[:, 1]
        axes.plot(px, py, color="white", linewidth=3.2, solid_joinstyle="round")
        axes.plot(px, py, color=_PATH, linewidth=1.6, solid_joinstyle="round", marker=".", markersize=3)
        axes.plot(px[0], py[0], "o", color="white", markersize=6, markeredgecolor=_PATH, markeredgewidth=1.4)
        axes.plot(
            px[-1], py[-1], "o", color=_PATH, markersize=6.5, markeredgecolor="white", markeredgewidth=1.2
        )
    axes.set(xlim=(exhibit.x.min(), exhibit.x.max()), ylim=(exhibit.y.min(), exhibit.y.max()))
    axes.set_xlabel(shorten(exhibit.x_label, 560, BODY))
    axes.set_ylabel(shorten(exhibit.y_label, 560, BODY))
    for axis in (axes.xaxis, axes.yaxis):
        linear_axis(axis, ticks=5)
    return filled


def _line_levels(exhibit: Surface, scale: Scale) -> Array:
    """Round values of z between the ends of the scale; on a logarithmic one 1, 2 and 5 times powers of ten."""
    if not exhibit.z_log:
        return np.asarray(MaxNLocator(_LINES, steps=[1, 2, 2.5, 5, 10]).tick_values(scale.low, scale.high))[
            1:-1
        ]
    powers = np.arange(np.floor(scale.low), np.ceil(scale.high) + 1)
    for digits in ((1, 2, 5), (1, 3), (1,)):
        levels = np.sort(np.log10(np.outer(digits, 10.0**powers)).ravel())
        levels = levels[(levels > scale.low) & (levels < scale.high)]
        if len(levels) <= _LINES + 2:
            break
    return (
        levels[:: max(1, int(np.ceil(len(levels) / _LINES)))]
        if len(levels)
        else np.array([(scale.low + scale.high) / 2])
    )


def _level_text(value: float, exhibit: Surface) -> str:
    if not exhibit.z_log:
        return f"{value:.3g}"
    return log_text(10**value) if abs(value - round(value)) < 1e-6 else _rounded(10**value)


def _surface_3d(
    figure: Figure,
    box: tuple[float, float, float, float],
    exhibit: Surface,
    which: int,
    z: Array,
    scale: Scale,
    theme: Theme,
) -> None:
    axes: Axes3D = figure.add_axes(box, projection="3d", computed_zorder=False)  # type: ignore
    x, y = np.meshgrid(exhibit.x, exhibit.y)
    axes.plot_surface(
        x,
        y,
        z,
        facecolors=_shaded(colourise(z, scale), z, scale),
        rcount=80,
        ccount=80,
        linewidth=0,
        antialiased=False,
        shade=False,
        rasterized=True,  # thousands of facets
    )
    step = [max(1, len(values) // 16) for values in (exhibit.y, exhibit.x)]
    axes.plot_wireframe(x, y, z, rstride=step[0], cstride=step[1], color="white", linewidth=0.3, alpha=0.55)
    if exhibit.path is not None and which == 0:
        height = _on_surface(exhibit, exhibit.path, z) + 0.01 * (scale.high - scale.low)
        axes.plot(exhibit.path[:, 0], exhibit.path[:, 1], height, color=_PATH, linewidth=1.8, zorder=10)
    axes.view_init(elev=32, azim=-56)
    axes.set_box_aspect((1, 1, 0.72), zoom=0.98 if len(exhibit.surfaces) == 1 else 0.9)
    axes.set_zlim(scale.low, scale.high)
    three: list[Any] = [axes.xaxis, axes.yaxis, axes.zaxis]  # with methods that the type stubs lack
    for axis in three:
        axis.set_pane_color((0, 0, 0, 0))
        axis.line.set_color(theme.muted)
        axis._axinfo["grid"].update(color=theme.grid, linewidth=0.6)
        linear_axis(axis, ticks=4)
    _z_axis(axes.zaxis, exhibit, scale, ticks=4)
    axes.tick_params(labelsize=SMALL - 0.5, pad=-1)
    axes.set_xlabel(shorten(exhibit.x_label, 320), fontsize=SMALL, labelpad=0)
    axes.set_ylabel(shorten(exhibit.y_label, 320), fontsize=SMALL, labelpad=0)


def _shaded(colours: Array, z: Array, scale: Scale) -> Array:
    """The colours with a light from the north-west, gaps transparent."""
    filled = np.where(np.isfinite(z), z, scale.low) / (scale.high - scale.low)
    rise, run = np.gradient(filled, 2 / max(1, z.shape[0] - 1), 2 / max(1, z.shape[1] - 1))
    light = (1 + 0.5 * run - 0.5 * rise) / np.sqrt(1 + run**2 + rise**2) / np.sqrt(1.5)
    shaded = np.clip(colours[..., :3] * (0.72 + 0.34 * np.clip(light, 0, 1))[..., None], 0, 1)
    return np.concatenate([shaded, np.isfinite(z)[..., None].astype(float)], axis=-1)


def _on_surface(exhibit: Surface, path: Array, z: Array) -> Array:
    """z at the points of the path, by bilinear interpolation."""
    column = np.interp(path[:, 0], exhibit.x, np.arange(len(exhibit.x)))
    row = np.interp(path[:, 1], exhibit.y, np.arange(len(exhibit.y)))
    j = np.minimum(column.astype(int), len(exhibit.x) - 2)
    i = np.minimum(row.astype(int), len(exhibit.y) - 2)
    u, v = column - j, row - i
    return (1 - v) * ((1 - u) * z[i, j] + u * z[i, j + 1]) + v * ((1 - u) * z[i + 1, j] + u * z[i + 1, j + 1])


def _rounded(value: float) -> str:
    """Two digits, without an exponent below a million: 0.03, 1.5, 300."""
    return f"{round(value, 1 - floor(log10(value))):.15g}" if 1e-4 <= value < 1e6 else f"{value:.2g}"
