"""The fraction of time in which a CUDA device is idle, measured over some steps of the first epochs."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

import torch

Batch = TypeVar("Batch")
Intervals = list[tuple[float, float]]

_MONITORED_EPOCHS = 2  # later ones are no different, and evaluating a recording takes time
_FIRST_STEP, _MONITORED_STEPS = 5, 8  # no work is queued yet before the first steps of an epoch


def idle_fraction(intervals: Iterable[tuple[float, float]]) -> float | None:
    """The fraction of the time from the first start to the last end that no interval covers; None for no time.

    >>> idle_fraction([(0, 2), (1, 3), (5, 6), (8, 10)])
    0.4
    """
    covered, begin, end = 0.0, None, 0.0
    for start, stop in sorted(intervals):
        if begin is None:
            begin = end = start
        covered += max(0.0, stop - max(start, end))
        end = max(end, stop)
    if begin is None or end == begin:
        return None
    return 1 - covered / (end - begin)


class IdleMonitor:
    """Records the device during some steps of the first epochs. On a CPU it does nothing.

    The device records its kernels and copies itself (CUPTI), so that idle time within a step counts as well as
    between batches; the training loop does not wait for the device. idle: the fraction, once it is known; None where
    nothing can be recorded, as under a profiler of the caller's. overhead: seconds that the recording took.
    """

    def __init__(
        self,
        device: torch.device,
        epoch: int = 1,
        *,
        recorder: Callable[[], "Recorder"] | None = None,
    ) -> None:
        self.idle: float | None = None
        self.overhead = 0.0
        self._device = device
        monitored = device.type == "cuda" and epoch <= _MONITORED_EPOCHS
        self._make_recorder = recorder or (Recorder if monitored else None)
        self._recorder: Recorder | None = None

    def watch(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """`batches` as they are; the work between two of them is a step."""
        try:
            for step, batch in enumerate(batches):
                if step == _FIRST_STEP:
                    self._start()
                if step == _FIRST_STEP + _MONITORED_STEPS:
                    self._stop()
                yield batch
        finally:
            self._stop()

    def _start(self) -> None:
        if self._make_recorder is not None:
            with self._tolerant():
                self._recorder = self._make_recorder()

    def _stop(self) -> None:
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            if self._device.type == "cuda":
                # Once an epoch, so that the work still queued is recorded too.
                torch.cuda.synchronize(self._device)
            with self._tolerant():
                self.idle = idle_fraction(recorder.intervals())

    @contextmanager
    def _tolerant(self) -> Iterator[None]:
        """Suppress errors of the profiler and count its time: a diagnostic must not end or slow down a training."""
        start = time.monotonic()
        with suppress(RuntimeError):
            yield
        self.overhead += time.monotonic() - start


class Recorder:
    """Records the work of the CUDA devices from now on."""

    def __init__(self) -> None:
        self._quiet = "KINETO_LOG_LEVEL" not in os.environ
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # otherwise it logs its start and end to stderr
        self._profile = torch.profiler.profile(
            activities=[torch.profiler.ProfilerActivity.CUDA], acc_events=True
        )
        self._profile.start()

    def intervals(self) -> Intervals:
        """(start, end) of each kernel and copy until now, in microseconds; ends the recording."""
        self._profile.stop()
        if self._quiet:
            os.environ.pop("KINETO_LOG_LEVEL", None)
        return [
            (event.time_range.start, event.time_range.end)
            for event in self._profile.events() or ()
            if event.device_type == torch.autograd.DeviceType.CUDA
        ]
