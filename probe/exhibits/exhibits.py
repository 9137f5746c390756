"""The six kinds of exhibit: data and a caption, without drawing.

`static/` draws them; nothing here imports torch or matplotlib. Arrays are NumPy, float32 or integer.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from pandas import DataFrame

Array = np.ndarray


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The colours of the scalar maps of an exhibit.

    kind: "grey", "sequential" (low to high) or "diverging" (centred on zero: low = -high).
    """

    low: float
    high: float
    kind: Literal["grey", "sequential", "diverging"] = "grey"
    label: str = ""


@dataclass(frozen=True, kw_only=True, repr=False)
class Exhibit:
    """One thing to look at. The caption states the finding with its number. A notebook shows it as a picture.

    facts: figures that the caption states and that the exhibit itself does not hold, by snake_case names.
    """

    title: str
    caption: str
    facts: Mapping[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.title!r})"

    def _repr_html_(self) -> str:
        from probe.exhibits.notebook import exhibit_html

        return exhibit_html(self)

    @property
    def arrays(self) -> dict[str, Array]:
        """The arrays that it shows, by name: such as "values" of a Matrix, "images.0" of an ImageGrid, "PGD.y" of a Chart."""
        return dict(_arrays_of(self))

    def show(self) -> None:
        """Show the picture in a notebook; elsewhere print its title and caption."""
        from probe.exhibits.notebook import show

        show(self, f"{self.title}\n{self.caption}")

    def save(self, path: str | Path) -> Path:
        """Write the picture as .png or .svg, or the numbers as .csv; returns the path.

        Raises UserError for another suffix, and for a .csv of images.
        """
        from probe.exhibits.storage import save_exhibit

        return save_exhibit(self, Path(path))

    def to_pandas(self) -> "DataFrame":
        """Its numbers as a DataFrame; UserError for images, and where pandas is not installed."""
        from probe.exhibits.tabular import data_frame

        return data_frame(self)


def _arrays_of(value: Any, name: str = "") -> Iterator[tuple[str, Array]]:
    """The arrays in a dataclass or list, each with its dotted name; a line goes by its own."""
    if isinstance(value, np.ndarray):
        yield name, value
    elif isinstance(value, list):
        for index, item in enumerate(value):
            own = item.name or str(index) if isinstance(item, Line) else f"{name}.{index}"
            yield from _arrays_of(item, own)
    elif is_dataclass(value):
        for entry in fields(value):
            yield from _arrays_of(getattr(value, entry.name), f"{name}.{entry.name}" if name else entry.name)


def facts_of(findings: Any) -> dict[str, float]:
    """The numbers among the fields of a dataclass of findings, as the `facts` of an exhibit."""
    values = {entry.name: getattr(findings, entry.name) for entry in fields(findings)}
    return {name: v for name, v in values.items() if isinstance(v, int | float) and not isinstance(v, bool)}


@dataclass(frozen=True, kw_only=True, repr=False)
class ImageGrid(Exhibit):
    """A grid of images, row by row.

    images: each (h, w, 3) or (h, w, 1) in [0, 1], or a scalar map (h, w) that `scale` colours;
        sizes may differ. labels: one per image, or none. columns: images in a row (0: as many as fit).
    column_headers, row_headers: headers of the grid, if its columns or rows have a meaning.
    failures: whether the network fails on these images: a report of several analyses shows them in its failure gallery.
    """

    images: list[Array]
    labels: list[str] = field(default_factory=list)
    columns: int = 0
    column_headers: list[str] = field(default_factory=list)
    row_headers: list[str] = field(default_factory=list)
    scale: Scale | None = None
    failures: bool = False


@dataclass(frozen=True, kw_only=True)
class Line:
    """One series of a chart. low, high: the limits of its interval at each x."""

    name: str
    x: Array
    y: Array
    low: Array | None = None
    high: Array | None = None
    dashed: bool = False


@dataclass(frozen=True, kw_only=True, repr=False)
class Chart(Exhibit):
    """Series over one pair of axes. kind "bar" puts bars at x, or at `ticks` where x is 0, 1, 2 ..."""

    lines: list[Line]
    x_label: str
    y_label: str
    kind: Literal["line", "bar", "points"] = "line"
    x_log: bool = False
    y_log: bool = False
    y_range: tuple[float, float] | None = None
    ticks: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class CellImages:
    """Images that belong to cells of a matrix, which an HTML report shows when a cell is clicked.

    images: (m, h, w, 1 or 3) in [0, 1]. cells: (m, 2) row and column of each. labels: one for each.
    counts: (rows, columns) how many images each cell has, of which `images` may hold some.
    """

    images: Array
    cells: Array
    labels: list[str]
    counts: Array


@dataclass(frozen=True, kw_only=True, repr=False)
class Matrix(Exhibit):
    """values: (rows, columns), coloured by `scale`, and printed in the cells if `format` is not empty."""

    values: Array
    row_labels: list[str]
    column_labels: list[str]
    row_title: str = ""
    column_title: str = ""
    format: str = ""
    scale: Scale | None = None
    cell_images: CellImages | None = None


@dataclass(frozen=True, kw_only=True, repr=False)
class Scatter(Exhibit):
    """Points in the plane. x, y: (n,). group: (n,) index into group_names. thumbnails: (n, h, w, c) in [0, 1].

    neighbours: (n, k) the points whose images are the most similar to that of each point, the most similar first.
    links: (m, 2) points that are joined by a line, from the first to the second.
    """

    x: Array
    y: Array
    group: Array | None = None
    group_names: list[str] = field(default_factory=list)
    point_names: list[str] = field(default_factory=list)
    thumbnails: Array | None = None
    neighbours: Array | None = None
    links: Array | None = None
    x_label: str = ""
    y_label: str = ""
    equal: bool = False


@dataclass(frozen=True, kw_only=True, repr=False)
class Surface(Exhibit):
    """z: (len(y), len(x)), so that z[i, j] = f(x[j], y[i]), or (k, len(y), len(x)) for k surfaces on one scale.

    names: one for each of several surfaces. computed: like z, False where z is interpolated. path: (m, 2) points of a
    path on the first surface. centre: whether the origin is marked.
    """

    x: Array
    y: Array
    z: Array
    x_label: str
    y_label: str
    z_label: str
    z_log: bool = False
    path: Array | None = None
    names: list[str] = field(default_factory=list)
    computed: Array | None = None
    centre: bool = False

    @property
    def surfaces(self) -> Array:
        """(k, len(y), len(x)), also for a single one."""
        return self.z if self.z.ndim == 3 else self.z[None]


Cell = str | float | int | None


@dataclass(frozen=True, kw_only=True, repr=False)
class Table(Exhibit):
    """rows: lists with a cell for each of `columns`. formats: by column, the format of its numbers."""

    columns: list[str]
    rows: list[list[Cell]]
    formats: dict[str, str] = field(default_factory=dict)


KINDS: dict[str, type[Exhibit]] = {
    kind.__name__: kind for kind in (ImageGrid, Chart, Matrix, Scatter, Surface, Table)
}
