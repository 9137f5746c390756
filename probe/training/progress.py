"""Progress of a training: a bar on a terminal, lines in a pipe."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from probe.terminal import LOG_PERIOD, escaped, print_line
from probe.training.history import Epoch, StepReport


class Display(Protocol):
    """Receives a report within each epoch, every finished epoch, and messages."""

    def step(self, report: StepReport) -> None: ...

    def epoch(self, epoch: Epoch) -> None: ...

    def message(self, text: str) -> None: ...


class LineDisplay:
    """One line per epoch to stderr, and one every `period` seconds within an epoch.

    clock: seconds, rising.
    """

    def __init__(
        self, epochs: int, *, period: float = LOG_PERIOD, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._epochs, self._period, self._clock = epochs, period, clock
        self._last = clock()

    def step(self, report: StepReport) -> None:
        if self._clock() - self._last >= self._period:
            self.message(format_step(report, self._epochs))

    def epoch(self, epoch: Epoch) -> None:
        self.message(format_epoch(epoch, self._epochs))

    def message(self, text: str) -> None:
        print_line(text, sys.stderr)
        self._last = self._clock()


class SilentDisplay:
    """Prints nothing: for tests, for all processes but the first, and for callers with a display of their own."""

    def step(self, report: StepReport) -> None:
        pass

    def epoch(self, epoch: Epoch) -> None:
        pass

    def message(self, text: str) -> None:
        pass


class BarDisplay:
    """A bar over all steps, with the current loss, accuracy and speed."""

    def __init__(self, progress: Progress, epochs: int, done: int) -> None:
        self._progress, self._epochs = progress, epochs
        self._task = progress.add_task("starting", total=epochs, completed=done, metrics="")

    def step(self, report: StepReport) -> None:
        self._progress.update(
            self._task,
            completed=report.epoch - 1 + report.step / report.steps,
            description=f"epoch {report.epoch} of {self._epochs}",
            metrics=f"loss {report.loss:.3f}  accuracy {report.accuracy:.1%}  "
            f"{report.images_per_second:,.0f} images/s",
        )

    def epoch(self, epoch: Epoch) -> None:
        self.message(format_epoch(epoch, self._epochs))

    def message(self, text: str) -> None:
        self._progress.console.print(escaped(text), highlight=False, markup=False)


@contextmanager
def open_display(epochs: int, done: int = 0, *, quiet: bool = False) -> Iterator[Display]:
    """A bar where stderr is a terminal, lines in a pipe, nothing if `quiet`. done: epochs that were run before."""
    if quiet:
        yield SilentDisplay()
        return
    console = Console(stderr=True)
    if not console.is_terminal:
        yield LineDisplay(epochs)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[metrics]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, speed_estimate_period=300) as progress:
        yield BarDisplay(progress, epochs, done)


def format_step(report: StepReport, epochs: int) -> str:
    """How far an epoch is, in one line."""
    return (
        f"epoch {report.epoch}/{epochs}, step {report.step} of {report.steps}: loss {report.loss:.4f}, "
        f"accuracy {report.accuracy:.2%}, {report.images_per_second:,.0f} images/s"
    )


def format_epoch(epoch: Epoch, epochs: int) -> str:
    """The results of an epoch in one line."""
    idle = "" if epoch.device_idle is None else f", device idle {epoch.device_idle:.0%}"
    return (
        f"epoch {epoch.epoch}/{epochs}: loss {epoch.loss:.4f}, accuracy {epoch.accuracy:.2%}, "
        f"test loss {epoch.test_loss:.4f}, test accuracy {epoch.test_accuracy:.2%}, "
        f"{epoch.images_per_second:,.0f} images/s{idle}"
    )
