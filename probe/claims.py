"""Who writes into a folder? One process at a time."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from probe.errors import UserError

if sys.platform != "win32":  # where nothing is claimed
    import fcntl


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keep other processes out of `folder` until the block ends, however it ends; made where it is not there.

    The system holds the claim with the process, so that nothing is left behind by one that was killed. An empty
    folder is removed again. Raises UserError where another process holds it, or where it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        holder = os.open(folder, os.O_RDONLY) if sys.platform != "win32" else None
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror or error}") from None
    try:
        if holder is not None:
            _claim(holder, folder)
        yield
    finally:
        with suppress(OSError):  # it is not empty, as a rule
            folder.rmdir()
        if holder is not None:
            os.close(holder)


def _claim(holder: int, folder: Path) -> None:
    if sys.platform == "win32":
        return
    try:
        fcntl.flock(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(
            f"another process is writing to {folder}: wait for it, or choose another --out"
        ) from None
    except OSError:  # a file system without locks
        return
