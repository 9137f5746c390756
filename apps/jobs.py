"""Long work in the background: one worker, progress as a line, cancellation, results by key."""

import queue
import threading
import traceback
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from probe.errors import UserError
from probe.runs.progress import LineDisplay

Status = Literal["waiting", "running", "finished", "failed", "cancelled"]
_KEPT = 40  # finished jobs; their results are also in the run directories


class Cancelled(KeyboardInterrupt):
    """The job was cancelled: analyses stop as they do after Ctrl-C, and keep what is finished."""


class _JobDisplay(LineDisplay):
    """The progress of a job as a line; raises Cancelled at the next step once the job is cancelled.

    Only once, as Ctrl-C does: what stops may report on what it still has to write.
    """

    def __init__(self) -> None:
        super().__init__()
        self.cancelled = threading.Event()
        self._stopping = False

    def section(self, name: str) -> None:
        self._stop_if_cancelled()
        super().section(name)

    def start(self, what: str, total: int | None) -> int:
        self._stop_if_cancelled()
        return super().start(what, total)

    def advance(self, loop: int) -> None:
        super().advance(loop)
        self._stop_if_cancelled()

    def fraction(self) -> float | None:
        """The finished fraction of the first open loop, if its length is known."""
        loop = next(iter(self._loops.copy().values()), None)
        return min(1.0, loop.done / loop.total) if loop and loop.total else None

    def _stop_if_cancelled(self) -> None:
        if self.cancelled.is_set() and not self._stopping:
            self._stopping = True
            raise Cancelled("cancelled")


@dataclass
class Job:
    """One piece of work. error: one line, for a job that failed."""

    key: str
    title: str
    work: Callable[[_JobDisplay], Any]
    status: Status = "waiting"
    result: Any = None
    error: str = ""
    display: _JobDisplay = field(default_factory=_JobDisplay)
    _ended: threading.Event = field(default_factory=threading.Event)

    def wait(self, seconds: float) -> bool:
        """Whether it has ended, at the latest after so many seconds."""
        return self._ended.wait(seconds)

    def end(self, status: Status) -> None:
        """Set how it ended."""
        self.status = status
        self._ended.set()

    @property
    def active(self) -> bool:
        return self.status in ("waiting", "running")

    @property
    def line(self) -> str:
        """What it does now."""
        if self.display.cancelled.is_set():
            return "stopping at the next step"
        return "waiting for other work" if self.status == "waiting" else self.display.line()


class Jobs:
    """The jobs of this server. They run one after the other, whoever asked for them."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._queue: queue.Queue[Job] = queue.Queue()
        self._lock = threading.Lock()
        threading.Thread(target=self._work, daemon=True, name="probe-jobs").start()

    def submit(self, key: str, title: str, work: Callable[[_JobDisplay], Any]) -> Job:
        """The job with this key: the one that exists, unless it failed or was cancelled, else a new one."""
        with self._lock:
            job = self._jobs.get(key)
            if job is not None and job.status not in ("failed", "cancelled"):
                return job
            job = Job(key, title, work)
            self._jobs[key] = job
            self._jobs.move_to_end(key)
            for old in [k for k, other in self._jobs.items() if not other.active][:-_KEPT]:
                del self._jobs[old]
        self._queue.put(job)
        return job

    def get(self, key: str) -> Job | None:
        return self._jobs.get(key)

    def active(self) -> list[Job]:
        return [job for job in list(self._jobs.values()) if job.active]

    @staticmethod
    def cancel(job: Job) -> None:
        """Stop the job at its next step, or at once if it waits."""
        job.display.cancelled.set()
        if job.status == "waiting":
            job.end("cancelled")

    def _work(self) -> None:
        while True:
            job = self._queue.get()
            if job.display.cancelled.is_set():
                job.end("cancelled")
                continue
            job.status = "running"
            try:
                job.display.section(job.title)
                job.result = job.work(job.display)
                job.end("finished")
            except KeyboardInterrupt:
                job.end("cancelled")
            except (UserError, OSError) as error:
                job.error = str(error)
                job.end("failed")
            except Exception as error:
                traceback.print_exc()
                job.error = f"internal error: {type(error).__name__}: {error}"
                job.end("failed")
