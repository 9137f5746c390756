"""Draws a table as a picture, for places that show pictures alone; the report sets tables as text."""

import numpy as np
from matplotlib.figure import Figure

from probe.exhibits.exhibits import Table
from probe.exhibits.static.theme import SMALL, WIDTH, Theme, blank, breadth, fit, line_height, printable
from probe.exhibits.tabular import format_cell

_ROWS = 40
_LINES = 8  # of one cell
_LINE, _PAD, _MARGIN = 38, 34, 16


def draw(exhibit: Table, theme: Theme) -> Figure:
    """Numbers to the right, words to the left and wrapped; rows past the fortieth are counted, not drawn."""
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
                breadth(printable(exhibit.columns[j]), SMALL, True),
                *(breadth(printable(r[j]), SMALL) for r in texts),
            ]
        )
        for j in range(columns)
    ]
    limit = _limit(natural, WIDTH - 2 * _MARGIN - _PAD * (columns - 1))
    heads = [_wrapped(name, limit, bold=True) for name in exhibit.columns]
    cells = [[_wrapped(text, limit) for text in row] for row in texts]
    widths = [
        max(
            [
                *(breadth(line, SMALL, True) for line in heads[j]),
                *(breadth(x, SMALL) for r in cells for x in r[j]),
            ]
        )
        for j in range(columns)
    ]
    extra = line_height(SMALL)
    tall = [_LINE + extra * (max(map(len, row)) - 1) for row in (heads, *cells)]
    top = _MARGIN + np.cumsum([0, *tall])  # of the heads, of each row, and the end of the last
    left_out = len(exhibit.rows) - len(rows)
    width = max(2 * _MARGIN + sum(widths) + _PAD * (columns - 1), 500)
    height = float(top[-1]) + _MARGIN + _LINE * bool(left_out) + 6
    made = blank(width, height)
    axes = made.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    x = float(_MARGIN)
    for j in range(columns):
        at, side = (x + widths[j], "right") if numeric[j] else (x, "left")
        for i, row in enumerate((heads, *cells)):
            for k, line in enumerate(row[j]):
                y = top[i] + _LINE / 2 + extra * k + (6 if i else 0)
                weight = "normal" if i else "bold"
                axes.text(
                    at, y, line, ha=side, va="center", fontsize=SMALL, fontweight=weight, color=theme.ink
                )
        x += widths[j] + _PAD
    edge = width - _MARGIN
    axes.plot([_MARGIN, edge], [top[1]] * 2, color=theme.muted, linewidth=0.9)
    for y in top[2:-1]:
        axes.plot([_MARGIN, edge], [y + 6] * 2, color=theme.grid, linewidth=0.7)
    if left_out:
        y = height - _MARGIN - _LINE / 2
        text = f"… and {left_out:,} more row{'s' if left_out > 1 else ''}"
        axes.text(_MARGIN, y, text, va="center", fontsize=SMALL, style="italic", color=theme.muted)
    return made


def _limit(natural: list[float], room: float) -> float:
    """The widest that a column may be so that all fit into `room`: narrow ones keep what they need."""
    left, share = room, room
    for done, need in enumerate(sorted(natural)):
        share = left / (len(natural) - done)
        if need > share:
            return max(120.0, share)
        left -= need
    return max(120.0, *natural)


def _wrapped(text: str, width: float, *, bold: bool = False) -> list[str]:
    """The text in lines of at most `width` pixels, broken between words; a word that is too long is shortened."""
    lines: list[str] = []
    for paragraph in printable(text).split("\n"):
        line = ""
        for word in paragraph.split(" "):
            longer = f"{line} {word}" if line else word
            if line and breadth(longer, SMALL, bold) > width:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    if len(lines) > _LINES:
        lines = [*lines[: _LINES - 1], lines[_LINES - 1] + " …"]
    return [fit(line, width, bold=bold) for line in lines]


def _numeric(exhibit: Table, column: int) -> bool:
    cells = [row[column] for row in exhibit.rows if row[column] is not None]
    return bool(cells) and not any(isinstance(cell, str | bool) for cell in cells)
