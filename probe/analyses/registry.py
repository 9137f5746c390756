"""The analyses, found by reading the files in the rooms of this folder; nothing is imported until one is requested."""

import ast
import importlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from probe.errors import unknown

if TYPE_CHECKING:
    from probe.analyses.analysis import Analysis


_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Entry:
    """An analysis by what its source says: enough for `probe list` and for the nearest name."""

    name: str
    title: str
    question: str
    module: str
    attribute: str


@cache
def catalogue() -> dict[str, Entry]:
    """Every analysis by its name, in alphabetical order."""
    entries = [entry for path in _FOLDER.glob("*/*.py") for entry in _read(path)]
    return {entry.name: entry for entry in sorted(entries, key=lambda entry: entry.name)}


def find(name: str) -> "type[Analysis]":
    """The analysis called `name`; a UserError with the nearest names where there is none."""
    entry = catalogue().get(name)
    if entry is None:
        raise unknown("analysis", name, catalogue(), hint="`probe list analyses` lists them.")
    return getattr(importlib.import_module(entry.module), entry.attribute)


def _read(path: Path) -> list[Entry]:
    """The classes of a file that subclass Analysis and say their name."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    entries = []
    for node in tree.body:
        if not isinstance(node, ast.ClassDef) or "Analysis" not in {ast.unparse(base) for base in node.bases}:
            continue
        said = dict(constant for statement in node.body for constant in _constants(statement))
        if said.get("name"):
            question = (ast.get_docstring(node) or "").split("\n")[0]
            module = f"probe.analyses.{path.parent.name}.{path.stem}"
            entries.append(Entry(str(said["name"]), str(said.get("title", "")), question, module, node.name))
    return entries


def _constants(statement: ast.stmt) -> list[tuple[str, object]]:
    """The names that `name = "fgsm"` or `name: ClassVar[str] = "fgsm"` sets to a constant, with it."""
    if isinstance(statement, ast.Assign):
        targets, value = statement.targets, statement.value
    elif isinstance(statement, ast.AnnAssign):
        targets, value = [statement.target], statement.value
    else:
        return []
    if not isinstance(value, ast.Constant):
        return []
    return [(target.id, value.value) for target in targets if isinstance(target, ast.Name)]
