"""Render a report as a PDF with typst: vector charts, outline, alternative text, PDF/UA-1."""

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from probe.atomic_files import write_whole
from probe.errors import UserError, first_line
from probe.exhibits.drawings import Drawings
from probe.exhibits.exhibits import Exhibit, Table
from probe.exhibits.result import Number
from probe.exhibits.tabular import format_cell
from probe.exhibits.wording import listed
from probe.paths import REPORTS
from probe.reporting.document import Report, Section, format_fact, headline_numbers
from probe.reporting.failures import failure_gallery

ROWS = 40  # rows of a table in the PDF
_DENSE = 8  # columns from which a table is set smaller
_CELL = 160  # characters of a cell
_LINES = 4  # about as many has a sentence in a table with many columns
_SHORT = 9  # characters of a cell that has one line


def write_pdf(path: Path, report: Report, *, drawings: Path | None = None) -> list[str]:
    """Write the PDF atomically; returns warnings.

    It has the sections of the HTML page, with all tables cut after 40 rows. Characters that no font can show are
    replaced by boxes, and a warning counts the texts in which they occur.
    drawings: folder in which drawn figures are stored (`Drawings`).
    Raises UserError if typst is not installed or cannot set the document, OSError if the file cannot be written.
    """
    try:
        import typst
    except ImportError:
        raise UserError("the PDF report needs the package typst: pip install typst") from None
    from probe.exhibits.static.theme import font_folder

    with tempfile.TemporaryDirectory(prefix="probe-pdf-") as name:
        folder = Path(name)
        fonts = _Printable()
        with Drawings(drawings) as drawn:
            content = fonts.replaced(_content(report, folder, drawn))
        (folder / "report.json").write_text(json.dumps(content), encoding="utf-8")
        shutil.copyfile(REPORTS / "templates" / "report.typ", folder / "report.typ")
        try:
            document = typst.compile(
                str(folder / "report.typ"),
                root=str(folder),
                font_paths=[str(font_folder())],
                pdf_standards=["ua-1"],
                timestamp=_timestamp(report),
            )
        except typst.TypstError as error:
            raise UserError(f"the PDF could not be typeset: {first_line(error)}") from None
    write_whole(path, document)
    return fonts.warnings()


class _Printable:
    """Replaces characters that no installed font can show, and remembers the texts."""

    def __init__(self) -> None:
        from probe.exhibits.static.theme import printable

        self._printable = printable
        self.affected: set[str] = set()

    def replaced(self, value: Any) -> Any:
        """`value` with all texts in its lists and dictionaries replaced."""
        if isinstance(value, str):
            text = self._printable(value.encode("utf-8", "replace").decode())
            if "□" in text and "□" not in value:
                self.affected.add(value)
            return text
        if isinstance(value, dict):
            return {key: self.replaced(part) for key, part in value.items()}
        if isinstance(value, list):
            return [self.replaced(part) for part in value]
        return value

    def warnings(self) -> list[str]:
        """What to say of the characters that were replaced."""
        if not self.affected:
            return []
        texts = "1 text holds" if len(self.affected) == 1 else f"{len(self.affected)} texts hold"
        return [
            f"PDF: {texts} characters that no installed font can show; they appear as □ "
            f"(install a font that has them, such as Noto Sans CJK)"
        ]


def _timestamp(report: Report) -> int:
    started = str(report.provenance.get("started", ""))
    try:
        return int(datetime.fromisoformat(started).timestamp())
    except ValueError:
        return 0


def _content(report: Report, folder: Path, drawings: Drawings) -> dict[str, Any]:
    """The contents of the report as texts, with its figures as files in `folder`."""
    sections = []
    gallery = failure_gallery(report)
    failures = []
    for number, section in enumerate(report.sections, start=1):
        figures = []
        for i, exhibit in enumerate(section.result.exhibits if section.result else [], start=1):
            figure = _figure(exhibit, folder / f"{number}-{i}", drawings)
            if gallery is not None and gallery.shows(exhibit):
                failures.append(figure | {"section": section.title})
                figure = {"title": exhibit.title, "in_gallery": True}
            figures.append(figure)
        sections.append(_section(section, figures))
    return {
        "title": report.title,
        "model_name": str(report.model.get("name", "")),
        "models": listed([name for name in (report.model.get("name"), *_compared(report)) if name]),
        "data_name": str(report.data.get("name", "")),
        "images": format_fact(report.data.get("images")) if report.data.get("images") else "",
        "started": str(report.provenance.get("started", ""))[:16].replace("T", " "),
        "headlines": [
            _number(key, number, section.title) for section, key, number in headline_numbers(report)
        ],
        "problems": [{"section": s.title, "text": s.problem} for s in report.sections if s.problem],
        "warnings": [
            {"section": s.title, "text": text}
            for s in report.sections
            if s.result
            for text in s.result.warnings
        ],
        "model": list(_facts(report.model)),
        "data": list(_facts(report.data)),
        "sections": sections,
        "gallery": {"figures": failures, "notes": gallery.notes} if gallery is not None else None,
        "provenance": list(_facts(report.provenance)),
    }


def _compared(report: Report) -> list[str]:
    """The names of the further models that were compared."""
    return [str(other.get("name", "")) for other in report.provenance.get("compare_to") or []]


def _section(section: Section, figures: list[dict[str, Any]]) -> dict[str, Any]:
    reused = "reused from an earlier run" if section.reused else ""
    seconds = f"{section.seconds:.1f} s" if section.seconds is not None else ""
    return {
        "title": section.title,
        "question": section.question,
        "source": _source(section.source),
        "problem": section.problem or "",
        "numbers": [_number(key, n) for key, n in section.result.numbers.items()] if section.result else [],
        "warnings": section.result.warnings if section.result else [],
        "figures": figures,
        "parameters": [{"name": k, "value": format_fact(v)} for k, v in section.parameters.items()],
        "time": reused or seconds,
    }


def _number(key: str, number: Number, section: str = "") -> dict[str, str]:
    missing = number.value != number.value
    interval = ""
    if number.low is not None and number.high is not None and not missing:
        interval = f"{number.format_value(number.low)} to {number.format_value(number.high)}"
    return {
        "label": number.label or key,
        "section": section,
        "value": "–" if missing else number.format_value(number.value).replace("-", "−"),
        "interval": interval.replace("-", "−"),
        "n": f"n = {number.n:,}" if number.n is not None else "",
    }


def _figure(exhibit: Exhibit, path: Path, drawings: Drawings) -> dict[str, Any]:
    """A figure with `table`, with `image`, the name of a file as `path` with a suffix, or with `error`."""
    figure: dict[str, Any] = {"title": exhibit.title, "caption": exhibit.caption}
    if isinstance(exhibit, Table):
        return figure | {"table": _table(exhibit)}
    try:
        vector = drawings.vector(exhibit)
        file = path.with_suffix(".jpg" if vector is None else ".svg")
        file.write_bytes(drawings.jpeg(exhibit) if vector is None else vector)
    except ValueError as error:
        return figure | {"error": str(error)}
    return figure | {"image": file.name}


def _table(table: Table) -> dict[str, Any]:
    rows = [
        [
            _cut(format_cell(cell, table.formats.get(column, "")))
            for column, cell in zip(table.columns, row, strict=True)
        ]
        for row in table.rows[:ROWS]
    ]
    columns = [[row[j] for row in table.rows if row[j] is not None] for j in range(len(table.columns))]
    numeric = [bool(cells) and not any(isinstance(c, str | bool) for c in cells) for cells in columns]
    more = f"The first {ROWS} of {len(table.rows):,} rows; all of them are in the CSV of the run directory."
    return {
        "columns": [_cut(column) for column in table.columns],
        "numeric": numeric,
        "rows": rows,
        "note": more if len(table.rows) > ROWS else "",
        "widths": [_column_width(column, [row[j] for row in rows]) for j, column in enumerate(table.columns)]
        if len(table.columns) >= _DENSE
        else [],
    }


def _column_width(name: str, cells: list[str]) -> int:
    """What a column of a table with many columns gets of its width, in characters: neither a word nor a short cell is wrapped."""
    words = [part for text in (name, *cells) for part in text.split()]
    whole = [cell for cell in cells if len(cell) <= _SHORT]
    return (
        max(len(text) for text in [*words, *whole, ""]) + 3 + max(map(len, cells), default=0) // (3 * _LINES)
    )


def _cut(text: str) -> str:
    return text if len(text) <= _CELL else text[: _CELL - 1] + "…"


_ARXIV = re.compile(r"arXiv[:\s]\s*(\d{4}\.\d{4,5})", re.IGNORECASE)


def _source(source: str) -> list[dict[str, str]]:
    """A source in parts, those with an arXiv number linked."""
    parts, end = [], 0
    for match in _ARXIV.finditer(source):
        parts.append({"text": source[end : match.start()], "link": ""})
        parts.append({"text": f"arXiv\u00a0{match[1]}", "link": f"https://arxiv.org/abs/{match[1]}"})
        end = match.end()
    return [part for part in [*parts, {"text": source[end:], "link": ""}] if part["text"]]


def _facts(values: dict[str, Any], prefix: str = "") -> Iterator[dict[str, str]]:
    """Facts by name, groups flattened, without those that are empty."""
    for name, value in values.items():
        label = f"{prefix}{name.replace('_', ' ')}"
        if value is None or value in ("", [], {}):
            continue
        if isinstance(value, dict) and not prefix:
            yield from _facts(value, f"{label}: ")
        elif isinstance(value, list) and all(isinstance(part, dict) for part in value):
            yield {"name": label, "value": "; ".join(format_fact(part) for part in value)}
        else:
            yield {"name": label, "value": format_fact(value)}
