"""For what share of the time does a CUDA device wait for work? Looked at for some steps of each epoch."""

import os
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch

Batch = TypeVar("Batch")
Spans = list[tuple[float, float]]

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


class Watch:
    """Listens to what the device does while the steps of an epoch run. On a CPU it does nothing.

    Each kernel and copy is taken down by the device itself (CUPTI), so that waiting inside a step counts as well as
    waiting for the next batch; nothing in the loop waits for the device. idle: the share, once it is known.
    """

    def __init__(self, device: torch.device, *, recorder: Callable[[torch.device], "Recorder"] | None = None):
        self.idle: float | None = None
        self._device = device
        self._recorder = recorder or (Recorder if device.type == "cuda" else None)

    def over(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """`batches` as they are; what is done between two of them is a step."""
        recorder = None
        try:
            for step, batch in enumerate(batches):
                if self._recorder is not None and step == _FROM:
                    recorder = self._recorder(self._device)
                if recorder is not None and step == _FROM + _STEPS:
                    self.idle, recorder = idle_share(recorder.spans()), None
                yield batch
        finally:
            if recorder is not None:
                self.idle = idle_share(recorder.spans())


class Recorder:
    """Takes down the work of a device from now on."""

    def __init__(self, device: torch.device) -> None:
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it would say on stderr that it begins and ends
        self._device = device
        self._profile = torch.profiler.profile(
            activities=[torch.profiler.ProfilerActivity.CUDA], acc_events=True
        )
        self._profile.start()

    def spans(self) -> Spans:
        """(start, end) of each piece of work until now, in microseconds; ends the recording."""
        torch.cuda.synchronize(self._device)  # once an epoch, so that what is still queued is not cut off
        self._profile.stop()
        return [
            (event.time_range.start, event.time_range.end)
            for event in self._profile.events() or ()
            if event.device_type == torch.autograd.DeviceType.CUDA
        ]
