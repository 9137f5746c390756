"""Long work in the background: progress as a line, cancellation by who asked for it, results by key."""

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
_WORKERS = 2  # so that one visitor's long analysis leaves room for another's


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
    """One piece of work. visitors: who asked for it; error: one line, for a job that failed.

    quick: needed to show a page, and does not wait for analyses.
    """

    key: str
    title: str
    work: Callable[[_JobDisplay], Any]
    visitors: frozenset[str] = frozenset()  # replaced, not changed: pages read it without a lock
    quick: bool = False
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
            return "stopping after this step"
        return "waiting for other jobs" if self.status == "waiting" else self.display.line()


class Jobs:
    """The jobs of this server: those of one visitor run one after the other, those of two visitors at once.

    Quick jobs have workers of their own, which take the last first: it is what a page shows now.
    """

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._running: list[Job] = []  # also those that are stopping while the same work is asked for again
        self._changed = threading.Condition()
        for number in range(2 * _WORKERS):
            quick = number >= _WORKERS
            threading.Thread(
                target=self._work, args=(quick,), daemon=True, name=f"probe-jobs-{number}"
            ).start()

    def submit(
        self,
        key: str,
        title: str,
        work: Callable[[_JobDisplay], Any],
        *,
        visitor: str = "",
        quick: bool = False,
    ) -> Job:
        """The job with this key: the one that exists, unless it failed or was cancelled, else a new one."""
        with self._changed:
            job = self._jobs.get(key)
            ended = job is not None and job.status in ("failed", "cancelled")
            if job is not None and not ended and not job.display.cancelled.is_set():
                job.visitors |= {visitor}
                return job
            job = Job(key, title, work, frozenset([visitor]), quick)
            self._jobs[key] = job
            self._jobs.move_to_end(key)
            for old in [k for k, other in self._jobs.items() if not other.active][:-_KEPT]:
                del self._jobs[old]
            self._changed.notify_all()
        return job

    def get(self, key: str) -> Job | None:
        return self._jobs.get(key)

    def active(self) -> list[Job]:
        return [job for job in list(self._jobs.values()) if job.active]

    def finished(self, visitor: str) -> list[Job]:
        """The analyses of a visitor that have ended with a result, the last first."""
        jobs = [job for job in list(self._jobs.values()) if job.status == "finished" and not job.quick]
        return [job for job in reversed(jobs) if visitor in job.visitors]

    def cancel(self, job: Job) -> None:
        """Stop the job at its next step, or at once if it waits."""
        with self._changed:
            job.display.cancelled.set()
            if job.status == "waiting":
                job.end("cancelled")

    def leave(self, job: Job, visitor: str) -> None:
        """Cancel the job for a visitor: it goes on if another one has asked for it as well."""
        with self._changed:
            others = job.visitors - {visitor}
            if others:
                job.visitors = others
            else:
                self.cancel(job)

    def _next(self, quick: bool) -> Job | None:
        """The first job that may start: that of a visitor for whom no other analysis runs."""
        running = [job for job in self._running if job.quick == quick]
        busy = set().union(*(job.visitors for job in running))
        stopping = {job.key for job in running}
        for job in reversed(self._jobs.values()) if quick else self._jobs.values():
            waits = job.status == "waiting" and job.quick == quick
            if waits and not job.visitors & busy and job.key not in stopping:
                return job
        return None

    def _work(self, quick: bool) -> None:
        while True:
            with self._changed:
                while (job := self._next(quick)) is None:
                    self._changed.wait()
                job.status = "running"
                self._running.append(job)
            self._run(job)
            with self._changed:
                self._running.remove(job)
                self._changed.notify_all()

    @staticmethod
    def _run(job: Job) -> None:
        try:
            job.display.section(job.title)
            job.result = job.work(job.display)
            job.end("finished")
        except KeyboardInterrupt:
            job.end("cancelled")
        except (UserError, OSError) as error:
            job.error = str(error)
            job.end("failed")
        except (Exception, SystemExit) as error:
            # The code of a network may exit, which would end this worker.
            traceback.print_exc()
            job.error = f"internal error: {type(error).__name__}: {error}"
            job.end("failed")
