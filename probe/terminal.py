"""Text for the terminal: what could steer it, forge a line or not be encoded is escaped."""

import re
import sys
from typing import TextIO

LOG_PERIOD = 15.0
"""Seconds between two lines about the progress of long work where the error stream is no terminal."""

_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # control characters: C0, DEL and C1, with escape and newline
    "\u2028\u2029"  # separators of lines and paragraphs
    "\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks that turn the direction of writing
    "\ud800-\udfff]"  # surrogates: bytes of file names that are not UTF-8
)


def escaped(text: str) -> str:
    r"""`text` in one line, with control characters and bytes that are no text written as \x1b, \n or \u202e.

    >>> print(escaped("\x1b[31mred\n"), escaped("caf\udce9"), escaped("café"))
    \x1b[31mred\n caf\xe9 café
    """
    return _UNSAFE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:  # how Python stands in for a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return match[0].encode("unicode_escape").decode()


def print_line(text: str, stream: TextIO | None = None) -> None:
    """Print `text`, which may hold names that others chose, as one escaped line. stream: standard output if None."""
    print(escaped(text), file=stream or sys.stdout, flush=True)


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    shell = sys.modules.get("IPython")
    running = shell.get_ipython() if shell is not None else None
    return hasattr(running, "kernel")
