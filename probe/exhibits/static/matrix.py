"""Draws a matrix: coloured cells, numbers in them where there is room, labels thinned where there is not."""

import numpy as np
from matplotlib.figure import Figure

from probe.exhibits.colour import colours
from probe.exhibits.exhibits import Array, Matrix, Scale
from probe.exhibits.static.theme import BODY, DPI, SMALL, Theme, blank, breadth, colormap, fit, linear_axis

_WRITTEN = 56  # pixels a cell must have for numbers to be written into it


def draw(exhibit: Matrix, theme: Theme) -> Figure:
    """Cells are square unless the matrix is far from square; sizes are in pixels."""
    rows, columns = exhibit.values.shape
    scale = exhibit.scale or default_scale(exhibit.values)
    cell_width = float(np.clip(1050 / columns, 9, 84))
    cell_height = float(np.clip(min(1000 / rows, cell_width), 9, 66))
    if columns > 2 * rows:
        cell_height = float(np.clip(420 / rows, 9, 66))
    if rows > 2 * columns:
        cell_width = float(np.clip(700 / columns, cell_width, 140))

    row_names = [fit(label, 260) for label in exhibit.row_labels]
    column_names = [fit(label, 260) for label in exhibit.column_labels]
    turned = any(breadth(name, SMALL) > cell_width - 8 for name in column_names)
    left = 34 + max(breadth(name, SMALL) for name in row_names) + (44 if exhibit.row_title else 0)
    below = (max(breadth(n, SMALL) for n in column_names) if turned else 24) + 26
    below += 46 if exhibit.column_title else 0
    wide, high = columns * cell_width, rows * cell_height
    width, height = left + wide + 170, 16 + high + below
    made = blank(width, height)
    axes = made.add_axes((left / width, below / height, wide / width, high / height))
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
        range(0, columns, every_column), column_names[::every_column], rotation=90 if turned else 0
    )
    axes.tick_params(length=0, pad=5, labelcolor=theme.ink)
    axes.spines[:].set_visible(False)
    if exhibit.row_title:
        made.text(
            14 / width, (below + high / 2) / height, exhibit.row_title, rotation=90, ha="left", va="center"
        )
    if exhibit.column_title:
        made.text((left + wide / 2) / width, 12 / height, exhibit.column_title, ha="center", va="bottom")
    if max(rows, columns) <= 40 and theme.ground is not None:  # hairlines between cells
        axes.set_xticks(np.arange(columns - 1) + 0.5, minor=True)
        axes.set_yticks(np.arange(rows - 1) + 0.5, minor=True)
        axes.grid(which="minor", color=theme.ground, linewidth=1)
        axes.tick_params(which="minor", length=0)
    if exhibit.format:
        _write(exhibit, scale, axes, cell_width, cell_height)

    tall = min(high, 520.0)
    bar = made.add_axes(
        ((left + wide + 34) / width, (below + high - tall) / height, 18 / width, tall / height)
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
        bar.set_ylabel(fit(scale.label, tall, BODY), labelpad=8)
    return made


def default_scale(values: Array) -> Scale:
    """Sequential over the values, or diverging and centred on zero where they have both signs."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if low < 0 < high:
        reach = max(-low, high)
        return Scale(low=-reach, high=reach, kind="diverging")
    return Scale(low=low, high=high if high > low else low + 1, kind="sequential")


def _write(exhibit: Matrix, scale: Scale, axes, cell_width: float, cell_height: float) -> None:
    texts = [
        [exhibit.format.format(v) if np.isfinite(v) else "–" for v in row] for row in exhibit.values.tolist()
    ]
    longest = max(breadth(text, 10.0) for row in texts for text in row)
    size = min(SMALL, 10.0 * (cell_width - 8) / longest, cell_height * 0.62 * 72 / DPI)
    if size < 4.2:
        return
    light = colours(exhibit.values, scale) @ np.array([0.299, 0.587, 0.114])
    for i, row in enumerate(texts):
        for j, text in enumerate(row):
            ink = "#10151b" if light[i, j] > 0.5 else "#ffffff"
            axes.text(
                j, i, text.replace("-", "\u2212"), ha="center", va="center_baseline", fontsize=size, color=ink
            )
