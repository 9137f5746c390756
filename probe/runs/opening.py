"""Open a run directory: the results that a report or an analysis has stored there."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from probe.errors import UserError, first_line, unknown
from probe.exhibits.result import Result
from probe.exhibits.wording import counted
from probe.regular_files import TEXT_LIMIT, read_bytes, user_path
from probe.runs.store import DATA, FACTS, FORMAT, KEY, RunDirectory


class Run(Mapping[str, Result]):
    """The results of a run directory by the name of their analysis.

    path: the directory. facts: its run.json, with the command, model, data, seed, versions and seconds. damaged: the names
    of results that were changed or damaged since they were written.
    """

    def __init__(
        self, path: Path, results: dict[str, Result], facts: dict[str, Any], damaged: list[str]
    ) -> None:
        self.path, self.facts, self.damaged = path, facts, damaged
        self._results = results

    def __getitem__(self, name: str) -> Result:
        """The result of an analysis; UserError, with the nearest names, if there is none."""
        if name not in self._results:
            if name in self.damaged:
                raise UserError(
                    f"{name} of {self.path} is damaged: repeat the command of the run to compute it again"
                )
            raise unknown(f"result in {self.path}", name, self._results)
        return self._results[name]

    def __contains__(self, name: object) -> bool:
        return name in self._results

    def __iter__(self) -> Iterator[str]:
        return iter(self._results)

    def __len__(self) -> int:
        return len(self._results)

    def __repr__(self) -> str:
        names = ", ".join(self._results)
        damaged = f"; damaged: {', '.join(self.damaged)}" if self.damaged else ""
        return f"Run({str(self.path)!r}, {counted(len(self), 'result')}: {names}{damaged})"

    def _ipython_key_completions_(self) -> list[str]:
        return list(self._results)


def open_run(path: str | Path) -> Run:
    """Open the run directory `path`, or that of a page in it, such as the one that `report` returns.

        run = probe.open_run("runs/report-vgg-shapes-shapes-test-1a2b3c4d")
        run["classify"]["Confusion matrix"]

    An interrupted run contains the results that were finished.
    Raises UserError if there is none, or if it was written by another version of probe in another format.
    """
    folder = user_path(path)
    if folder.is_file():
        folder = folder.parent
    if not folder.is_dir():
        raise UserError(f"there is no run directory {folder}")
    facts = _facts(folder)
    stored = facts.get("format", FORMAT)
    if stored != FORMAT:
        version = facts.get("versions", {}).get("probe", "another version")
        raise UserError(
            f"{folder} was written by probe {version} in format {stored}, this version reads format {FORMAT}: run its "
            f"command again ({facts.get('command', 'see run.json')})"
        )
    results: dict[str, Result] = {}
    damaged: list[str] = []
    directory = RunDirectory(folder)
    order = [entry.get("name", "") for entry in facts.get("analyses", []) if isinstance(entry, dict)]
    parts = sorted(part for part in folder.iterdir() if part.is_dir() and (part / KEY).is_file())
    for part in sorted(parts, key=lambda part: order.index(part.name) if part.name in order else len(order)):
        result = directory.read(part.name)
        if result is None:
            damaged.append(part.name)
        else:
            results[part.name] = result
    if not results and not damaged:
        if (folder / DATA[0]).is_file():
            raise UserError(f"{folder} contains a single result: open it with probe.Result.load")
        raise UserError(
            f"{folder} contains no results of probe: a run directory has a folder for each analysis, with {DATA[0]}"
        )
    return Run(folder, results, facts, damaged)


def _facts(folder: Path) -> dict[str, Any]:
    """The contents of run.json; empty for a run that was killed before it wrote it."""
    try:
        facts = json.loads(read_bytes(folder / FACTS, limit=TEXT_LIMIT))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"{folder / FACTS} cannot be read: {first_line(error)}") from None
    if not isinstance(facts, dict):
        raise UserError(f"{folder / FACTS} is not a record of a run")
    return facts
