"""Recipes: TOML files with a title and a list of analyses with parameters."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from probe.analyses.analysis import Analysis
from probe.errors import UserError, unknown
from probe.paths import REPORTS
from probe.regular_files import read_text, read_toml, user_path
from probe.runs.execute import make_analysis


@dataclass(frozen=True)
class Recipe:
    """The analyses of a report, in order. strict: raise the UserError of one that cannot run, instead of skipping it."""

    title: str
    analyses: tuple[Analysis, ...]
    strict: bool = False


def recipes() -> dict[str, Path]:
    """The recipes that are installed with probe, by name."""
    return {path.stem: path for path in sorted((REPORTS / "recipes").glob("*.toml"))}


def read_recipe(recipe: str | Path) -> Recipe:
    """Read a recipe by its name or from a TOML file; every analysis and parameter is validated here.

    Raises UserError, with the position in the file, for what is invalid.
    """
    path = recipes().get(str(recipe)) or user_path(recipe)
    try:
        content = read_toml(path, what="a recipe")
    except FileNotFoundError:
        hint = "A recipe may also be the path of a TOML file."
        raise unknown("recipe", str(recipe), recipes(), hint=hint) from None
    extra = set(content) - {"title", "analysis"}
    if extra:
        raise UserError(
            f"{path}: a recipe has a title and [[analysis]] tables, not {', '.join(sorted(extra))}"
        )
    steps = content.get("analysis", [])
    if not isinstance(steps, list) or not steps:
        raise UserError(f"{path} lists no [[analysis]]")
    return Recipe(
        str(content.get("title", path.stem)), tuple(_step(path, n, s) for n, s in enumerate(steps, 1))
    )


def _step(path: Path, number: int, step: Any) -> Analysis:
    if not isinstance(step, dict) or not isinstance(step.get("name"), str):
        raise UserError(f"{path}{_line(path, number, {})}: analysis {number} has no name")
    parameters = {key: value for key, value in step.items() if key != "name"}
    try:
        return make_analysis(step["name"], **parameters)
    except UserError as error:
        line = _line(path, number, step, str(error))
        raise UserError(f"{path}{line}, analysis {number} ({step['name']}): {error}") from None


_TABLE = re.compile(r"\s*\[\[\s*analysis\s*\]\]")


def _line(path: Path, number: int, step: dict[str, Any], message: str = "") -> str:
    """Where a message about an analysis points to: ", line 5", that of the parameter which it names, or of the table.

    Empty where the file writes its tables in another form than [[analysis]].
    """
    lines = read_text(path, what="a recipe").splitlines()
    starts = [k for k, line in enumerate(lines) if _TABLE.match(line)]
    if len(starts) < number:
        return ""
    start, end = starts[number - 1], [*starts, len(lines)][number]
    named = [key for key in step if re.search(rf"(?<!\w){re.escape(key)}(?!\w)", message)] or ["name"]
    for k in range(start, end):
        if re.match(rf"\s*{re.escape(named[0])}\s*=", lines[k]):
            return f", line {k + 1}"
    return f", line {start + 1}"
