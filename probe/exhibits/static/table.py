"""Draws a table as a picture, for places that show pictures alone; the report sets tables as text."""

from matplotlib.figure import Figure

from probe.exhibits.exhibits import Table
from probe.exhibits.spreadsheet import shown
from probe.exhibits.static.theme import SMALL, WIDTH, Theme, blank, breadth, fit

_ROWS = 40
_LINE, _PAD, _MARGIN = 38, 34, 16


def draw(exhibit: Table, theme: Theme) -> Figure:
    """Numbers to the right, words to the left; rows past the fortieth are counted, not drawn."""
    columns = len(exhibit.columns)
    rows = exhibit.rows[:_ROWS]
    texts = [
        [shown(cell, exhibit.formats.get(exhibit.columns[j], "")) for j, cell in enumerate(r)] for r in rows
    ]
    numeric = [_numeric(exhibit, j) for j in range(columns)]
    limit = max(120.0, (WIDTH - 2 * _MARGIN) / columns - _PAD) if columns > 4 else 620.0
    heads = [fit(name, limit, bold=True) for name in exhibit.columns]
    texts = [[fit(text, limit) for text in row] for row in texts]
    widths = [
        max([breadth(heads[j], SMALL, True), *(breadth(row[j], SMALL) for row in texts)])
        for j in range(columns)
    ]
    left_out = len(exhibit.rows) - len(rows)
    width = max(2 * _MARGIN + sum(widths) + _PAD * (columns - 1), 500)
    height = _MARGIN * 2 + _LINE * (len(rows) + 1 + bool(left_out)) + 6
    made = blank(width, height)
    axes = made.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    x = float(_MARGIN)
    for j in range(columns):
        at, side = (x + widths[j], "right") if numeric[j] else (x, "left")
        y = _MARGIN + _LINE / 2
        axes.text(at, y, heads[j], ha=side, va="center", fontsize=SMALL, fontweight="bold", color=theme.ink)
        for i, row in enumerate(texts):
            axes.text(
                at, y + 6 + _LINE * (i + 1), row[j], ha=side, va="center", fontsize=SMALL, color=theme.ink
            )
        x += widths[j] + _PAD
    edge = width - _MARGIN
    axes.plot([_MARGIN, edge], [_MARGIN + _LINE] * 2, color=theme.muted, linewidth=0.9)
    for i in range(1, len(rows)):
        axes.plot([_MARGIN, edge], [_MARGIN + _LINE * (i + 1) + 6] * 2, color=theme.grid, linewidth=0.7)
    if left_out:
        y = height - _MARGIN - _LINE / 2
        text = f"… and {left_out:,} more rows"
        axes.text(_MARGIN, y, text, va="center", fontsize=SMALL, style="italic", color=theme.muted)
    return made


def _numeric(exhibit: Table, column: int) -> bool:
    cells = [row[column] for row in exhibit.rows if row[column] is not None]
    return bool(cells) and not any(isinstance(cell, str | bool) for cell in cells)
