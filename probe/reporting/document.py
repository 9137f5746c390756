"""The contents of a report, which the HTML page and the PDF show."""

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from probe.exhibits.result import Number, Result

INTERRUPTED = "This analysis was interrupted. Run the same command again to continue it."
NOT_RUN = "Not run, because the report was stopped earlier. Run the same command again to continue it."

_HEADLINES = 20  # numbers at the top of a report


@dataclass(frozen=True, kw_only=True)
class Section:
    """One analysis of a report.

    anchor: its address in the page, unique. error: why there is no result; with neither a result nor an error, the
    analysis was interrupted. partial: the result is what there was when it was interrupted, and is not stored. reused:
    the result was loaded from an earlier run. seconds: its running time. failures: what failures of the network the
    analysis looks for; empty if it looks for none.
    """

    anchor: str
    title: str
    source: str
    question: str
    parameters: dict[str, Any]
    result: Result | None = None
    error: str | None = None
    reused: bool = False
    seconds: float | None = None
    partial: bool = False
    failures: str = ""

    @property
    def problem(self) -> str | None:
        """Why there is no result."""
        if self.result is not None:
            return None
        return self.error or INTERRUPTED


@dataclass(frozen=True, kw_only=True)
class Report:
    """The contents of a report. model, data, provenance: facts by name, nested where needed.

    headlines: (anchor, key of a number) of the numbers at the top, where `*` stands for the rest of a key; if empty,
    the first number of each section. links: the names and relative addresses of other reports.
    """

    title: str
    model: dict[str, Any]
    data: dict[str, Any]
    sections: list[Section]
    provenance: dict[str, Any]
    headlines: list[tuple[str, str]] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)


def headline_numbers(report: Report) -> list[tuple[Section, str, Number]]:
    """The numbers at the top of a report, each with its section and its key."""
    finished = {section.anchor: section for section in report.sections if section.result}
    named = report.headlines or [
        (anchor, next(iter(section.result.numbers)))
        for anchor, section in finished.items()
        if section.result and section.result.numbers
    ]
    numbers = []
    for anchor, key in named:
        section = finished.get(anchor)
        if section and section.result:
            of_section = section.result.numbers
            matching = [key] if key in of_section else [name for name in of_section if fnmatchcase(name, key)]
            numbers += [(section, name, of_section[name]) for name in matching]
    return numbers[:_HEADLINES]


def format_fact(value: Any) -> str:
    """A fact as text: digits grouped, lists and nested facts in one line, missing values as a dash."""
    if value is None or value == "" or value == [] or value == {}:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        levels = round(value * 255)
        grey = 0 < levels < 255 and value == levels / 255 and len(f"{value:.6g}") > 6
        return f"{levels}/255" if grey else f"{value:.4g}"
    if isinstance(value, dict):
        if len(value) > 1 and isinstance(value.get("name"), str):
            rest = {name: part for name, part in value.items() if name != "name"}
            return f"{value['name']}: {format_fact(rest)}"
        return ", ".join(f"{name} {format_fact(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        if all(isinstance(part, int) for part in value) and 2 <= len(value) <= 4:
            return " × ".join(map(str, value))
        return ", ".join(map(format_fact, value[:40])) + (
            f" and {len(value) - 40} more" if len(value) > 40 else ""
        )
    return str(value)
