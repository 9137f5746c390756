"""The registry of analyses, which reads the files in the rooms of this folder and imports an analysis when it is requested."""

from pathlib import Path
from typing import TYPE_CHECKING

from probe.registry import Entry, Registry

if TYPE_CHECKING:
    from probe.analyses.analysis import Analysis

ANALYSES: "Registry[Analysis]" = Registry(
    "analysis", Path(__file__).parent, pattern="*/*.py", hint="`probe list analyses` lists them."
)


def catalogue() -> dict[str, Entry]:
    """Every analysis by its name, in alphabetical order."""
    return ANALYSES.catalogue


def find(name: str) -> "type[Analysis]":
    """The analysis called `name`; raises UserError, with the nearest names, if there is none."""
    return ANALYSES.find(name)
