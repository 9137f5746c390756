"""Ctrl-C and SIGTERM at any moment of a command: one line, exit code 130 or 143, no traceback."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Literal

from probe.errors import Interrupted

STOPPED = "finished parts were kept, the same command continues from there"


class Terminated(KeyboardInterrupt):
    """SIGTERM: ends the work as Ctrl-C does."""


_can_raise = False
"""Whether a signal may end the work by an exception; else it ends the process at once."""

_line: Literal["none", "being printed", "printed"] = "none"
"""The line that says that a signal has ended the work: there is one, however many signals follow."""


def exit_code(stop: KeyboardInterrupt) -> int:
    """What a shell expects of a program that this signal has ended."""
    return 128 + (signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT)


def restated(stop: KeyboardInterrupt, message: str) -> KeyboardInterrupt:
    """The same signal with a message that says what is kept."""
    return Terminated(message) if isinstance(stop, Terminated) else Interrupted(message)


def message(stop: KeyboardInterrupt) -> str:
    """The line for the user: that of the exception, or a general one."""
    return str(stop) or f"{'terminated' if isinstance(stop, Terminated) else 'interrupted'}: {STOPPED}"


def install() -> None:
    """Receive both signals in this process from now on. Only for the command line: handlers belong to the program."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as in `nohup` and for jobs in the background
            signal.signal(number, _receive)
    sys.unraisablehook = _unraisable


@contextmanager
def raised() -> Iterator[None]:
    """Within this block the first signal is raised as KeyboardInterrupt or Terminated; a second one exits at once."""
    global _can_raise
    _can_raise = True
    try:
        yield
    finally:
        _can_raise = False


@contextmanager
def last_line() -> Iterator[None]:
    """Around the printing of the line of the signal that has ended the work: later signals print none."""
    global _line
    _line = "being printed"
    try:
        yield
    finally:
        _line = "printed"


def _receive(number: int, frame: FrameType | None) -> None:
    global _can_raise
    if _line == "being printed":
        return
    stop = Terminated() if number == signal.SIGTERM else KeyboardInterrupt()
    # An exception inside an import leaves half a module, and is often turned into another one on its way out.
    if not _can_raise or _importing(frame):
        _leave(stop)
    _can_raise = False
    raise stop


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _leave(stop: KeyboardInterrupt) -> None:
    """End the process without its clean-up, which the signal could interrupt; every file is written atomically."""
    if _line == "none":
        os.write(2, f"probe: {message(stop)}\n".encode())
    os._exit(exit_code(stop))


def _unraisable(failure: Any) -> None:
    """A signal raised where Python cannot pass it on, such as in a destructor, would be lost."""
    if isinstance(failure.exc_value, KeyboardInterrupt):
        _leave(failure.exc_value)
    sys.__unraisablehook__(failure)
