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
def exclusive(folder: Path) -> Iterator[None]:
    """Keep other processes out of `folder` until the block ends, however it ends; made where it is not there.

    The system holds the claim with the process, so that nothing is left behind by one that was killed. A folder that
    was made and is still empty is removed again. On Windows, and where a file system knows no locks, nothing is kept
    out. Raises UserError where another process holds the folder, or where it cannot be made.
    """
    made, holder = _taken(folder)
    try:
        yield
    finally:
        if made:
            with suppress(OSError):  # it is not empty, as a rule
                folder.rmdir()
        if holder is not None:
            os.close(holder)


def _taken(folder: Path) -> tuple[bool, int | None]:
    """Whether the folder was made here, and the descriptor that holds the claim."""
    while True:
        try:
            made = not folder.exists()
            folder.mkdir(parents=True, exist_ok=True)
            if sys.platform == "win32":
                return made, None
            holder = os.open(folder, os.O_RDONLY)
        except OSError as error:
            raise UserError(f"{folder} cannot be written: {error.strerror or error}") from None
        try:
            fcntl.flock(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(holder)
            raise UserError(
                f"another process is writing to {folder}: wait for it, or choose another --out"
            ) from None
        except OSError:  # a file system without locks
            return made, holder
        # The one that held it may have removed the folder between our opening it and its letting go.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(holder), folder.stat()):
                return made, holder
        os.close(holder)
