"""Render a report as an HTML page that loads nothing from servers: one file, or one with a folder of files beside it."""

import base64
import hashlib
import itertools
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from markupsafe import Markup, escape

from probe.atomic_files import write_whole
from probe.exhibits.drawings import Drawings
from probe.exhibits.exhibits import Exhibit
from probe.exhibits.figures import FIGURE_COLOURS, FigureView, template_environment
from probe.exhibits.inline import Inline, fit_to_budget
from probe.exhibits.storage import file_names, slug
from probe.exhibits.tabular import csv_text
from probe.exhibits.vector import without_inline_parts
from probe.paths import REPORTS
from probe.reporting.document import Report, Section, format_fact, headline_numbers
from probe.reporting.explore import explorable
from probe.reporting.failures import FailureGallery, failure_gallery

LIMIT = 10_000_000  # bytes of a page: larger ones open slowly or not at all
ROWS = 300  # rows of a table in the page
_SCROLL_ROWS, _PRINT_ROWS = 26, 40  # rows from which a table scrolls, and rows that are printed
_TILES = 8  # numbers of an analysis that are shown without unfolding


Assets = Literal["inline", "folder"]


def write_html(
    path: Path,
    report: Report,
    *,
    limit: int = LIMIT,
    assets: Assets = "inline",
    drawings: Path | None = None,
) -> None:
    """Write the page atomically.

    assets: "inline" for a page of one file; if lossless images would exceed `limit` bytes, the largest are compressed and
    the page has a note. "folder" for a page with its images, style, script and data as files in a folder beside it
    (report_files of report.html), all images without loss, which needs no more of a server's content policy than files
    of its own. drawings: folder that keeps figures as they are drawn (`Drawings`). An exhibit that cannot be drawn is
    replaced by the reason. Raises OSError if the page cannot be written.
    """
    files = Files(f"{path.stem}_files") if assets == "folder" else None
    text = render(report, limit=limit, files=files, drawings=drawings)
    if files is not None:
        files.write(path.parent)
    write_whole(path, text.encode("utf-8", "replace"))


class Files:
    """The files of a page that lie in a folder beside it. folder: its name."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.contents: dict[str, bytes] = {}

    def place(self, name: str, content: bytes) -> str:
        """Add a file; returns its address as the page has it."""
        self.contents[name] = content
        return f"{quote(self.folder)}/{name}"

    def write(self, parent: Path) -> None:
        """Write all files, each atomically, into the folder in `parent`; others that lie there stay."""
        folder = parent / self.folder
        folder.mkdir(exist_ok=True)
        for name, content in self.contents.items():
            write_whole(folder / name, content)


def render(
    report: Report, *, limit: int = LIMIT, files: Files | None = None, drawings: Path | None = None
) -> str:
    """The page as text; what lies beside it is put into `files`, if there are any."""
    gallery = failure_gallery(report)
    with Drawings(drawings, drafts=files is None) as drawn:
        sections = [
            _SectionView(section, number, gallery, _Setting(drawn, files))
            for number, section in enumerate(report.sections, start=1)
        ]
    figures = [figure for section in sections for figure in section.figures]
    page = partial(_page, report, sections, gallery, limit=limit, files=files)
    if files is not None:
        for figure in figures:
            images = [image.result() for image in figure.pending]
            names = ("",) if len(images) < 2 else ("-light", "-dark")
            figure.place(
                images, [figure.put(image, name) for image, name in zip(images, names, strict=False)]
            )
        return page(reduced=0)
    text_only = len(page(reduced=0).encode("utf-8", "replace"))
    alt = sum(6 * len(figure.exhibit.title + figure.exhibit.caption) + 600 for figure in figures)
    lossless = [image.result() for figure in figures for image in figure.pending]
    inline = iter(fit_to_budget(lossless, limit - text_only - alt, drawn.refined))
    for figure in figures:
        images = [next(inline) for _ in figure.pending]
        figure.place(images, [image.uri for image in images])
    return page(reduced=sum(any(image.lossy for image in figure.images) for figure in figures))


@dataclass(frozen=True)
class _Setting:
    """With what figures are drawn, and where their parts are put."""

    drawings: Drawings
    files: Files | None


class _Figure(FigureView):
    """A figure with what the script of the page needs to explore it, as JSON; empty if nothing.

    in_gallery: whether it is shown in the failure gallery instead of the section of its analysis.
    """

    def __init__(self, exhibit: Exhibit, number: str, anchor: str, setting: _Setting) -> None:
        super().__init__(exhibit, number, anchor, setting.drawings)
        self._files = setting.files
        self.in_gallery = False
        self.csv_address = f"data:text/csv;charset=utf-8;base64,{self.csv}" if self.csv else ""
        if self._files is not None:
            self._take_out(self._files)
        place = (
            (lambda image: image.uri) if self._files is None else (lambda image: self.put(image, "-images"))
        )
        self.explorable = "" if self.error else explorable(exhibit, place)

    def put(self, image: Inline, suffix: str) -> str:
        """Put an image into a file, whose name ends with `suffix`; returns its address."""
        assert self._files is not None
        return self._files.place(f"{self.anchor}{suffix}.{image.kind}", image.data)

    def _take_out(self, files: Files) -> None:
        """Put the images of a vector figure and the CSV into files."""
        count = itertools.count()
        self.vector = Markup(
            without_inline_parts(
                self.vector, lambda data: files.place(f"{self.anchor}-part-{next(count)}.png", data)
            )
        )
        text = csv_text(self.exhibit)
        if text is not None:
            self.csv_address = files.place(f"{self.anchor}.csv", text.encode("utf-8", "replace"))
            self.heavy_csv = False


class _SectionView:
    """A section as the template needs it."""

    def __init__(
        self, section: Section, number: int, gallery: FailureGallery | None, setting: _Setting
    ) -> None:
        self.section, self.number = section, number
        self.anchor = slug(section.anchor)
        exhibits = section.result.exhibits if section.result else []
        names = file_names(section.result) if section.result else []
        self.figures = [
            _Figure(exhibit, f"{number}.{i}", f"{self.anchor}-{name}", setting)
            for i, (exhibit, name) in enumerate(zip(exhibits, names, strict=True), start=1)
        ]
        for figure in self.figures:
            figure.in_gallery = gallery is not None and gallery.shows(figure.exhibit)
        self.problem = section.problem


def _page(
    report: Report,
    sections: list[_SectionView],
    gallery: FailureGallery | None,
    *,
    reduced: int,
    limit: int,
    files: Files | None,
) -> str:
    environment = template_environment()
    environment.filters.update(linked=link_arxiv, fact=format_fact)
    templates = REPORTS / "templates"
    script = "".join((templates / name).read_text(encoding="utf-8") for name in ("report.js", "explore.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    style = (templates / "report.css").read_text(encoding="utf-8") + FIGURE_COLOURS
    views = {view.section.anchor: view for view in sections}
    headlines = [(views[section.anchor], key, number) for section, key, number in headline_numbers(report)]
    return environment.get_template("report.html.j2").render(
        report=report,
        sections=sections,
        gallery=gallery,
        headlines=headlines,
        warnings=[
            (view, warning)
            for view in sections
            if view.section.result
            for warning in view.section.result.warnings
        ],
        problems=_problems(sections),
        style=Markup(style),
        script=Markup(script),
        script_digest=digest,
        files=files is not None,
        style_address=files.place("report.css", (style + _widths(sections)).encode()) if files else "",
        script_address=files.place("report.js", script.encode()) if files else "",
        reduced=reduced,
        limit=f"{limit / 1e6:g} MB",
        rows=ROWS,
        sortable=True,
        window=_SCROLL_ROWS,
        printed=_PRINT_ROWS,
        tiles=_TILES,
    )


def _widths(sections: list[_SectionView]) -> str:
    """The style that gives each figure its natural width where attributes may not."""
    return "".join(
        f"#{figure.anchor} .scroll {{ --natural: {figure.width or figure.images[0].width // 2}px; }}\n"
        for view in sections
        for figure in view.figures
        if figure.width or figure.images
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
