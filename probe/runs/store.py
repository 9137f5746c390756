"""Run directories: one folder for each result, and the chunks of unfinished ones; every file is written atomically."""

import json
import pickle
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from probe.exhibits.result import Result
from probe.exhibits.storage import load, save

Arrays = dict[str, np.ndarray]
KEY = "key.txt"


class RunDirectory:
    """The results of a run by name. A folder that has its final name is complete."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    def read(self, name: str, key: str) -> Result | None:
        """The stored result `name`; None if there is none, it is damaged, or it was stored under another key."""
        folder = self.path / name
        try:
            if (folder / KEY).read_text() != key:
                return None
            return load(folder)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return None

    def write(self, name: str, key: str, result: Result) -> Path:
        """Store `result` under a temporary name, rename the folder once complete, and remove the chunks of `name`."""
        temporary, final = self.path / f".part-{name}", self.path / name
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            temporary.mkdir()
            save(result, temporary)
            (temporary / KEY).write_text(key)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        shutil.rmtree(final, ignore_errors=True)
        temporary.rename(final)
        shutil.rmtree(self.chunks(name, key).folder, ignore_errors=True)
        return final

    def chunks(self, name: str, key: str) -> "ChunkStore":
        """Where the chunks of the result `name` are stored until it is complete."""
        return ChunkStore(self.path / f".chunks-{name}", key)

    def record(self, facts: dict[str, Any]) -> None:
        """Write run.json."""
        temporary = self.path / ".part-run.json"
        temporary.write_text(json.dumps(facts, indent=2, default=str) + "\n", encoding="utf-8")
        temporary.replace(self.path / "run.json")


@dataclass(frozen=True)
class ChunkStore:
    """Finished parts of one result. key: that of the result; chunks stored under another one are deleted."""

    folder: Path
    key: str

    def load_or_compute(self, label: str, compute: Callable[[], Arrays]) -> Arrays:
        """The chunk `label` as an earlier, interrupted run stored it, else compute(), which is then stored."""
        if not (self.folder / KEY).is_file() or (self.folder / KEY).read_text() != self.key:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir()
            (self.folder / KEY).write_text(self.key)
        path = self.folder / f"{label}.npz"
        try:
            with np.load(path) as stored:
                return dict(stored)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, pickle.UnpicklingError):
            arrays = compute()
        temporary = path.with_suffix(".part")
        with temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        temporary.replace(path)
        return arrays
