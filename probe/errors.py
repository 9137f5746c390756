"""The error for what a user can correct, and its wording for unknown names."""

import traceback
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from probe.renamed import NAMES
from probe.terminal import escaped

_PACKAGE = str(Path(__file__).parent)


class UserError(ValueError):
    """A mistake that the user can correct, in one line: what is wrong, which value, what is allowed, what to do.

    The command line prints it without a traceback and exits with code 2. Names in the message that hold control
    characters are escaped, so that it stays one line.
    """

    def __init__(self, message: str) -> None:
        super().__init__(escaped(message))

    def _render_traceback_(self) -> list[str]:
        return short_traceback(self)


class NoGradientError(UserError):
    """A network whose output has no gradient with respect to the pixels."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C in Python, or "interrupt" in a notebook: the message says what is kept.

    result: what there is of the result, of analyses that can show it, else None.
    """

    result: Any = None

    def _render_traceback_(self) -> list[str]:
        return short_traceback(self)


def with_partial_result(stop: KeyboardInterrupt, result: object) -> KeyboardInterrupt:
    """The signal that ended the work, with what there is of its result."""
    stop.__dict__["result"] = result
    return stop


def partial_result(stop: KeyboardInterrupt) -> Any:
    """What there is of the result of the work that a signal has ended, or None."""
    return stop.__dict__.get("result")


def short_traceback(error: BaseException) -> list[str]:
    """The caller's own lines and the message, which IPython shows instead of a long traceback.

    The lines of this package would hide both; `%debug` and `traceback.print_exc()` still have them.
    """
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((_PACKAGE, "<frozen")) and "IPython" not in frame.filename
    ]
    lines = [f"line {frame.lineno}: {frame.line}" for frame in frames[-2:] if frame.line]
    return [*lines, f"{type(error).__name__}: {error}"]


def first_line(error: BaseException) -> str:
    """The first line of an error's message, at most 200 characters; its class if it has no message."""
    lines = (line.strip() for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)[:200]


def unknown(kind: str, name: str, known: Iterable[str], *, hint: str = "") -> UserError:
    """The error for a name that does not exist, with the nearest ones that do, or the present name of a renamed one.

    kind: what the name would be, such as "analysis" or "split of digits". hint: a sentence that ends the message.

    >>> print(unknown("analysis", "fgms", ["filters", "fgsm"]))
    there is no analysis 'fgms'. Did you mean fgsm?
    """
    if present := NAMES.get(kind.removeprefix("command or "), {}).get(name):
        return UserError(f"{name} is now called {present}")
    known = list(known)
    near = get_close_matches(name, known, n=3, cutoff=0.5)
    if near:
        advice = f"Did you mean {' or '.join(near)}?"
    elif known:
        advice = f"Known: {', '.join(known[:12])}{f' and {len(known) - 12} more' if len(known) > 12 else ''}."
    else:
        advice = "There are none."
    kind, _, owner = kind.partition(" of ")
    what = f"{owner} has no {kind} {name!r}" if owner else f"there is no {kind} {name!r}"
    return UserError(f"{what}. {advice}" + (f" {hint}" if hint else ""))
