"""Draw a surface as a contour map and in three dimensions."""

from typing import Any

import numpy as np
from matplotlib.axis import Axis
from matplotlib.figure import Figure
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

_WIDTH, _HEIGHT = 1600, 760


def draw(exhibit: Surface, theme: Theme) -> Figure:
    """Both panels have the same colour scale."""
    z = np.log10(exhibit.z.astype(float)) if exhibit.z_log else exhibit.z.astype(float)
    low, high = float(np.nanmin(z)), float(np.nanmax(z))
    scale = Scale(low=low, high=high if high > low else low + 1, kind="sequential")
    figure = new_figure(_WIDTH, _HEIGHT)
    _contours(figure, exhibit, z, scale, theme)
    _surface_3d(figure, exhibit, z, scale, theme)
    return figure


def _z_axis(axis: Axis, exhibit: Surface, *, ticks: int) -> None:
    """The ticks of z; on a logarithmic scale log z is drawn, and the ticks show z."""
    if not exhibit.z_log:
        linear_axis(axis, ticks=ticks)
        return
    axis.set_major_locator(MaxNLocator(ticks, integer=True))
    axis.set_major_formatter(FuncFormatter(lambda value, _: log_text(10**value)))


def _contours(figure: Figure, exhibit: Surface, z: Array, scale: Scale, theme: Theme) -> None:
    axes = figure.add_axes((0.068, 0.125, 0.385, 0.82))
    levels = np.linspace(scale.low, scale.high, 25)
    filled = axes.contourf(
        exhibit.x, exhibit.y, np.ma.masked_invalid(z), levels=levels, cmap=colormap(scale.kind)
    )
    if z.min() < z.max():
        lines = levels[::3]
        axes.contour(
            exhibit.x,
            exhibit.y,
            np.ma.masked_invalid(z),
            levels=lines,
            colors="white",
            linewidths=0.5,
            alpha=0.55,
        )
    if exhibit.path is not None:
        px, py = exhibit.path[:, 0], exhibit.path[:, 1]
        axes.plot(px, py, color="white", linewidth=3.2, solid_joinstyle="round")
        axes.plot(px, py, color="#d55e00", linewidth=1.6, solid_joinstyle="round")
        axes.plot(
            px[0], py[0], "o", color="white", markersize=6, markeredgecolor="#d55e00", markeredgewidth=1.4
        )
        axes.plot(
            px[-1], py[-1], "o", color="#d55e00", markersize=6.5, markeredgecolor="white", markeredgewidth=1.2
        )
        axes.set(xlim=(exhibit.x.min(), exhibit.x.max()), ylim=(exhibit.y.min(), exhibit.y.max()))
    axes.set_xlabel(shorten(exhibit.x_label, 560, BODY))
    axes.set_ylabel(shorten(exhibit.y_label, 560, BODY))
    for axis in (axes.xaxis, axes.yaxis):
        linear_axis(axis, ticks=5)
    bar = figure.colorbar(filled, cax=figure.add_axes((0.466, 0.125, 0.011, 0.82)))
    _z_axis(bar.ax.yaxis, exhibit, ticks=6)
    bar.ax.tick_params(length=0, pad=4)
    bar.outline.set_visible(False)  # pyrefly: ignore
    bar.set_label(shorten(exhibit.z_label, 560, BODY), color=theme.ink)


def _surface_3d(figure: Figure, exhibit: Surface, z: Array, scale: Scale, theme: Theme) -> None:
    axes: Axes3D = figure.add_axes((0.555, 0.02, 0.43, 0.97), projection="3d", computed_zorder=False)  # type: ignore
    x, y = np.meshgrid(exhibit.x, exhibit.y)
    axes.plot_surface(
        x,
        y,
        z,
        facecolors=colourise(z, scale),
        rcount=80,
        ccount=80,
        linewidth=0,
        antialiased=False,
        shade=False,
    )
    step = [max(1, len(values) // 16) for values in (exhibit.y, exhibit.x)]
    axes.plot_wireframe(x, y, z, rstride=step[0], cstride=step[1], color="white", linewidth=0.3, alpha=0.55)
    if exhibit.path is not None:
        height = _on_surface(exhibit, exhibit.path, z) + 0.01 * (scale.high - scale.low)
        axes.plot(exhibit.path[:, 0], exhibit.path[:, 1], height, color="#d55e00", linewidth=1.8, zorder=10)
    axes.view_init(elev=32, azim=-56)
    axes.set_box_aspect((1, 1, 0.72), zoom=0.98)
    three: list[Any] = [axes.xaxis, axes.yaxis, axes.zaxis]  # with methods that the type stubs lack
    for axis in three:
        axis.set_pane_color((0, 0, 0, 0))
        axis.line.set_color(theme.muted)
        axis._axinfo["grid"].update(color=theme.grid, linewidth=0.6)
        linear_axis(axis, ticks=4)
    _z_axis(axes.zaxis, exhibit, ticks=4)
    axes.tick_params(labelsize=SMALL - 0.5, pad=-1)
    axes.set_xlabel(shorten(exhibit.x_label, 320), fontsize=SMALL, labelpad=0)
    axes.set_ylabel(shorten(exhibit.y_label, 320), fontsize=SMALL, labelpad=0)


def _on_surface(exhibit: Surface, path: Array, z: Array) -> Array:
    """z at the points of the path, by bilinear interpolation."""
    column = np.interp(path[:, 0], exhibit.x, np.arange(len(exhibit.x)))
    row = np.interp(path[:, 1], exhibit.y, np.arange(len(exhibit.y)))
    j = np.minimum(column.astype(int), len(exhibit.x) - 2)
    i = np.minimum(row.astype(int), len(exhibit.y) - 2)
    u, v = column - j, row - i
    return (1 - v) * ((1 - u) * z[i, j] + u * z[i, j + 1]) + v * ((1 - u) * z[i + 1, j] + u * z[i + 1, j + 1])
