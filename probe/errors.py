"""What a user is told when something that they asked for cannot be done."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """The user's mistake: one line that says what, which value, what is allowed and what to do.

    The command line prints it without a traceback and leaves with exit code 2.
    """


def unknown(kind: str, name: str, known: Iterable[str], *, hint: str = "") -> UserError:
    """The error for a name that does not exist, with the nearest ones that do.

    >>> print(unknown("analysis", "fgms", ["filters", "fgsm"]))
    there is no analysis 'fgms'. Did you mean fgsm?
    """
    known = list(known)
    near = get_close_matches(name, known, n=3, cutoff=0.5)
    if near:
        advice = f"Did you mean {' or '.join(near)}?"
    elif known:
        shown = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
        advice = f"There are: {shown}."
    else:
        advice = "There is none."
    return UserError(f"there is no {kind} {name!r}. {advice}" + (f" {hint}" if hint else ""))
