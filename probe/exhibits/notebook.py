"""Results and exhibits as a notebook shows them: one piece of HTML with its pictures and its style."""

import hashlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from probe.exhibits import palette
from probe.exhibits.drawings import Drawings
from probe.exhibits.exhibits import Exhibit
from probe.exhibits.figures import FigureView, template_environment
from probe.exhibits.inline import fit_to_budget
from probe.paths import REPORTS
from probe.terminal import in_notebook, print_line

if TYPE_CHECKING:
    from probe.exhibits.result import Result

_LIMIT = 4_000_000  # bytes of the images of one output: they are stored in the notebook
_ROWS = 20  # rows of a table
_TILES = 8  # numbers that are shown without unfolding
# Where the page says that it is dark: JupyterLab, VS Code, Colab, Sphinx with the theme of PyData.
# The system's setting says nothing about it.
_DARK = (
    '[data-jp-theme-light="false"]',
    "body.vscode-dark",
    'html[theme="dark"]',
    'html[data-theme="dark"]',
)


def result_html(result: "Result") -> str:
    """A result: its numbers, warnings, and exhibits with captions."""
    return _html(result, result.exhibits)


def exhibit_html(exhibit: Exhibit) -> str:
    """One exhibit with its caption."""
    return _html(None, [exhibit])


def show(value: Any, text: str) -> None:
    """Display `value` in a notebook; elsewhere print `text`."""
    if in_notebook():
        from IPython.display import display

        display(value)
        return
    for line in text.splitlines():
        print_line(line, sys.stdout)


def _html(result: "Result | None", exhibits: Sequence[Exhibit]) -> str:
    with Drawings() as drawings:
        figures = [FigureView(exhibit, "", _anchor(exhibit), drawings) for exhibit in exhibits]
    inline = iter(fit_to_budget([image.result() for figure in figures for image in figure.pending], _LIMIT))
    for figure in figures:
        images = [next(inline) for _ in figure.pending]
        figure.place(images, [image.uri for image in images])
    return (
        template_environment()
        .get_template("notebook.html.j2")
        .render(
            result=result,
            figures=figures,
            style=Markup(_style()),
            sortable=False,
            files=False,
            rows=_ROWS,
            window=_ROWS,
            printed=_ROWS,
            tiles=_TILES,
        )
    )


def _anchor(exhibit: Exhibit) -> str:
    """The start of the ids of its parts: outputs of one notebook share a page."""
    identity = hashlib.sha256(f"{exhibit.title} {exhibit.caption}".encode("utf-8", "replace"))
    return f"probe-{identity.hexdigest()[:10]}"


def _style() -> str:
    """The style of the output, with the colours of its figures; dark where the notebook is."""
    text = (REPORTS / "templates" / "notebook.css").read_text(encoding="utf-8")
    night = text[text.index("/* dark */") :].replace("/* dark */", "").strip()
    selectors = ", ".join(f"{where} .probe" for where in _DARK)
    return text[: text.index("/* dark */")] + f"{selectors} {{ {night} {palette.css('dark')} }}"
