"""Cache arrays that are slow to compute, in the user's cache folder."""

import contextlib
import os
import struct
import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from probe.regular_files import open_regular, user_path

Arrays = dict[str, np.ndarray]
_DAMAGED = (
    OSError,
    ValueError,
    EOFError,
    AttributeError,
    LookupError,
    RuntimeError,
    MemoryError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What reading a damaged .npz raises."""


def cache_folder() -> Path:
    """$PROBE_CACHE, else the folder `probe` in $XDG_CACHE_HOME or ~/.cache."""
    if chosen := os.environ.get("PROBE_CACHE"):
        return user_path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or user_path("~/.cache")) / "probe"


def load_cached(key: str) -> Arrays | None:
    """The arrays stored under `key`; None if there are none or the file cannot be read."""
    try:
        with open_regular(cache_folder() / f"{key}.npz") as file:
            archive = np.load(file, allow_pickle=False)
            return {name: archive[name] for name in archive.files}
    except _DAMAGED:
        return None


def cached(key: str, make: Callable[[], Arrays]) -> Arrays:
    """The arrays stored under `key`, else make(), which is then stored if the disk allows it.

    The file is written under a temporary name and renamed once complete.
    """
    if (arrays := load_cached(key)) is not None:
        return arrays
    arrays = make()
    store_cached(key, arrays)
    return arrays


def store_cached(key: str, arrays: Arrays) -> None:
    """Store `arrays` under `key`, if the disk allows it; otherwise they are computed again next time."""
    with contextlib.suppress(OSError):
        cache_folder().mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=cache_folder(), suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, allow_pickle=False, **arrays)
            os.replace(temporary, cache_folder() / f"{key}.npz")
        except BaseException:
            os.unlink(temporary)
            raise
