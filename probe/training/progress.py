"""What does the user see of a training while it runs? A bar on a terminal, a line an epoch in a pipe."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from probe.training.history import Epoch
from probe.training.trainer import StepReport


class Display(Protocol):
    """Told of every glance and every epoch."""

    def glance(self, glance: StepReport) -> None: ...

    def epoch(self, epoch: Epoch) -> None: ...

    def say(self, sentence: str) -> None: ...


class Lines:
    """One line an epoch to stderr."""

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs

    def glance(self, glance: StepReport) -> None:
        pass

    def epoch(self, epoch: Epoch) -> None:
        self.say(described(epoch, self._epochs))

    def say(self, sentence: str) -> None:
        print(sentence, file=sys.stderr, flush=True)  # noqa: T201  this is what the line is for


class Silence:
    """Nothing: for tests, for the other processes of several, and for callers with a display of their own."""

    def glance(self, glance: StepReport) -> None:
        pass

    def epoch(self, epoch: Epoch) -> None:
        pass

    def say(self, sentence: str) -> None:
        pass


class Bar:
    """A bar over all steps, with what is known so far beside it."""

    def __init__(self, progress: Progress, epochs: int, done: int) -> None:
        self._progress, self._epochs, self._done = progress, epochs, done
        self._task = progress.add_task("starting", total=epochs, completed=done, figures="")

    def glance(self, glance: StepReport) -> None:
        figures = f"loss {glance.loss:.3f}  accuracy {glance.accuracy:.1%}  {glance.rate:,.0f} images/s"
        self._progress.update(
            self._task,
            completed=glance.epoch - 1 + glance.step / glance.steps,
            description=f"epoch {glance.epoch} of {self._epochs}",
            figures=figures,
        )

    def epoch(self, epoch: Epoch) -> None:
        self.say(described(epoch, self._epochs))

    def say(self, sentence: str) -> None:
        self._progress.console.print(sentence, highlight=False)


@contextmanager
def shown(epochs: int, done: int = 0, *, quiet: bool = False) -> Iterator[Display]:
    """A bar where stderr is a terminal, lines in a pipe, nothing where it is quiet. done: epochs of an earlier start."""
    if quiet:
        yield Silence()
        return
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Lines(epochs)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, speed_estimate_period=300) as progress:
        yield Bar(progress, epochs, done)


def described(epoch: Epoch, epochs: int) -> str:
    """One line on an epoch."""
    idle = "" if epoch.device_idle is None else f", device idle {epoch.device_idle:.0%}"
    return (
        f"epoch {epoch.epoch}/{epochs}: loss {epoch.loss:.4f}, accuracy {epoch.accuracy:.2%}, "
        f"test loss {epoch.test_loss:.4f}, test accuracy {epoch.test_accuracy:.2%}, {epoch.rate:,.0f} images/s{idle}"
    )
