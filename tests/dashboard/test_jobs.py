import sys
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


def test_a_job_that_exits_fails_and_leaves_its_worker(capsys: pytest.CaptureFixture[str]):
    jobs = Jobs()
    for _ in range(3):  # more than there are workers
        job = wait(jobs.submit("a", "exit", lambda display: sys.exit(3)))
        assert (job.status, job.error) == ("failed", "internal error: SystemExit: 3")
    assert wait(jobs.submit("b", "count", lambda display: 42)).result == 42
    assert "SystemExit" in capsys.readouterr().err


def test_a_running_job_is_cancelled_at_its_next_step_and_the_next_one_runs():
    jobs, started = Jobs(), threading.Event()
    job = jobs.submit("long", "long work", steps(started))
    other = jobs.submit("next", "next", lambda display: 2)
    assert started.wait(10)
    assert job.line.startswith("long work: steps ")
    assert 0 <= (job.display.fraction() or 0) < 1
    assert other.line == "waiting for other jobs"
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


def test_the_jobs_of_two_visitors_run_at_once_and_those_of_one_do_not():
    jobs, first, second, third = Jobs(), threading.Event(), threading.Event(), threading.Event()
    long = jobs.submit("a", "long", steps(first), visitor="ada")
    more = jobs.submit("b", "more", steps(second), visitor="ada")
    other = jobs.submit("c", "other", steps(third), visitor="bob")
    assert first.wait(10)
    assert third.wait(10)
    assert more.status == "waiting"
    jobs.leave(long, "ada")
    assert wait(long).status == "cancelled"
    assert second.wait(10)
    assert other.status == "running"
    jobs.leave(more, "ada")
    jobs.leave(other, "bob")
    assert (wait(more).status, wait(other).status) == ("cancelled", "cancelled")


def test_what_a_page_needs_does_not_wait_for_analyses():
    jobs, events = Jobs(), [threading.Event() for _ in range(2)]
    long = [
        jobs.submit(name, name, steps(event), visitor=name) for name, event in zip("ab", events, strict=True)
    ]
    assert all(event.wait(10) for event in events)
    assert wait(jobs.submit("q", "predictions", lambda display: 3, visitor="a", quick=True)).result == 3
    for job in long:
        jobs.cancel(job)
        wait(job)


def test_a_job_of_two_visitors_ends_when_both_have_cancelled_it():
    jobs, started = Jobs(), threading.Event()
    job = jobs.submit("a", "long", steps(started), visitor="ada")
    assert jobs.submit("a", "long", steps(started), visitor="bob") is job
    assert started.wait(10)
    jobs.leave(job, "ada")
    assert not job.display.cancelled.is_set()
    jobs.leave(job, "bob")
    assert wait(job).status == "cancelled"


def test_a_page_that_looks_through_the_visitors_of_a_job_is_not_disturbed_by_another_one():
    jobs, started = Jobs(), threading.Event()
    job = jobs.submit("a", "long", steps(started), visitor="ada")
    seen = []
    for visitor in job.visitors:
        jobs.submit("a", "long", steps(started), visitor="bob")
        seen.append(visitor)
    assert seen == ["ada"]
    jobs.cancel(job)
    assert wait(job).status == "cancelled"


def test_work_that_is_asked_for_again_while_it_stops_waits_for_its_end():
    jobs, started, free, running, most = Jobs(), threading.Event(), threading.Event(), [], []

    def work(display: object) -> None:
        running.append(1)
        most.append(len(running))
        started.set()
        free.wait(10)
        running.pop()
        display.section("the end")  # type: ignore[attr-defined]

    job = jobs.submit("a", "work", work, visitor="ada")
    assert started.wait(10)
    jobs.leave(job, "ada")
    again = jobs.submit("a", "work", work, visitor="bob")
    assert again is not job
    wait(
        jobs.submit("b", "other", lambda display: 1, visitor="carol")
    )  # a worker was free, and left it alone
    assert again.status == "waiting"
    free.set()
    assert wait(job).status == "cancelled"
    assert wait(again).status == "finished"
    assert most == [1, 1]


def test_of_what_pages_need_the_last_is_computed_first():
    jobs, free, order = Jobs(), threading.Event(), []
    started = [threading.Event() for _ in range(2)]

    def block(event: threading.Event) -> Callable[[object], None]:
        return lambda display: event.set() or (free.wait(10) and None)

    busy = [jobs.submit(f"busy {i}", "w", block(started[i]), visitor=str(i), quick=True) for i in range(2)]
    assert all(event.wait(10) for event in started)
    waiting = [
        jobs.submit(f"{i}", "w", lambda display, i=i: order.append(i), visitor="ada", quick=True)
        for i in range(3)
    ]
    free.set()
    for job in (*busy, *waiting):
        wait(job)
    assert order == [2, 1, 0]


def test_finished_jobs_are_listed_for_those_who_asked_and_only_the_latest_are_kept():
    from apps.jobs import _KEPT

    jobs, started = Jobs(), threading.Event()
    running = jobs.submit("running", "w", steps(started), visitor="eve")
    assert started.wait(10)
    for i in range(_KEPT + 3):
        wait(jobs.submit(str(i), "w", lambda display: 1, visitor="ada" if i % 2 else "bob"))
    wait(jobs.submit("quick", "w", lambda display: 1, visitor="ada", quick=True))
    assert jobs.get("running") is running
    assert [jobs.get(str(i)) is None for i in range(5)] == [True, True, True, False, False]
    for visitor, first in (("ada", 3), ("bob", 4)):
        mine = [str(i) for i in range(first, _KEPT + 3, 2)]
        assert [job.key for job in jobs.finished(visitor)] == mine[::-1]
    jobs.cancel(running)
    wait(running)
