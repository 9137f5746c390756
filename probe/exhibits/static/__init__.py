"""Draws exhibits as still pictures with matplotlib, which is imported here and nowhere else."""

import io
from collections.abc import Callable

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from probe.exhibits.checks import check
from probe.exhibits.exhibits import Chart, Exhibit, ImageGrid, Matrix, Scatter, Surface, Table
from probe.exhibits.static import chart, matrix, pictures, scatter, surface, table
from probe.exhibits.static.theme import DPI, Look, drawing

_DRAW: dict[type[Exhibit], Callable[..., Figure]] = {
    ImageGrid: pictures.draw,
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


def pixels(exhibit: Exhibit, *, look: Look = "light") -> Image.Image:
    """The figure in RGBA at two pixels a CSS pixel. Raises ValueError as `figure` does."""
    check(exhibit)
    with drawing(look) as theme:
        canvas = FigureCanvasAgg(_DRAW[type(exhibit)](exhibit, theme))
        canvas.draw()  # once: savefig would draw three times
    return Image.fromarray(np.array(canvas.buffer_rgba()))


def png(exhibit: Exhibit, *, look: Look = "light") -> bytes:
    """The figure as a PNG that tells its title and caption; same exhibit, same versions: same bytes."""
    told = PngInfo()
    told.add_itxt("Title", exhibit.title)
    told.add_itxt("Description", exhibit.caption)
    file = io.BytesIO()
    pixels(exhibit, look=look).save(file, "PNG", pnginfo=told, dpi=(DPI, DPI))
    return file.getvalue()
