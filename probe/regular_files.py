"""Reading files that others may have made: regular files alone, up to a stated size, by one error where it cannot be done."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from probe.errors import UserError

TEXT_LIMIT = 64 * 2**20
"""Bytes that a text file (card, recipe, class names, labels) may hold: far above any that people write."""


def open_regular(path: Path) -> BinaryIO:
    """Open `path` for reading. A FIFO, a device or a socket, also behind a link, would hang or never end: refused.

    Raises OSError where it cannot be opened, UserError where it is no regular file.
    """
    # Without O_NONBLOCK, opening a FIFO waits for somebody who writes to it.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UserError(f"{path} is not a regular file")
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_text(path: Path, *, what: str = "", limit: int = TEXT_LIMIT) -> str:
    """The text of a regular file in UTF-8. what: what the file should be, for the error messages.

    Raises FileNotFoundError where there is none, UserError for every other reason why it cannot be read.
    """
    what = f" as {what}" if what else ""
    try:
        with open_regular(path) as file:
            if os.fstat(file.fileno()).st_size > limit:
                raise UserError(f"{path} cannot be read{what}: it is larger than {limit >> 20} MiB")
            content = file.read(limit + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(f"{path} cannot be read{what}: {error.strerror or error}") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} cannot be read{what}: it is not UTF-8 text (byte {error.start} is {content[error.start]:#04x})"
        ) from None
