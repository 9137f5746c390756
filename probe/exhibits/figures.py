"""Exhibits as the templates of pages and notebooks need them: a vector figure, images, or a table."""

import base64
from concurrent.futures import Future
from functools import cache

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from probe.exhibits import palette
from probe.exhibits.drawings import Drawings
from probe.exhibits.exhibits import Exhibit, ImageGrid, Table
from probe.exhibits.inline import Inline
from probe.exhibits.tabular import csv_text, format_cell
from probe.exhibits.vector import inline_svg
from probe.paths import REPORTS

FIGURE_COLOURS = f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {palette.css('dark')} }} }}\n"
"""The style by which the figures of a page are dark where the page is."""
_SHORT = 16  # characters of a cell of a table that is never wrapped
_CSV_LIMIT = 250_000  # bytes of the largest CSV that is embedded in a page


class FigureView:
    """An exhibit as a template needs it: a table, a vector figure, or images for both backgrounds or one for each.

    number: shown before its title. anchor: its address in the page, unique, with which the ids of its parts start.
    """

    def __init__(self, exhibit: Exhibit, number: str, anchor: str, drawings: Drawings) -> None:
        self.exhibit, self.number, self.anchor = exhibit, number, anchor
        self.table = exhibit if isinstance(exhibit, Table) else None
        without_text = isinstance(exhibit, ImageGrid) and not (
            exhibit.labels or exhibit.column_headers or exhibit.row_headers
        )
        self.has_text = not without_text  # text must not shrink with the window
        self.vector = Markup()
        self.width = 0
        self.pending: list[Future[Inline]] = []
        self.images: list[Inline] = []
        self.addresses: list[str] = []
        self.error = ""
        if self.table is None:
            try:
                self._draw(drawings)
            except ValueError as error:
                self.error = str(error)
        text = csv_text(exhibit)
        data = text.encode("utf-8", "replace") if text is not None else b""
        self.csv = base64.b64encode(data).decode() if 0 < len(data) <= _CSV_LIMIT else ""
        self.heavy_csv = len(data) > _CSV_LIMIT

    def _draw(self, drawings: Drawings) -> None:
        exhibit = self.exhibit
        if isinstance(exhibit, ImageGrid):
            self.pending = [drawings.image(exhibit, "either")]
            return
        drawn = drawings.vector(exhibit)
        if drawn is None:
            self.pending = [drawings.image(exhibit, look) for look in ("light", "dark")]
            return
        inline = inline_svg(
            drawn.decode("utf-8"),
            prefix=f"{self.anchor}-",
            title=exhibit.title,
            description=exhibit.caption,
        )
        self.vector, self.width = Markup(inline.text), inline.width

    def place(self, images: list[Inline], addresses: list[str]) -> None:
        """Set the images that were encoded for it, with the addresses under which a page finds them."""
        self.images, self.addresses = images, addresses

    @property
    def numeric(self) -> list[bool]:
        """Which columns of the table hold numbers."""
        table = self.table
        if table is None:
            return []
        columns = [[row[j] for row in table.rows if row[j] is not None] for j in range(len(table.columns))]
        return [bool(cells) and not any(isinstance(cell, str | bool) for cell in cells) for cells in columns]

    @property
    def short(self) -> list[bool]:
        """Which columns of the table have no cell that is worth a second line, such as sizes."""
        table = self.table
        if table is None:
            return []
        return [all(len(str(row[j])) <= _SHORT for row in table.rows) for j in range(len(table.columns))]


@cache
def template_environment() -> Environment:
    """The templates of reports/templates, with everything escaped that is not marked as markup."""
    environment = Environment(
        loader=FileSystemLoader(REPORTS / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"] = format_cell
    return environment
