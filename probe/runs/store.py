"""Run directories: one folder for each result, and the chunks of unfinished ones; every file is written atomically."""

import hashlib
import io
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, unquote

import numpy as np

from probe.atomic_files import write_whole
from probe.errors import UserError
from probe.exhibits.result import Result
from probe.exhibits.storage import load, save
from probe.regular_files import TEXT_LIMIT, read_bytes

Arrays = dict[str, np.ndarray]
KEY = "key.json"
FACTS = "run.json"
FORMAT = 1
"""Of run directories: raised when older ones can no longer be read."""
DATA = ("result.json", "arrays.npz")


class RunDirectory:
    """The results of a run by name. A folder that has its final name is complete."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    def read(self, name: str, key: str | None = None) -> Result | None:
        """The stored result `name`; None if there is none, it is damaged, or it was stored under another key.

        key: of the result; without it, any.
        """
        folder = self.path / name
        try:
            sealed = read_bytes(folder / KEY, limit=TEXT_LIMIT)
            if sealed != _seal(key if key is not None else json.loads(sealed)["key"], folder):
                return None
            return load(folder)
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            return None

    def write(self, name: str, key: str, result: Result) -> Path:
        """Store `result` under a temporary name, rename the folder once complete, and remove the chunks of `name`."""
        temporary, final = self.path / f".part-{name}", self.path / name
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            temporary.mkdir()
            save(result, temporary)
            write_whole(temporary / KEY, _seal(key, temporary))
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

    def record(self, facts: dict[str, Any], file: str = FACTS) -> None:
        """Write `facts` as JSON; run.json, the facts of the run, with the format of the directory."""
        content = {"format": FORMAT, **facts} if file == FACTS else facts
        write_whole(self.path / file, (json.dumps(content, indent=2, default=str) + "\n").encode())


_PLAIN = " ,:;=+@#()[]"  # beside letters and digits, what a label keeps in the name of its file


class Chunks(Protocol):
    """Keeps the finished parts of a result until it is complete."""

    def load(self, label: str) -> Arrays | None:
        """The chunk `label` of this run, or of an earlier one that was interrupted; None if there is none."""
        ...

    def save(self, label: str, arrays: Arrays) -> None:
        """Keep the chunk `label`."""
        ...


@dataclass(frozen=True)
class ChunkStore:
    """Finished parts of one result. key: that of the result; chunks stored under another one are deleted."""

    folder: Path
    key: str

    def load(self, label: str) -> Arrays | None:
        """The chunk `label`; None if there is none, or it is damaged or was stored under another key."""
        return _unsealed(self._path(label)) if self._stored_key() == self.key.encode() else None

    def all(self) -> dict[str, Arrays]:
        """The chunks that are stored, by their labels."""
        labels = [unquote(path.stem) for path in sorted(self.folder.glob("*.npz"))]
        chunks = {label: self.load(label) for label in labels}
        return {label: arrays for label, arrays in chunks.items() if arrays is not None}

    def save(self, label: str, arrays: Arrays) -> None:
        """Store a chunk under a temporary name, and rename it once complete."""
        if self._stored_key() != self.key.encode():
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir()
            write_whole(self.folder / KEY, self.key.encode())
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, **arrays)
        write_whole(self._path(label), hashlib.sha256(content.getvalue()).digest() + content.getvalue())

    def _path(self, label: str) -> Path:
        return self.folder / f"{quote(label, safe=_PLAIN)}.npz"  # an address of a layer may start with "/"

    def _stored_key(self) -> bytes | None:
        try:
            return read_bytes(self.folder / KEY, limit=TEXT_LIMIT)
        except (OSError, UserError):
            return None


def _seal(key: str, folder: Path) -> bytes:
    """The key of a result with the digests of its data: what was damaged since it was written no longer agrees."""
    files = {name: hashlib.sha256(read_bytes(folder / name)).hexdigest() for name in DATA}
    return json.dumps({"key": key, "sha256": files}, indent=1).encode()


def _unsealed(path: Path) -> Arrays | None:
    """The arrays of a chunk whose digest, its first 32 bytes, is that of the rest; None for any other file."""
    try:
        content = read_bytes(path)
        if hashlib.sha256(content[32:]).digest() != content[:32]:
            return None
        with np.load(io.BytesIO(content[32:]), allow_pickle=False) as stored:
            return dict(stored)
    except (OSError, ValueError):
        return None
