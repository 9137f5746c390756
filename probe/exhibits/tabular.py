"""Exhibits as CSV, and table cells as text."""

import csv
import io
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from probe.errors import UserError
from probe.exhibits.exhibits import Cell, Chart, Exhibit, Matrix, Scatter, Surface, Table
from probe.exhibits.wording import plain

if TYPE_CHECKING:
    from pandas import DataFrame


def format_cell(cell: Cell, format: str = "") -> str:
    """A cell as text: missing values as a dash, floats with four significant digits unless `format` is given.

    format: as for str.format ("{:.1%}") or the part after its colon (".1%").

    >>> format_cell(0.123456), format_cell(0.5, ".1%"), format_cell(-3), format_cell(None), format_cell("cat")
    ('0.1235', '50.0%', '\u22123', '–', 'cat')
    """
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return "–"
    if isinstance(cell, str | bool):
        return str(cell)
    if format:
        text = format.format(cell) if "{" in format else f"{cell:{format}}"
    else:
        text = f"{cell:,}" if isinstance(cell, int) else f"{cell:.4g}"
    text = plain(text)
    return text.replace("-", "\u2212", 1) if text.startswith("-") else text


def csv_text(exhibit: Exhibit) -> str | None:
    """The numbers of an exhibit in CSV (RFC 4180, with a header), or None for an ImageGrid."""
    columns = _columns(exhibit)
    return None if columns is None else _csv(columns, _rows(exhibit))


def data_frame(exhibit: Exhibit) -> "DataFrame":
    """The numbers of an exhibit as a DataFrame; of a Matrix with its row labels as the index.

    Raises UserError for an ImageGrid, and where pandas is not installed.
    """
    try:
        from pandas import DataFrame
    except ImportError:
        raise UserError(
            "to_pandas needs pandas: pip install 'cnn-probe[notebook]', or pandas itself"
        ) from None
    if isinstance(exhibit, Matrix):
        frame = DataFrame(exhibit.values, index=exhibit.row_labels, columns=exhibit.column_labels)
        return frame.rename_axis(index=exhibit.row_title or None, columns=exhibit.column_title or None)
    columns = _columns(exhibit)
    if columns is None:
        raise UserError(f"{exhibit.title!r} holds images and no table: its arrays are in .arrays")
    rows = ([math.nan if cell is None else cell for cell in row] for row in _rows(exhibit))
    return DataFrame(list(rows), columns=columns)


def _columns(exhibit: Exhibit) -> list[str] | None:
    match exhibit:
        case Chart():
            return ["series", "x", "y", "low", "high"]
        case Matrix():
            return [exhibit.row_title or "row", *exhibit.column_labels]
        case Scatter():
            return ["name", "x", "y", "group"]
        case Surface():
            heights = [f"{exhibit.z_label}, {name}" for name in exhibit.names] or [exhibit.z_label]
            return [exhibit.x_label, exhibit.y_label, *heights]
        case Table():
            return exhibit.columns
    return None


def _rows(exhibit: Exhibit) -> Iterable[list[Cell]]:
    match exhibit:
        case Chart():
            return _chart_rows(exhibit)
        case Matrix():
            names = zip(exhibit.row_labels, exhibit.values.tolist(), strict=True)
            return ([name, *values] for name, values in names)
        case Scatter():
            return _scatter_rows(exhibit)
        case Surface():
            x, y = exhibit.x.tolist(), exhibit.y.tolist()
            return (
                [x[j], y[i], *exhibit.surfaces[:, i, j].tolist()]
                for i in range(len(y))
                for j in range(len(x))
            )
        case Table():
            return exhibit.rows
    return []


def _chart_rows(exhibit: Chart) -> Iterable[list[Cell]]:
    for line in exhibit.lines:
        none = [None] * len(line.x)
        low = line.low.tolist() if line.low is not None else none
        high = line.high.tolist() if line.high is not None else none
        for x, y, a, b in zip(line.x.tolist(), line.y.tolist(), low, high, strict=True):
            named = exhibit.ticks and x == int(x) and 0 <= x < len(exhibit.ticks)
            yield [line.name, exhibit.ticks[int(x)] if named else x, y, a, b]


def _scatter_rows(exhibit: Scatter) -> Iterable[list[Cell]]:
    for i, (x, y) in enumerate(zip(exhibit.x.tolist(), exhibit.y.tolist(), strict=True)):
        name = exhibit.point_names[i] if exhibit.point_names else str(i)
        yield [name, x, y, exhibit.group_names[int(exhibit.group[i])] if exhibit.group is not None else None]


def _csv(headers: list[str], rows: Iterable[list[Cell]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow([_escape_formula(header) for header in headers])
    writer.writerows([[_escape_formula(cell) for cell in row] for row in rows])
    return file.getvalue()


def _escape_formula(cell: Cell) -> Cell:
    """A text that a spreadsheet would evaluate as a formula is prefixed with an apostrophe; numbers stay numbers."""
    if isinstance(cell, float) and math.isnan(cell):
        return ""
    if not isinstance(cell, str) or not cell.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r", "\n")):
        return cell
    try:
        float(cell)
    except ValueError:
        return "'" + cell
    return cell
