"""Progress of a run: bars with the time left on a terminal or in a notebook, a line now and then in a pipe or log."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Protocol, cast

from probe.terminal import LOG_PERIOD, escaped, in_notebook, print_line

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_NOTEBOOK_DELAY, _NOTEBOOK_PERIOD = 1.0, 0.25  # seconds before a bar is shown, and between its changes


class Display(Protocol):
    """Receives the analysis that is running, and the start, the steps and the end of each of its loops."""

    def section(self, name: str) -> None:
        """The part of the run that starts now, such as 'classify (1 of 16)'."""
        ...

    def start(self, what: str, total: int | None) -> int:
        """A loop of `total` steps starts, if that is known; returns its number."""
        ...

    def advance(self, loop: int) -> None: ...

    def finish(self, loop: int) -> None: ...


class BarDisplay:
    """A bar for the run and one for each loop, with the time left. progress: a rich Progress that is running."""

    def __init__(self, progress: "Progress") -> None:
        self._progress = progress
        self._section: TaskID | None = None

    def section(self, name: str) -> None:
        if self._section is not None:
            self._progress.remove_task(self._section)
        self._section = self._progress.add_task(escaped(name), total=None)

    def start(self, what: str, total: int | None) -> int:
        return self._progress.add_task(f"  {escaped(what)}", total=total)

    def advance(self, loop: int) -> None:
        self._progress.advance(cast("TaskID", loop))

    def finish(self, loop: int) -> None:
        self._progress.remove_task(cast("TaskID", loop))


@dataclass
class _Loop:
    what: str
    total: int | None
    started: float
    done: int = 0


class LineDisplay:
    """What runs, how far it is and how long it will take, as one line of text.

    clock: seconds, rising.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._name, self._started = "", clock()
        self._loops: dict[int, _Loop] = {}
        self._count = 0

    def section(self, name: str) -> None:
        self._name, self._started = name, self._clock()

    def start(self, what: str, total: int | None) -> int:
        self._count += 1
        self._loops[self._count] = _Loop(what, total, self._clock())
        return self._count

    def advance(self, loop: int) -> None:
        self._loops[loop].done += 1

    def finish(self, loop: int) -> None:
        del self._loops[loop]

    def line(self) -> str:
        """Such as 'robustness (9 of 16): attacks 12 of 40, about 3 min left'; the first loop that is open counts."""
        now = self._clock()
        loop = next(iter(self._loops.copy().values()), None)
        if loop is None:
            return f"{self._name}: running for {format_seconds(now - self._started)}"
        of_total = f" of {loop.total}" if loop.total else ""
        left = ""
        if loop.done and loop.total:
            seconds = (now - loop.started) / loop.done * (loop.total - loop.done)
            left = f", about {format_seconds(seconds)} left"
        return f"{self._name}: {loop.what} {loop.done}{of_total}{left}"


def format_seconds(seconds: float) -> str:
    """A duration to two digits or so.

    >>> [format_seconds(s) for s in (0.2, 42, 200, 4000, 9000)]
    ['1 s', '42 s', '3 min', '67 min', '2.5 h']
    """
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class NotebookDisplay(LineDisplay):
    """A bar and the line below a notebook cell, in one output that is emptied at the end; short runs show nothing.

    show: displays a piece of HTML the first time, and replaces it afterwards.
    """

    def __init__(self, show: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self._show, self._shown, self._next = show, False, clock() + _NOTEBOOK_DELAY

    def start(self, what: str, total: int | None) -> int:
        loop = super().start(what, total)
        self._refresh()
        return loop

    def advance(self, loop: int) -> None:
        super().advance(loop)
        self._refresh()

    def close(self) -> None:
        """Empty the output."""
        if self._shown:
            self._show("")

    def _refresh(self) -> None:
        if (now := self._clock()) < self._next:
            return
        self._next, self._shown = now + _NOTEBOOK_PERIOD, True
        loop = next(iter(self._loops.values()), None)
        bar = f'<progress max="{loop.total}" value="{loop.done}"></progress> ' if loop and loop.total else ""
        self._show(f'<span style="font-size: 13px">{bar}{escape(escaped(self.line()))}</span>')


@contextmanager
def open_display(*, quiet: bool | None = False, period: float = LOG_PERIOD) -> Iterator[Display | None]:
    """A bar in a notebook, bars where the error stream is a terminal, else a line every `period` seconds.

    quiet: show nothing (None); where it is None, only a notebook shows something.
    """
    if quiet or (quiet is None and not in_notebook()):
        yield None
    elif in_notebook():
        shown = NotebookDisplay(_notebook_output())
        try:
            yield shown
        finally:
            shown.close()
    elif sys.stderr.isatty():
        with _rich_progress() as progress:
            yield BarDisplay(progress)
    else:
        display, ended = LineDisplay(), threading.Event()

        def print_lines() -> None:
            while not ended.wait(period):
                print_line(display.line(), sys.stderr)

        thread = threading.Thread(target=print_lines, daemon=True)
        thread.start()
        try:
            yield display
        finally:
            ended.set()
            thread.join()


def _notebook_output() -> Callable[[str], None]:
    """A function that displays HTML below the cell, always in the same place."""
    from IPython.display import display

    handle: Any = None

    def show(html: str) -> None:
        nonlocal handle
        data = {"text/html": html, "text/plain": ""}
        if handle is None:
            handle = display(data, raw=True, display_id=True)
        else:
            handle.update(data, raw=True)

    return show


@contextmanager
def shown_progress(progress: bool | Display | None) -> Iterator[Display | None]:
    """What receives the progress: `progress` itself, or what `open_display` opens (None: only in a notebook)."""
    if progress is None or isinstance(progress, bool):
        with open_display(quiet=None if progress is None else not progress) as display:
            yield display
    else:
        yield progress


def _rich_progress() -> "Progress":
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, speed_estimate_period=600)
