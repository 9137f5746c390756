"""The failure gallery of a report: images on which the network fails, gathered from the results of its analyses."""

from dataclasses import dataclass

from probe.exhibits.exhibits import Exhibit, ImageGrid
from probe.reporting.document import Report


@dataclass(frozen=True)
class FailureGallery:
    """exhibits: which ones of the report it shows, in their order. notes: the analyses that have none to show."""

    exhibits: list[Exhibit]
    notes: list[str]

    def shows(self, exhibit: Exhibit) -> bool:
        """Whether it shows this exhibit, which then is not shown in the section of its analysis."""
        return any(exhibit is shown for shown in self.exhibits)


def failure_gallery(report: Report) -> FailureGallery | None:
    """The failure gallery of a report of several analyses; None where none of them looks for failures.

    A report of a single analysis shows everything in the section of that analysis.
    """
    if len(report.sections) < 2:
        return None
    exhibits: list[Exhibit] = []
    notes = []
    for section in report.sections:
        shown = [e for e in (section.result or ()) if isinstance(e, ImageGrid) and e.failures]
        exhibits += shown
        if section.failures and section.result is None:
            notes.append(f"{section.title} has no result, so its {section.failures} are missing here.")
        elif section.failures and not shown:
            unlabelled = " (the images have no labels)" if report.data.get("annotations") == "none" else ""
            notes.append(f"{section.title} shows no {section.failures}{unlabelled}.")
    return FailureGallery(exhibits, notes) if exhibits or notes else None
