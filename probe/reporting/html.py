"""Render a report as one self-contained HTML page, which loads nothing from other files or servers."""

import base64
import hashlib
import re
from pathlib import Path

from markupsafe import Markup, escape

from probe.atomic_files import write_whole
from probe.exhibits.exhibits import Exhibit
from probe.exhibits.figures import FIGURE_COLOURS, FigureView, template_environment
from probe.exhibits.inline import encode_within
from probe.exhibits.storage import file_names, slug
from probe.paths import REPORTS
from probe.reporting.document import Report, Section, format_fact, headline_numbers
from probe.reporting.explore import explorable

LIMIT = 10_000_000  # bytes of a page: larger ones open slowly or not at all
ROWS = 300  # rows of a table in the page
_SCROLL_ROWS, _PRINT_ROWS = 26, 40  # rows from which a table scrolls, and rows that are printed
_TILES = 8  # numbers of an analysis that are shown without unfolding


def write_html(path: Path, report: Report, *, limit: int = LIMIT) -> None:
    """Write the page atomically.

    limit: bytes; if lossless images would exceed it, the largest are compressed and the page has a note. An exhibit
    that cannot be drawn is replaced by the reason. Raises OSError if the page cannot be written.
    """
    write_whole(path, render(report, limit=limit).encode("utf-8", "replace"))


def render(report: Report, *, limit: int = LIMIT) -> str:
    """The page as text."""
    sections = [_SectionView(section, number) for number, section in enumerate(report.sections, start=1)]
    figures = [figure for section in sections for figure in section.figures]
    text_only = len(_page(report, sections, reduced=0, limit=limit).encode("utf-8", "replace"))
    drawings = [drawing for figure in figures for drawing in figure.drawings]
    alt = sum(6 * len(figure.exhibit.title + figure.exhibit.caption) + 600 for figure in figures)
    inline = iter(encode_within(drawings, limit - text_only - alt))
    for figure in figures:
        figure.images = [next(inline) for _ in figure.drawings]
    reduced = sum(any(image.lossy for image in figure.images) for figure in figures)
    return _page(report, sections, reduced=reduced, limit=limit)


class _Figure(FigureView):
    """A figure with what the script of the page needs to explore it, as JSON; empty if nothing."""

    def __init__(self, exhibit: Exhibit, number: str, anchor: str) -> None:
        super().__init__(exhibit, number, anchor)
        self.explorable = "" if self.error else explorable(exhibit)


class _SectionView:
    """A section as the template needs it."""

    def __init__(self, section: Section, number: int) -> None:
        self.section, self.number = section, number
        self.anchor = slug(section.anchor)
        exhibits = section.result.exhibits if section.result else []
        names = file_names(section.result) if section.result else []
        self.figures = [
            _Figure(exhibit, f"{number}.{i}", f"{self.anchor}-{name}")
            for i, (exhibit, name) in enumerate(zip(exhibits, names, strict=True), start=1)
        ]
        self.problem = section.problem


def _page(report: Report, sections: list[_SectionView], *, reduced: int, limit: int) -> str:
    environment = template_environment()
    environment.filters.update(linked=link_arxiv, fact=format_fact)
    templates = REPORTS / "templates"
    script = "".join((templates / name).read_text(encoding="utf-8") for name in ("report.js", "explore.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    views = {view.section.anchor: view for view in sections}
    headlines = [(views[section.anchor], key, number) for section, key, number in headline_numbers(report)]
    return environment.get_template("report.html.j2").render(
        report=report,
        sections=sections,
        headlines=headlines,
        warnings=[
            (view, warning)
            for view in sections
            if view.section.result
            for warning in view.section.result.warnings
        ],
        problems=_problems(sections),
        style=Markup((templates / "report.css").read_text(encoding="utf-8") + FIGURE_COLOURS),
        script=Markup(script),
        script_digest=digest,
        reduced=reduced,
        limit=f"{limit / 1e6:g} MB",
        rows=ROWS,
        sortable=True,
        window=_SCROLL_ROWS,
        printed=_PRINT_ROWS,
        tiles=_TILES,
    )


def _problems(sections: list[_SectionView]) -> list[tuple[list[_SectionView], str]]:
    """Why sections have no result: each reason once, with all of its sections."""
    reasons: dict[str, list[_SectionView]] = {}
    for view in sections:
        if view.problem:
            reasons.setdefault(view.problem, []).append(view)
    return [(views, problem) for problem, views in reasons.items()]


_ARXIV = re.compile(r"arXiv[:\s]\s*(\d{4}\.\d{4,5})", re.IGNORECASE)


def link_arxiv(source: str) -> Markup:
    """A source with its arXiv numbers as links; everything else is escaped."""
    parts, end = [], 0
    for match in _ARXIV.finditer(source):
        parts.append(escape(source[end : match.start()]))
        parts.append(
            Markup('<a href="https://arxiv.org/abs/{0}" rel="noreferrer">arXiv&nbsp;{0}</a>').format(match[1])
        )
        end = match.end()
    return Markup("").join([*parts, escape(source[end:])])
