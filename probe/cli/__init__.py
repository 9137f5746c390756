"""The command line: runs a command and prints any error in one line; flags are read off the definitions they set."""

import errno
import os
import sys
from collections.abc import Sequence

from probe import interrupts
from probe.errors import UserError
from probe.terminal import print_line

__all__ = ["main", "report_error"]


def main(arguments: Sequence[str]) -> int:
    """Run the command in `arguments`; returns the exit code.

    0: success, 1: internal error, 2: error of the user, 130: interrupted, 143: terminated. Tracebacks are printed only if PROBE_TRACEBACK is set.
    """
    from probe.cli.app import run

    try:
        return run(list(arguments))
    except KeyboardInterrupt as stop:
        with interrupts.last_line():
            return _print_error(interrupts.message(stop), interrupts.exit_code(stop))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get("PROBE_TRACEBACK"):
            raise
        return report_error(error)


def report_error(error: Exception) -> int:
    """Print one line for `error`; returns the exit code, 2 for what the user can correct and 1 for an internal error."""
    if isinstance(error, UserError):
        return _print_error(str(error), 2)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        folder = error.filename or "the output folder"
        return _print_error(f"no space left on the disk of {folder}: finished parts were kept", 2)
    if isinstance(error, OSError) and error.errno is not None:  # of the system, whatever probe does
        file = "a file" if error.filename is None else os.fsdecode(error.filename)
        return _print_error(f"{file}: {error.strerror}", 2)
    line = str(error).strip().splitlines()[0] if str(error).strip() else ""
    return _print_error(
        f"internal error: {type(error).__name__}: {line} (PROBE_TRACEBACK=1 prints the traceback)", 1
    )


def _print_error(line: str, code: int) -> int:
    print_line(f"probe: {line}", sys.stderr)
    return code
