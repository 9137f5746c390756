"""Reports whose texts are hostile, and pages as a parser reads them."""

from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

from probe.exhibits.result import Result
from probe.reporting.document import Report, Section
from tests.exhibits.examples import NASTY, exhibits, result


def report(**changed: Any) -> Report:
    sections = [
        Section(
            anchor="classify",
            title=f"Accuracy {NASTY}",
            source="Guo et al. 2017, arXiv 1706.04599",
            question="How often is the network right?",
            parameters={"bins": 15, NASTY: NASTY},
            result=result(),
            seconds=1.25,
        ),
        Section(
            anchor="broken", title="Broken", source="", question="", parameters={}, error=f"It broke: {NASTY}"
        ),
        Section(anchor="cut", title="Cut short", source="", question="", parameters={}),
    ]
    model = {
        "name": NASTY,
        "classes": [NASTY, "b"] * 12,
        "input": {"shape": [3, 32, 32], "preprocess": NASTY},
        "limits": [],
    }
    default = Report(
        title=f"A look at {NASTY}",
        model=model,
        data={"name": NASTY, "images": 12_345, "notes": [NASTY]},
        sections=sections,
        provenance={"command": f"probe report {NASTY}", "analyses": [{"name": NASTY}], "seed": 0},
    )
    return replace(default, **changed)


def small(**changed: Any) -> Report:
    """A report with one table, which needs no drawing."""
    table = exhibits()[6]
    section = replace(report().sections[0], result=Result(exhibits=[table], numbers=result().numbers))
    return report(sections=[section], **changed)


class Page(HTMLParser):
    """The tags of a page, and its text outside of style and script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._silent = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._silent += tag in ("style", "script")

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in ("style", "script")

    def handle_data(self, data: str) -> None:
        self.text += "" if self._silent else data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]
