"""The command line: every flag is read off a definition that stands elsewhere."""

import errno
import os
import sys
from collections.abc import Sequence

from probe.errors import UserError

__all__ = ["explain", "main"]


def main(arguments: Sequence[str]) -> int:
    """Run the command in `arguments`; returns the exit code: 0 done, 2 the user's mistake, 1 ours, 130 interrupted.

    There is no traceback unless PROBE_TRACEBACK is set.
    """
    from probe.cli.app import run

    try:
        return run(list(arguments))
    except KeyboardInterrupt as stop:
        return _say(
            str(stop) or "interrupted: what is finished was kept, the same command goes on from there", 130
        )
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get("PROBE_TRACEBACK"):
            raise
        return explain(error)


_YOURS = (PermissionError, FileExistsError, NotADirectoryError, IsADirectoryError, FileNotFoundError)


def explain(error: Exception) -> int:
    """One line for anything that went wrong; returns the exit code that says whose fault it is."""
    if isinstance(error, UserError):
        return _say(str(error), 2)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = error.filename or "the output folder"
        return _say(f"no space left on the disk of {where}: what is finished was kept", 2)
    if isinstance(error, _YOURS) or (isinstance(error, OSError) and error.errno == errno.EROFS):
        return _say(f"{error.filename}: {error.strerror}", 2)
    line = str(error).strip().splitlines()[0] if str(error).strip() else ""
    return _say(
        f"this is a mistake in probe: {type(error).__name__}: {line} (PROBE_TRACEBACK=1 shows where)", 1
    )


def _say(line: str, code: int) -> int:
    print(f"probe: {line}", file=sys.stderr)
    return code
