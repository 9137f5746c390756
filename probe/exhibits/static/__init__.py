"""Draw exhibits as static images with matplotlib, which is imported in this package alone."""

import io
import weakref
from importlib import import_module

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from probe.exhibits.checks import check
from probe.exhibits.exhibits import Chart, Exhibit, ImageGrid, Matrix, Scatter, Surface, Table
from probe.exhibits.palette import Look, Theme
from probe.exhibits.static.theme import DPI, themed

_MODULES: dict[type[Exhibit], str] = {
    ImageGrid: "image_grid",
    Chart: "chart",
    Matrix: "matrix",
    Scatter: "scatter",
    Surface: "surface",
    Table: "table",
}


def _draw(exhibit: Exhibit, theme: Theme) -> Figure:
    """Draw by the module of its kind, which is imported now: that of surfaces takes longest."""
    return import_module(f"{__name__}.{_MODULES[type(exhibit)]}").draw(exhibit, theme)


def figure(exhibit: Exhibit, *, look: Look = "light") -> Figure:
    """Draw an exhibit without its title and caption, which are shown as text beside it.

    look: "light" is dark text on white; "dark" is light text and "either" mid-grey text, both on a transparent
    background. Raises ValueError if the exhibit cannot be drawn (`checks.check`).
    """
    check(exhibit)
    with themed(look) as theme:
        drawn = _draw(exhibit, theme)
        drawn.draw_without_rendering()  # ticks are created lazily, and need the theme
    return drawn


def pixels(exhibit: Exhibit, *, look: Look = "light") -> Image.Image:
    """The figure in RGBA with two pixels per CSS pixel. Raises ValueError as `figure` does."""
    check(exhibit)
    with themed(look) as theme:
        renderer = FigureCanvasAgg(_draw(exhibit, theme))
        renderer.draw()  # once: savefig would draw three times
    return Image.fromarray(np.array(renderer.buffer_rgba()))


_VECTORS: dict[int, bytes] = {}
"""Vector figures by the id of their exhibit, as long as that exists: a run directory and a page show the same one."""


def svg(exhibit: Exhibit) -> bytes:
    """The light figure as SVG, with text as outlines, drawn once for each exhibit; the same versions give the same bytes.

    Raises ValueError as `figure` does.
    """
    if (drawn := _VECTORS.get(id(exhibit))) is not None:
        return drawn
    check(exhibit)
    file = io.BytesIO()
    with themed("light") as theme:
        figure = _draw(exhibit, theme)
        # Not savefig, which would lay out and draw three times.
        FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None, "Creator": None})
    _VECTORS[id(exhibit)] = file.getvalue()
    weakref.finalize(exhibit, _VECTORS.pop, id(exhibit), None)
    return file.getvalue()


def jpeg(exhibit: Exhibit) -> bytes:
    """The light figure as a JPEG, for photographs that would be large without loss. Raises ValueError as `figure` does."""
    file = io.BytesIO()
    pixels(exhibit).convert("RGB").save(file, "JPEG", quality=88, dpi=(DPI, DPI))
    return file.getvalue()


def png(exhibit: Exhibit, *, look: Look = "light") -> bytes:
    """The figure as a PNG with its title and caption as metadata; deterministic for the same versions."""
    metadata = PngInfo()
    metadata.add_itxt("Title", exhibit.title)
    metadata.add_itxt("Description", exhibit.caption)
    file = io.BytesIO()
    pixels(exhibit, look=look).save(file, "PNG", pnginfo=metadata, dpi=(DPI, DPI))
    return file.getvalue()
