"""Exclusive access to a folder: one process at a time writes into it."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from probe.errors import UserError

if sys.platform != "win32":  # which has no flock: nothing is locked there
    import fcntl


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Lock `folder` against other processes until the block ends; the folder is created if it does not exist.

    The operating system releases the lock with the process, so that a killed one leaves none behind. Folders that
    were created here and are still empty are removed again. On Windows, and on file systems without locks, nothing is
    locked. Raises UserError if another process holds the lock or the folder cannot be created.
    """
    created, descriptor = _lock(folder)
    try:
        yield
    finally:
        with suppress(OSError):  # usually they are no longer empty
            for parent in created:
                parent.rmdir()
        if descriptor is not None:
            os.close(descriptor)


def _lock(folder: Path) -> tuple[list[Path], int | None]:
    """The folders that were created here, the innermost first, and the descriptor that holds the lock."""
    while True:
        try:
            created = [path for path in (folder, *folder.parents) if not path.exists()]
            folder.mkdir(parents=True, exist_ok=True)
            if sys.platform == "win32":
                return created, None
            descriptor = os.open(folder, os.O_RDONLY)
        except OSError as error:
            raise UserError(f"{folder} cannot be written: {error.strerror or error}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise UserError(
                f"another process is writing to {folder}: wait until it has finished, or choose another --out"
            ) from None
        except OSError:  # a file system without locks
            return created, descriptor
        # The process that held the lock may have removed the folder after it was opened here.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), folder.stat()):
                return created, descriptor
        os.close(descriptor)
