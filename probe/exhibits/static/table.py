"""Draw a table as an image, where only images can be shown; reports show tables as text."""

import numpy as np
from matplotlib.figure import Figure

from probe.exhibits.exhibits import Table
from probe.exhibits.static.theme import (
    SMALL,
    WIDTH,
    Theme,
    line_height,
    new_figure,
    printable,
    shorten,
    text_width,
)
from probe.exhibits.tabular import format_cell

_ROWS = 40
_LINES = 8  # of one cell
_LINE, _PAD, _MARGIN = 38, 34, 16


def draw(exhibit: Table, theme: Theme) -> Figure:
    """Numbers are aligned right, text is aligned left and wrapped; rows after the fortieth are only counted."""
    columns = len(exhibit.columns)
    rows = exhibit.rows[:_ROWS]
    texts = [
        [format_cell(cell, exhibit.formats.get(exhibit.columns[j], "")) for j, cell in enumerate(r)]
        for r in rows
    ]
    numeric = [_numeric(exhibit, j) for j in range(columns)]
    natural = [
        max(
            [
                text_width(printable(exhibit.columns[j]), SMALL, True),
                *(text_width(printable(r[j]), SMALL) for r in texts),
            ]
        )
        for j in range(columns)
    ]
    limit = _limit(natural, WIDTH - 2 * _MARGIN - _PAD * (columns - 1))
    headers = [_wrapped(name, limit, bold=True) for name in exhibit.columns]
    cells = [[_wrapped(text, limit) for text in row] for row in texts]
    widths = [
        max(
            [
                *(text_width(line, SMALL, True) for line in headers[j]),
                *(text_width(x, SMALL) for r in cells for x in r[j]),
            ]
        )
        for j in range(columns)
    ]
    extra = line_height(SMALL)
    row_heights = [_LINE + extra * (max(map(len, row)) - 1) for row in (headers, *cells)]
    top = _MARGIN + np.cumsum(
        [0, *row_heights]
    )  # y of the headers, of each row, and of the end of the last row
    omitted = len(exhibit.rows) - len(rows)
    width = max(2 * _MARGIN + sum(widths) + _PAD * (columns - 1), 500)
    height = float(top[-1]) + _MARGIN + _LINE * bool(omitted) + 6
    figure = new_figure(width, height)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    x = float(_MARGIN)
    for j in range(columns):
        anchor, side = (x + widths[j], "right") if numeric[j] else (x, "left")
        for i, row in enumerate((headers, *cells)):
            for k, line in enumerate(row[j]):
                y = top[i] + _LINE / 2 + extra * k + (6 if i else 0)
                weight = "normal" if i else "bold"
                axes.text(
                    anchor, y, line, ha=side, va="center", fontsize=SMALL, fontweight=weight, color=theme.ink
                )
        x += widths[j] + _PAD
    edge = width - _MARGIN
    axes.plot([_MARGIN, edge], [top[1]] * 2, color=theme.muted, linewidth=0.9)
    for y in top[2:-1]:
        axes.plot([_MARGIN, edge], [y + 6] * 2, color=theme.grid, linewidth=0.7)
    if omitted:
        y = height - _MARGIN - _LINE / 2
        text = f"… and {omitted:,} more row{'s' if omitted > 1 else ''}"
        axes.text(_MARGIN, y, text, va="center", fontsize=SMALL, style="italic", color=theme.muted)
    return figure


def _limit(natural: list[float], room: float) -> float:
    """The largest width of a column with which all columns fit into `room`; narrower ones keep their width."""
    remaining = room
    for done, width in enumerate(sorted(natural)):
        equal = remaining / (len(natural) - done)
        if width > equal:
            return max(120.0, equal)
        remaining -= width
    return max(120.0, *natural)


def _wrapped(text: str, width: float, *, bold: bool = False) -> list[str]:
    """The text in lines of at most `width` pixels, broken between words; words that are too long are shortened."""
    lines: list[str] = []
    for paragraph in printable(text).split("\n"):
        line = ""
        for word in paragraph.split(" "):
            longer = f"{line} {word}" if line else word
            if line and text_width(longer, SMALL, bold) > width:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    if len(lines) > _LINES:
        lines = [*lines[: _LINES - 1], lines[_LINES - 1] + " …"]
    return [shorten(line, width, bold=bold) for line in lines]


def _numeric(exhibit: Table, column: int) -> bool:
    cells = [row[column] for row in exhibit.rows if row[column] is not None]
    return bool(cells) and not any(isinstance(cell, str | bool) for cell in cells)
