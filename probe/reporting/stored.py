"""The contents of a report in its run directory, from which the page and the PDF are written again."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from probe.errors import UserError
from probe.regular_files import read_text
from probe.reporting.document import Report, Section
from probe.runs.store import RunDirectory

FILE = "report.json"
DAMAGED = "Its result is missing or damaged: repeat the command of the report to compute it again."


class _StoredSection(BaseModel):
    """A Section without its result, which lies in the folder `anchor`."""

    model_config = ConfigDict(extra="forbid")

    anchor: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=100)
    title: str
    source: str
    question: str
    parameters: dict[str, Any]
    error: str | None
    finished: bool
    reused: bool
    seconds: float | None
    failures: str = ""


class _StoredReport(BaseModel):
    """A Report. version: of this format."""

    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = 1
    title: str
    model: dict[str, Any]
    data: dict[str, Any]
    headlines: list[tuple[str, str]]
    provenance: dict[str, Any]
    sections: list[_StoredSection]


def store_report(directory: RunDirectory, report: Report) -> None:
    """Write report.json: the report without its results, which the directory holds."""
    sections = [
        _StoredSection(
            anchor=section.anchor,
            title=section.title,
            source=section.source,
            question=section.question,
            parameters=section.parameters,
            error=section.error,
            finished=section.result is not None and not section.partial,
            reused=section.reused,
            seconds=section.seconds,
            failures=section.failures,
        )
        for section in report.sections
    ]
    stored = _StoredReport(
        title=report.title,
        model=report.model,
        data=report.data,
        headlines=report.headlines,
        provenance=report.provenance,
        sections=sections,
    )
    directory.record(stored.model_dump(mode="json"), FILE)


def read_report(path: Path) -> Report:
    """The report of a run directory with its results.

    A result that is missing or damaged is an error in its section. Raises UserError if `path` is no run directory, or
    one of another version.
    """
    try:
        content = read_text(path / FILE, what="the contents of a report")
    except OSError:
        raise UserError(f"{path} is not the run directory of a report: it has no {FILE}") from None
    try:
        stored = _StoredReport.model_validate_json(content)
    except ValidationError:
        raise UserError(
            f"{path / FILE} is damaged or was written by another version of probe: "
            "repeat the command of the report to write it again"
        ) from None
    return Report(
        title=stored.title,
        model=stored.model,
        data=stored.data,
        headlines=stored.headlines,
        provenance=stored.provenance,
        sections=[_section(RunDirectory(path), section) for section in stored.sections],
    )


def _section(directory: RunDirectory, stored: _StoredSection) -> Section:
    result = directory.read(stored.anchor) if stored.finished else None
    missing = stored.finished and result is None
    return Section(
        anchor=stored.anchor,
        title=stored.title,
        source=stored.source,
        question=stored.question,
        parameters=stored.parameters,
        result=result,
        error=DAMAGED if missing else stored.error,
        reused=stored.reused,
        seconds=stored.seconds,
        failures=stored.failures,
    )
