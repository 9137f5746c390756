"""For what share of the time does a CUDA device wait for work? Looked at for some steps of the first epochs."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

import torch

Batch = TypeVar("Batch")
Spans = list[tuple[float, float]]

_EPOCHS = 2  # later ones are no different, and making sense of what was taken down takes time
_FROM, _STEPS = 5, 8  # the first steps of an epoch find no work queued before them


def idle_share(spans: Iterable[tuple[float, float]]) -> float | None:
    """The share of the time from the first start to the last end that lies in no span; None where there is no time.

    >>> idle_share([(0, 2), (1, 3), (5, 6), (8, 10)])
    0.4
    """
    covered, begin, end = 0.0, None, 0.0
    for start, stop in sorted(spans):
        if begin is None:
            begin = end = start
        covered += max(0.0, stop - max(start, end))
        end = max(end, stop)
    if begin is None or end == begin:
        return None
    return 1 - covered / (end - begin)


class IdleMonitor:
    """Listens to what the device does while some steps of the first epochs run. On a CPU it does nothing.

    Each kernel and copy is taken down by the device itself (CUPTI), so that waiting inside a step counts as well as
    waiting for the next batch; nothing in the loop waits for the device. idle: the share, once it is known; None
    where nothing can be heard, as under a profiler of the caller's. spent: the seconds that listening took.
    """

    def __init__(
        self,
        device: torch.device,
        epoch: int = 1,
        *,
        recorder: Callable[[], "Recorder"] | None = None,
    ) -> None:
        self.idle: float | None = None
        self.spent = 0.0
        self._device = device
        self._begin = recorder or (Recorder if device.type == "cuda" and epoch <= _EPOCHS else None)
        self._recorder: Recorder | None = None

    def over(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """`batches` as they are; what is done between two of them is a step."""
        try:
            for step, batch in enumerate(batches):
                if step == _FROM:
                    self._listen()
                if step == _FROM + _STEPS:
                    self._hear()
                yield batch
        finally:
            self._hear()

    def _listen(self) -> None:
        if self._begin is not None:
            with self._aside():
                self._recorder = self._begin()

    def _hear(self) -> None:
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            if self._device.type == "cuda":
                torch.cuda.synchronize(
                    self._device
                )  # once an epoch, so that what is still queued is not cut off
            with self._aside():
                self.idle = idle_share(recorder.spans())

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """A figure for the log is no reason to end a training, nor to look slower."""
        start = time.monotonic()
        with suppress(RuntimeError):
            yield
        self.spent += time.monotonic() - start


class Recorder:
    """Takes down the work of the CUDA devices from now on."""

    def __init__(self) -> None:
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it would say on stderr that it begins and ends
        self._profile = torch.profiler.profile(
            activities=[torch.profiler.ProfilerActivity.CUDA], acc_events=True
        )
        self._profile.start()

    def spans(self) -> Spans:
        """(start, end) of each piece of work that was done until now, in microseconds; ends the recording."""
        self._profile.stop()
        return [
            (event.time_range.start, event.time_range.end)
            for event in self._profile.events() or ()
            if event.device_type == torch.autograd.DeviceType.CUDA
        ]
