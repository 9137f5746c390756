"""Draws exhibits as still pictures with matplotlib, which is imported here and nowhere else."""

import io
from collections.abc import Callable

from matplotlib.figure import Figure

from probe.exhibits.checks import check
from probe.exhibits.exhibits import Chart, Exhibit, Matrix, Pictures, Scatter, Surface, Table
from probe.exhibits.static import chart, matrix, pictures, scatter, surface, table
from probe.exhibits.static.theme import DPI, Look, drawing

_DRAW: dict[type[Exhibit], Callable[..., Figure]] = {
    Pictures: pictures.draw,
    Chart: chart.draw,
    Matrix: matrix.draw,
    Scatter: scatter.draw,
    Surface: surface.draw,
    Table: table.draw,
}


def figure(exhibit: Exhibit, *, look: Look = "light") -> Figure:
    """Draw an exhibit, without its title and caption: these are text, and set beside it as text.

    look: "light" is dark ink on white; "dark" is light ink and "either" middle-grey ink, both on a
        transparent ground. Raises ValueError if the exhibit cannot be drawn (`checks.check`).
    """
    check(exhibit)
    with drawing(look) as theme:
        made = _DRAW[type(exhibit)](exhibit, theme)
        made.draw_without_rendering()  # ticks are made lazily and would else miss the theme
    return made


def png(exhibit: Exhibit, *, look: Look = "light") -> bytes:
    """The figure as a PNG at two pixels a CSS pixel; same exhibit, same versions: same bytes."""
    made = figure(exhibit, look=look)
    told = {"Title": exhibit.title, "Description": exhibit.caption, "Software": None}
    file = io.BytesIO()
    with drawing(look):
        made.savefig(file, format="png", dpi=DPI, metadata=told)
    return file.getvalue()
