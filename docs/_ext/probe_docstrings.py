"""Docstrings of probe, which are plain text with `code` and indented code, as reStructuredText."""

import re
from collections.abc import Iterable, Iterator
from itertools import groupby

_CODE = re.compile(r"`([^`]+)`")
_MARKUP = re.compile(r"([*|\\])|(?<=\w)_(?!\w)")
_PUBLIC = re.compile(r"probe\.(?:(?:adversarial|attribution|synthesis)\.)?\w+")


def to_rst(lines: Iterable[str]) -> list[str]:
    r"""Convert the lines of a docstring, without their common indentation.

    >>> to_rst(["Take `x`", "  or y.", "", "    y = f(*x)", "", "See `probe.run`, x* and x_."])
    ['Take ``x`` or y.', '', '::', '', '    y = f(*x)', '', 'See :py:obj:`probe.run`, x\\* and x\\_.', '']
    """
    converted: list[str] = []
    verbatim = False
    for paragraph in _paragraphs(lines):
        if paragraph[0].startswith("    "):
            converted += [*([] if verbatim else ["::", ""]), *paragraph, ""]
            verbatim = True
            continue
        verbatim = False
        if paragraph[0].startswith(">>>"):
            converted += [*paragraph, ""]
        elif paragraph[0].startswith(("- ", "* ")):
            converted += [line[:2] + inline(line[2:]) for line in paragraph] + [""]
        else:
            converted += [inline(" ".join(line.strip() for line in paragraph)), ""]
    return converted


def _paragraphs(lines: Iterable[str]) -> Iterator[list[str]]:
    for filled, group in groupby(lines, key=lambda line: bool(line.strip())):
        if filled:
            yield list(group)


def inline(text: str) -> str:
    """A line of text: `code` as literals or as links to public names, and no other markup."""
    parts = _CODE.split(text)
    return "".join(_code(part) if k % 2 else _MARKUP.sub(_escape, part) for k, part in enumerate(parts))


def _code(text: str) -> str:
    return f":py:obj:`{text}`" if _PUBLIC.fullmatch(text) else f"``{text}``"


def _escape(match: re.Match[str]) -> str:
    return "\\" + match[0]
