"""Runs what a page of the documentation shows: its files, its Python, its commands, and compares what they print.

A fence after a paragraph that ends with a file name in backticks and a colon is written as that file. `python` is run, in one
namespace per page; of `sh` the lines that start with `probe` or `python`. A `text` fence after either is what they
print, with ... for any text; numbers with a decimal point may differ by 5 %, since they do between machines. Fences of other kinds (`bash`, `toml` ...) are not run.
"""

import contextlib
import io
import math
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from probe.cli import main

HOME = Path(__file__).parents[2]
DOCS = HOME / "docs"

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
TOLERANCE = 0.05
_NUMBER = re.compile(r"\d+\\\.\d+")  # as re.escape writes it
_FILE = re.compile(r"`(\w[\w./-]*\.[a-z]+)`:\s*$")


@dataclass(frozen=True)
class Fence:
    """A fenced block. file: the name under which it is saved, or ""."""

    kind: str
    text: str
    file: str
    line: int


def fences(page: Path) -> list[Fence]:
    """The fenced blocks of a page in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        before = text[: match.start()].rstrip("\n").rpartition("\n")[2]
        file = _FILE.search(before) if match[1] != "text" else None
        line = text.count("\n", 0, match.start()) + 1
        found.append(Fence(match[1], match[2], file[1] if file else "", line))
    return found


def files(page: Path) -> dict[str, str]:
    """The files that a page shows, by their names."""
    return {fence.file: fence.text for fence in fences(page) if fence.file}


def run_page(page: Path, folder: Path) -> int:
    """Run a page in `folder`; returns the number of fences that were run. AssertionError where it prints something else."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    blocks, count = fences(page), 0
    with contextlib.chdir(folder), _importable(folder):
        for block, after in zip(blocks, [*blocks[1:], None], strict=True):
            where = f"{page.name}, line {block.line}"
            if block.file:
                path = folder / block.file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block.text, encoding="utf-8")
                continue
            if block.kind not in ("python", "sh"):
                continue
            count += 1
            printed = io.StringIO()
            expects = after is not None and after.kind == "text"
            with contextlib.redirect_stdout(printed):
                if block.kind == "python":
                    exec(compile(block.text, where, "exec"), namespace)
                else:
                    _run_commands(block.text, where, expects)
            if after is not None and after.kind == "text":
                _compare(after.text, printed.getvalue(), where)
    return count


def _run_commands(text: str, where: str, expects: bool) -> None:
    """Run the lines of a shell that start with `probe` or `python`; an error line is printed where output is expected."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["probe"]:
            errors = io.StringIO()
            with contextlib.redirect_stderr(errors):
                code = main(words[1:])
            if code:
                assert expects, f"{where}: {line}: {errors.getvalue()}"
                print(errors.getvalue(), end="")
        elif words[:2] == ["python", "-c"]:
            exec(words[2], {})
        elif words[:1] == ["python"]:
            arguments, sys.argv = sys.argv, words[1:]
            try:
                runpy.run_path(words[1], run_name="__main__")
            except SystemExit as end:
                if end.code and not expects:
                    raise AssertionError(f"{where}: {line}: {end.code}") from None
            finally:
                sys.argv = arguments


def _compare(expected: str, printed: str, where: str) -> None:
    pattern = re.escape(" ".join(expected.split())).replace("\\ ", r"\s+").replace(re.escape("..."), ".*?")
    match = re.fullmatch(r"\s*" + _NUMBER.sub(r"(\\d+\\.\\d+)", pattern) + r"\s*", printed, re.DOTALL)
    numbers = [float(number) for number in re.findall(r"\d+\.\d+", expected)]
    same = match is not None and all(
        math.isclose(float(number), stated, rel_tol=TOLERANCE)
        for number, stated in zip(match.groups(), numbers, strict=True)
    )
    if not same:
        raise AssertionError(f"{where} should print\n{expected}\nbut prints\n{printed}")


@contextlib.contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let scripts import the files of the page, which are forgotten afterwards."""
    sys.path.insert(0, str(folder))
    before = set(sys.modules)
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None)
            if file and Path(file).is_relative_to(folder):
                del sys.modules[name]
