"""Headers and digests of the files of a large folder, cached by the size and the time of change of each file."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from probe.data.cache import load_cached, store_cached

Check = tuple[int, int, int, bytes]
"""Channels, height and width of an image, and the SHA-256 of its file."""

_FIELDS = 5  # size, time of change, channels, height, width
_DIGEST = 32  # bytes


def cached_checks(
    folder: Path, names: Sequence[str], check: Callable[[Sequence[str]], Sequence[Check | str]]
) -> list[Check | str]:
    """The check of each of `names` below `folder`: from the cache where size and time of change are those of then.

    check: of files that are new or changed; a text is the reason why one cannot be used, and is not cached.
    """
    stamps = np.array([_stamp(folder / name) for name in names], dtype=np.int64).reshape(-1, 2)
    key = f"headers-{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:24]}"
    known = load_cached(key) or {}
    rows, digests = _matching(known, names, stamps)
    missing = [position for position, row in enumerate(rows) if row < 0]
    fresh = dict(zip(missing, check([names[position] for position in missing]), strict=True))
    table = known.get("table", np.zeros((0, _FIELDS), dtype=np.int64))
    checks: list[Check | str] = []
    for position, row in enumerate(rows.tolist()):
        if row < 0:
            checks.append(fresh[position])
        else:
            channels, height, width = table[row, 2:].tolist()
            checks.append((channels, height, width, digests[row].tobytes()))
    if missing:
        _store(key, names, stamps, checks)
    return checks


def _stamp(path: Path) -> tuple[int, int]:
    """Size and time of change; -1 for a file that is gone."""
    try:
        status = path.stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _matching(
    known: dict[str, np.ndarray], names: Sequence[str], stamps: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The row of the cache for each name, -1 for none, and the digests of all rows."""
    if not known:
        return np.full(len(names), -1), np.zeros((0, _DIGEST), dtype=np.uint8)
    table, digests = known["table"], known["digests"]
    listed = known["names"].tobytes().decode("utf-8", "surrogateescape").split("\0")
    index = {name: row for row, name in enumerate(listed)}
    rows = np.array([index.get(name, -1) for name in names], dtype=np.int64)
    same = (table[rows, :2] == stamps).all(1) & (stamps[:, 0] >= 0)
    return np.where(same & (rows >= 0), rows, -1), digests


def _store(key: str, names: Sequence[str], stamps: np.ndarray, checks: Sequence[Check | str]) -> None:
    good = [
        (name, stamp, c)
        for name, stamp, c in zip(names, stamps, checks, strict=True)
        if not isinstance(c, str)
    ]
    if not good:
        return
    table = np.array([[*stamp, *c[:3]] for _, stamp, c in good], dtype=np.int64)
    joined = "\0".join(name for name, _, _ in good).encode("utf-8", "surrogateescape")
    digests = np.frombuffer(b"".join(c[3] for _, _, c in good), dtype=np.uint8).reshape(-1, _DIGEST)
    store_cached(key, {"table": table, "names": np.frombuffer(joined, dtype=np.uint8), "digests": digests})
