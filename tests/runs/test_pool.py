"""The pool hands out chunks, and hands out again what a worker that was lost had in hand: with scripted workers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from probe.errors import UserError
from probe.runs import pool as pools
from probe.runs.inputs import Inputs
from probe.runs.job import RunJob
from probe.runs.messages import Done, Failed, Hello, Lost, Part, Task
from probe.runs.pool import EngineError, Pool
from probe.runs.progress import LineDisplay
from probe.runs.provenance import code_digest, versions
from probe.runs.store import RunDirectory
from tests.runs.chunky import Chunky


class Scripted:
    """Workers that reply what `play` says of the numbers of a worker and of a chunk; no processes."""

    def __init__(self, play: Any, greeting: Hello | Lost | None = None) -> None:
        self.play = play
        self.greeting = greeting or Hello("node-1", versions(), code_digest())
        self.replies: list[tuple[int, Any]] = []
        self.sent: list[tuple[int, Any]] = []
        self.started = self.killed = self.most = 0

    def start(self) -> int:
        self.started += 1
        self.replies.append((self.started, self.greeting))
        return self.started

    def share(self, message: Any) -> Any:
        return message

    def send(self, worker: int, shared: Sequence[Any]) -> None:
        self.sent += [(worker, message) for message in shared]
        self.replies.append((worker, self.play(worker, shared[-1])))

    def wait(self, seconds: float) -> Sequence[tuple[int, Any]]:
        self.most = max(self.most, len(self.replies))
        return [self.replies.pop(0)] if self.replies else []

    def kill(self) -> None:
        self.killed += 1


def done(worker: int, task: Task) -> Done:
    return Done(task, {"index": np.array([task.index])})


def test_a_chunk_that_ends_three_workers_is_given_up(inputs: Inputs) -> None:
    workers = Scripted(lambda w, task: Lost("killed by SIGKILL") if task.index == 1 else done(w, task))
    run = Pool(workers, 2).begin(Chunky(), inputs)
    with pytest.raises(
        UserError, match=r"3 workers exited while computing chunk 2 of 4 of 'a' \(killed by SIGKILL\)"
    ):
        list(run.map("a", 4, range(4)))
    tried = [message.index for _, message in workers.sent if isinstance(message, Task)]
    assert tried.count(1) == 3
    assert all(tried.count(index) <= 1 for index in (0, 2, 3))


def test_a_lost_worker_is_replaced_and_no_finished_chunk_computed_again(inputs: Inputs) -> None:
    lost: list[int] = []

    def play(worker: int, task: Task) -> Any:
        if task.index == 2 and not lost:
            lost.append(worker)
            return Lost("gone")
        return done(worker, task)

    workers = Scripted(play)
    finished = dict(Pool(workers, 2).begin(Chunky(), inputs).map("a", 5, range(5)))
    assert sorted(finished) == [0, 1, 2, 3, 4]
    tried = [message.index for _, message in workers.sent if isinstance(message, Task)]
    assert sorted(tried) == [0, 1, 2, 2, 3, 4]


def test_the_driver_holds_as_many_replies_as_there_are_workers_whatever_the_number_of_chunks(
    inputs: Inputs,
) -> None:
    workers = Scripted(done)
    assert len(list(Pool(workers, 3).begin(Chunky(), inputs).map("a", 500, range(500)))) == 500
    assert workers.most <= 3
    assert workers.started == 3


def test_a_new_worker_gets_the_groups_that_are_finished_and_a_known_one_only_what_is_new(
    inputs: Inputs,
) -> None:
    workers = Scripted(done)
    run = Pool(workers, 1).begin(Chunky(), inputs)
    for group in range(3):
        list(run.map(f"group {group}", 2, range(2)))
        run.finish(lambda: [{}, {}])
    kinds = [type(message).__name__ for _, message in workers.sent]
    assert kinds == ["Load", "Start", *["Task"] * 2, *["Finished", "Task", "Task"] * 2]


def test_a_worker_gets_the_groups_of_the_next_run_from_the_first_on(inputs: Inputs) -> None:
    workers = Scripted(done)
    pool = Pool(workers, 1)
    for _ in range(2):
        run = pool.begin(Chunky(), inputs)
        for group in range(2):
            list(run.map(f"group {group}", 1, [0]))
            run.finish(lambda: [{}])
    kinds = [type(message).__name__ for _, message in workers.sent]
    assert kinds == ["Load", *["Start", "Task", "Finished", "Task"] * 2]


def test_the_chunks_of_a_group_are_read_once_for_all_workers(inputs: Inputs) -> None:
    workers, reads = Scripted(done), []
    run = Pool(workers, 3).begin(Chunky(), inputs)
    for group in range(2):
        list(run.map(f"group {group}", 6, range(6)))
        run.finish(lambda: reads.append(1) or [{}] * 6)
    assert reads == [1]
    assert [type(message).__name__ for _, message in workers.sent].count("Finished") == 3


def test_a_worker_that_sends_a_part_is_told_to_go_on_with_its_task() -> None:
    class InParts(Scripted):
        """Each task has two parts, and a worker waits for a reply to each."""

        def send(self, worker: int, shared: Sequence[Any]) -> None:
            if shared:
                self.task, self.parts = shared[-1], 0
            self.parts += 1
            reply = Part(self.task, f"part {self.parts}", {}) if self.parts < 3 else done(worker, self.task)
            self.replies.append((worker, reply))

    tasks = [Task(1, 0, "a", 2, index) for index in range(2)]
    outcomes = list(Pool(InParts(done), 1).compute(tasks, lambda task, state: iter([task])))
    assert [type(outcome).__name__ for outcome in outcomes] == ["Part", "Part", "Done"] * 2
    assert [outcome.task for outcome in outcomes] == [*[tasks[0]] * 3, *[tasks[1]] * 3]


def test_starts_that_fail_now_and_then_are_tried_again(inputs: Inputs) -> None:
    class Moody(Scripted):
        """Two of three workers end before they are ready."""

        def start(self) -> int:
            worker = super().start()
            if worker % 3:
                self.replies[-1] = worker, Lost("exit code 1")
            return worker

    lost: list[int] = []

    def play(worker: int, task: Task) -> Any:
        if task.index and len(lost) < task.index:
            lost.append(worker)
            return Lost("gone")
        return done(worker, task)

    workers = Moody(play)
    assert len(list(Pool(workers, 1).begin(Chunky(), inputs).map("a", 3, range(3)))) == 3
    assert workers.started == 9


def test_workers_of_another_version_are_refused_with_what_differs(inputs: Inputs) -> None:
    other = Hello("node-7", {**versions(), "torch": "1.0"}, code_digest())
    with pytest.raises(EngineError, match=r"workers on node-7 have torch 1\.0 instead of .*install the same"):
        list(Pool(Scripted(done, other), 1).begin(Chunky(), inputs).map("a", 1, [0]))
    other = Hello("node-7", versions(), "0" * 64)
    with pytest.raises(EngineError, match="workers on node-7 have different source code of probe"):
        list(Pool(Scripted(done, other), 1).begin(Chunky(), inputs).map("a", 1, [0]))


def test_workers_that_do_not_start_are_reported(inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Scripted(done, Lost("exit code 1"))
    with pytest.raises(EngineError, match=r"workers exit during start-up \(exit code 1\)"):
        list(Pool(broken, 2).begin(Chunky(), inputs).map("a", 9, range(9)))
    assert broken.started <= 4
    monkeypatch.setattr(pools, "_PATIENCE", 0.0)
    silent = Scripted(done)
    silent.start = lambda: 1  # pyrefly: ignore[bad-assignment]
    with pytest.raises(EngineError, match="no worker has started"):
        list(Pool(silent, 1).begin(Chunky(), inputs).map("a", 1, [0]))


def test_leaving_the_loop_ends_the_workers(inputs: Inputs) -> None:
    workers = Scripted(done)
    run = Pool(workers, 2).begin(Chunky(), inputs)
    for _ in run.map("a", 10, range(10)):
        break
    assert workers.killed == 1


def test_failed_chunks_of_an_earlier_run_are_no_replies_to_the_next(inputs: Inputs) -> None:
    def play(worker: int, task: Task) -> Any:
        return Failed(task, ValueError("no")) if task.run == 1 else done(worker, task)

    pool = Pool(Scripted(play), 2)
    with pytest.raises(ValueError, match="no"):
        list(pool.begin(Chunky(), inputs).map("a", 4, range(4)))
    assert len(list(pool.begin(Chunky(), inputs).map("a", 4, range(4)))) == 4


def test_progress_counts_the_chunks_of_all_workers(inputs: Inputs, tmp_path: Path) -> None:
    lines: list[str] = []

    class Spy(LineDisplay):
        def advance(self, loop: int) -> None:
            super().advance(loop)
            lines.append(self.line())

    display = Spy()
    display.section("chunky")
    job = RunJob(
        0,
        display=display,
        store=RunDirectory(tmp_path).chunks("a", "key"),
        pool=Pool(Scripted(done), 3).begin(Chunky(), inputs),
    )
    chunks = job.chunks("a", range(4), lambda item, rng: {})
    assert [int(chunk["index"][0]) for chunk in chunks] == [0, 1, 2, 3]
    assert lines[-1].startswith("chunky: a 4 of 4")
