"""Arrays that take a while to make, kept in the user's cache folder."""

import contextlib
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

Arrays = dict[str, np.ndarray]


def cache_folder() -> Path:
    """PROBE_CACHE, else the folder `probe` in XDG_CACHE_HOME or ~/.cache."""
    if chosen := os.environ.get("PROBE_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "probe"


def load_cached(key: str) -> Arrays | None:
    """What was kept under `key`; None where nothing was, or where it cannot be read."""
    try:
        with (cache_folder() / f"{key}.npz").open("rb") as file:
            found = np.load(file, allow_pickle=False)
            return {name: found[name] for name in found.files}
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile, zlib.error):
        return None


def cached(key: str, make: Callable[[], Arrays]) -> Arrays:
    """What was kept under `key`, else what `make` gives, kept where the disk allows it.

    The file is written under another name and renamed when whole.
    """
    if (found := load_cached(key)) is not None:
        return found
    arrays = make()
    # A full or locked disk costs time the next time, and nothing else.
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
    return arrays
