"""A run directory: each analysis in a folder of its own, whole or not there at all."""

import json
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from probe.exhibits.result import Result
from probe.exhibits.storage import load, save

Arrays = dict[str, np.ndarray]
KEY = "key.txt"


class RunDirectory:
    """Results of one run by name. What is in it under its final name is complete."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    def read(self, name: str, key: str) -> Result | None:
        """The finished result `name`, if it is there and was made by exactly what `key` stands for."""
        folder = self.path / name
        try:
            if (folder / KEY).read_text() != key:
                return None
            return load(folder)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return None

    def write(self, name: str, key: str, result: Result) -> Path:
        """Keep `result`: written under a temporary name, renamed when whole, removed when it cannot be."""
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
        shutil.rmtree(self._chunks(name), ignore_errors=True)
        return final

    def _chunks(self, name: str) -> Path:
        return self.path / f".chunks-{name}"

    def chunk(self, name: str, key: str, label: str, compute: Callable[[], Arrays]) -> Arrays:
        """compute(), or what an earlier, killed run of the same `key` computed under `label`."""
        folder = self._chunks(name)
        if not (folder / KEY).is_file() or (folder / KEY).read_text() != key:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            (folder / KEY).write_text(key)
        path = folder / f"{label}.npz"
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

    def record(self, facts: dict[str, Any]) -> None:
        """Write run.json."""
        temporary = self.path / ".part-run.json"
        temporary.write_text(json.dumps(facts, indent=2, default=str) + "\n", encoding="utf-8")
        temporary.replace(self.path / "run.json")
