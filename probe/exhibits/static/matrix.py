"""Draw a matrix: coloured cells, with numbers if there is room, and only some labels if there are too many."""

import numpy as np
from matplotlib.figure import Figure

from probe.exhibits.colour import colourise
from probe.exhibits.exhibits import Array, Matrix, Scale
from probe.exhibits.static.theme import (
    BODY,
    DPI,
    SMALL,
    Theme,
    colormap,
    linear_axis,
    new_figure,
    shorten,
    text_width,
)

_LOWEST = 250  # pixels of all rows together


def draw(exhibit: Matrix, theme: Theme) -> Figure:
    """Cells are square unless the matrix is far from square. Sizes are in pixels."""
    rows, columns = exhibit.values.shape
    scale = exhibit.scale or default_scale(exhibit.values)
    cell_width = float(np.clip(1050 / columns, 9, 84))
    cell_height = float(np.clip(min(1000 / rows, cell_width), 9, 66))
    if columns > 2 * rows:
        cell_height = float(np.clip(420 / rows, 9, 66))
    if rows > 2 * columns:
        cell_width = float(np.clip(700 / columns, cell_width, 140))

    if rows * cell_height < _LOWEST:  # the titles at its sides need the height
        cell_height = _LOWEST / rows
        cell_width = max(cell_width, min(140, cell_height, 1050 / columns))

    row_names = [shorten(label, 260) for label in exhibit.row_labels]
    column_names = [shorten(label, 260) for label in exhibit.column_labels]
    rotated = any(text_width(name, SMALL) > cell_width - 8 for name in column_names)
    left = 34 + max(text_width(name, SMALL) for name in row_names) + (44 if exhibit.row_title else 0)
    below = (max(text_width(n, SMALL) for n in column_names) if rotated else 24) + 26
    below += 46 if exhibit.column_title else 0
    cells_width, cells_height = columns * cell_width, rows * cell_height
    width, height = left + cells_width + 170, 16 + cells_height + below
    figure = new_figure(width, height)
    axes = figure.add_axes((left / width, below / height, cells_width / width, cells_height / height))
    axes.imshow(
        exhibit.values,
        cmap=colormap(scale.kind),
        vmin=scale.low,
        vmax=scale.high,
        aspect="auto",
        interpolation="nearest",
    )
    every_row, every_column = (max(1, int(np.ceil(26 / size))) for size in (cell_height, cell_width))
    axes.set_yticks(range(0, rows, every_row), row_names[::every_row])
    axes.set_xticks(
        range(0, columns, every_column), column_names[::every_column], rotation=90 if rotated else 0
    )
    axes.tick_params(length=0, pad=5, labelcolor=theme.ink)
    axes.spines[:].set_visible(False)
    if exhibit.row_title:
        figure.text(
            14 / width,
            (below + cells_height / 2) / height,
            exhibit.row_title,
            rotation=90,
            ha="left",
            va="center",
        )
    if exhibit.column_title:
        figure.text(
            (left + cells_width / 2) / width, 12 / height, exhibit.column_title, ha="center", va="bottom"
        )
    if max(rows, columns) <= 40 and theme.background is not None:  # lines between cells
        axes.set_xticks(np.arange(columns - 1) + 0.5, minor=True)
        axes.set_yticks(np.arange(rows - 1) + 0.5, minor=True)
        axes.grid(which="minor", color=theme.background, linewidth=1)
        axes.tick_params(which="minor", length=0)
    if exhibit.format:
        _write(exhibit, scale, axes, cell_width, cell_height)

    bar_height = min(cells_height, 520.0)
    bar = figure.add_axes(
        (
            (left + cells_width + 34) / width,
            (below + cells_height - bar_height) / height,
            18 / width,
            bar_height / height,
        )
    )
    bar.imshow(
        np.linspace(1, 0, 256)[:, None],
        cmap=colormap(scale.kind),
        aspect="auto",
        extent=(0, 1, scale.low, scale.high),
    )
    bar.set_xticks([])
    bar.yaxis.tick_right()
    linear_axis(bar.yaxis, ticks=5)
    bar.tick_params(length=0, pad=4)
    bar.spines[:].set_visible(False)
    if scale.label:
        bar.yaxis.set_label_position("right")
        bar.set_ylabel(shorten(scale.label, bar_height, BODY), labelpad=8)
    return figure


def default_scale(values: Array) -> Scale:
    """Sequential over the range of the values, or diverging and centred on zero if they have both signs."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if low < 0 < high:
        limit = max(-low, high)
        return Scale(low=-limit, high=limit, kind="diverging")
    return Scale(low=low, high=high if high > low else low + 1, kind="sequential")


def _write(exhibit: Matrix, scale: Scale, axes, cell_width: float, cell_height: float) -> None:
    texts = [
        [exhibit.format.format(v) if np.isfinite(v) else "–" for v in row] for row in exhibit.values.tolist()
    ]
    longest = max(text_width(text, 10.0) for row in texts for text in row)
    size = min(SMALL, 10.0 * (cell_width - 8) / longest, cell_height * 0.62 * 72 / DPI)
    if size < 4.2:
        return
    light = colourise(exhibit.values, scale) @ np.array([0.299, 0.587, 0.114])
    for i, row in enumerate(texts):
        for j, text in enumerate(row):
            ink = "#10151b" if light[i, j] > 0.5 else "#ffffff"
            axes.text(
                j, i, text.replace("-", "\u2212"), ha="center", va="center_baseline", fontsize=size, color=ink
            )
