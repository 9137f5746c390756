"""Write files atomically: under a temporary name beside them, which is renamed once the file is complete."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def temporary_path(path: Path) -> Path:
    """Where `path` is written: what a killed process leaves there is overwritten when `path` is written again."""
    name = hashlib.sha256(path.name.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return path.with_name(f".part-{name}{path.suffix if len(path.suffix) < 10 else ''}")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path with the suffix of `path`, to be written within the block; it then becomes `path`.

    Where the block fails, by a full disk or a signal, `path` is as before and nothing is left beside it. An OSError
    of a write names no file: it gets the name of `path`.
    """
    temporary = temporary_path(path)
    try:
        yield temporary
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):
            error.filename = str(path)
        raise


def write_whole(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically. Raises OSError, with the name of `path`, if it cannot be written."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)
