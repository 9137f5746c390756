import threading
import time
from collections.abc import Callable

import pytest

from apps.jobs import Job, Jobs
from probe.errors import UserError


def wait(job: Job, seconds: float = 10) -> Job:
    end = time.monotonic() + seconds
    while job.active and time.monotonic() < end:
        time.sleep(0.005)
    return job


def test_a_job_ends_with_its_result_and_the_same_key_gives_the_same_job():
    jobs, calls = Jobs(), []
    job = wait(jobs.submit("a", "count", lambda display: calls.append(1) or 42))
    assert (job.status, job.result) == ("finished", 42)
    assert jobs.submit("a", "count", lambda display: calls.append(1)) is job
    assert len(calls) == 1


def test_jobs_run_one_after_the_other():
    jobs, running, most = Jobs(), [], []

    def work(display: object) -> None:
        running.append(1)
        most.append(len(running))
        time.sleep(0.02)
        running.pop()

    for job in [jobs.submit(str(i), "w", work) for i in range(5)]:
        wait(job)
    assert most == [1] * 5


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("eps must lie in (0, 1]"), "eps must lie in (0, 1]"),
        (ZeroDivisionError("x"), "internal error: ZeroDivisionError: x"),
    ],
)
def test_a_job_that_fails_has_one_line_and_can_run_again(
    error: Exception, line: str, capsys: pytest.CaptureFixture[str]
):
    jobs = Jobs()

    def fail(display: object) -> None:
        raise error

    job = wait(jobs.submit("a", "fails", fail))
    assert (job.status, job.error) == ("failed", line)
    assert wait(jobs.submit("a", "works", lambda display: 1)).status == "finished"


def steps(started: threading.Event) -> Callable[..., int]:
    """Work of many steps that says when it is in its first."""

    def work(display: object) -> int:
        loop = display.start("steps", 100_000)  # type: ignore[attr-defined]
        for _ in range(100_000):
            started.set()
            time.sleep(0.001)
            display.advance(loop)  # type: ignore[attr-defined]
        return 1

    return work


def test_a_running_job_is_cancelled_at_its_next_step_and_the_next_one_runs():
    jobs, started = Jobs(), threading.Event()
    job = jobs.submit("long", "long work", steps(started))
    other = jobs.submit("next", "next", lambda display: 2)
    assert started.wait(10)
    assert job.line.startswith("long work: steps ")
    assert 0 <= (job.display.fraction() or 0) < 1
    assert other.line == "waiting for other work"
    jobs.cancel(job)
    assert wait(job).status == "cancelled"
    assert wait(other).result == 2


def test_a_waiting_job_that_is_cancelled_never_starts():
    jobs, started, calls = Jobs(), threading.Event(), []
    job = jobs.submit("long", "long", steps(started))
    waiting = jobs.submit("b", "b", lambda display: calls.append(1))
    assert started.wait(10)
    jobs.cancel(waiting)
    jobs.cancel(job)
    assert wait(waiting).status == "cancelled"
    assert not calls


def test_finished_jobs_are_forgotten_beyond_a_limit():
    jobs = Jobs()
    for i in range(60):
        wait(jobs.submit(str(i), "w", lambda display: 0))
    assert jobs.get("0") is None
    assert jobs.get("59") is not None


def test_what_a_cancelled_job_still_writes_is_written():
    jobs, started, written = Jobs(), threading.Event(), []

    def work(display: object) -> None:
        try:
            steps(started)(display)
        except KeyboardInterrupt:
            display.section("writing the page")  # type: ignore[attr-defined]
            written.append(1)
            raise

    job = jobs.submit("long", "long", work)
    assert started.wait(10)
    jobs.cancel(job)
    assert wait(job).status == "cancelled"
    assert written
