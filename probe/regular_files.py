"""Read files from untrusted sources: regular files alone, up to a size limit, with errors of one line."""

import io
import os
import re
import stat
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from probe.errors import UserError

NAME_LIMIT, PATH_LIMIT = 255, 4095  # bytes, of Linux; other systems allow no more
_DEPTH = 32  # of tables and lists in TOML: what is read is written as JSON, by functions that recurse
_DEEP_KEY = re.compile(  # a.b.c..., for which tomllib takes time that grows with the square of the depth
    r"(?:^[ \t]*+\[{0,2}+|[{,])[ \t]*+"
    r"""(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+)"""
    f"{{{_DEPTH}}}",
    re.MULTILINE,
)
TEXT_LIMIT = 64 * 2**20
"""The largest text file (card, recipe, class names, labels) in bytes, far above any that people write."""


def user_path(text: str | Path) -> Path:
    """The path that a user wrote, with `~` and `~name` expanded.

    Raises UserError for a home that is unknown, and for names that no file can have.
    """
    try:
        path = Path(text).expanduser()
        encoded = os.fsencode(path)
    except (RuntimeError, UnicodeEncodeError):
        raise UserError(
            f"{shortened(text)}: its home folder is not known, or it is not a valid file name"
        ) from None
    if b"\0" in encoded:
        raise UserError(f"{shortened(text)}: a file name cannot hold a null character")
    if len(encoded) > PATH_LIMIT or any(len(part) > NAME_LIMIT for part in encoded.split(b"/")):
        raise UserError(
            f"{shortened(text)}: a file name may have {NAME_LIMIT} bytes and a path {PATH_LIMIT}, not {len(encoded):,}"
        )
    return path


def shortened(text: object, length: int = 80) -> str:
    """`text` for an error message, cut in the middle where it is longer than `length`."""
    full = str(text)
    return full if len(full) <= length else f"{full[: length // 2]}...{full[-length // 4 :]}"


def open_regular(path: Path) -> io.BufferedReader:
    """Open `path` for reading. A FIFO, a device or a socket, also behind a link, could block or never end.

    Raises OSError if it cannot be opened, UserError if it is not a regular file.
    """
    # Without O_NONBLOCK, opening a FIFO blocks until another process writes to it.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UserError(f"{path} is not a regular file")
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_bytes(path: Path, *, limit: int | None = None) -> bytes:
    """The content of a regular file. Raises as `open_regular` does, and UserError above `limit` bytes."""
    with open_regular(path) as file:
        if limit is not None and os.fstat(file.fileno()).st_size > limit:
            raise UserError(f"{path} is larger than {limit >> 20} MiB")
        return file.read()


def read_text(path: Path, *, what: str = "", limit: int = TEXT_LIMIT) -> str:
    """The text of a regular file in UTF-8. what: what the file should be, for the error messages.

    Raises FileNotFoundError if it does not exist, UserError if it cannot be read for another reason.
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


def read_toml(path: Path, *, what: str) -> dict[str, Any]:
    """The content of a TOML file. Raises as `read_text` does, and UserError for what is no TOML or too deep to parse."""
    try:
        text = read_text(path, what=what)
        if not _DEEP_KEY.search(text):
            content = tomllib.loads(text)
            level: list[Any] = [content]
            for _ in range(_DEPTH):
                level = [value for outer in level for value in _values(outer)]
            if not level:
                return content
    except UserError:
        raise
    except RecursionError:
        pass
    except ValueError as error:  # not TOML, or a number of thousands of digits
        raise UserError(f"{path} is not TOML: {error}") from None
    raise UserError(f"{path} cannot be read as {what}: it is nested more than {_DEPTH} deep")


def _values(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
