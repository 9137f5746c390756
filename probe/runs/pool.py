"""A pool of workers: hands out the chunks of a run, and hands out again what a worker that was lost had in hand."""

import itertools
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol

from probe.analyses.analysis import Analysis
from probe.errors import UserError
from probe.exhibits.wording import listed
from probe.model.model import Model
from probe.runs.inputs import Inputs
from probe.runs.messages import (
    Done,
    Failed,
    Finished,
    Hello,
    Load,
    Lost,
    ModelSpec,
    Outcome,
    Part,
    Reply,
    Start,
    Task,
)
from probe.runs.provenance import code_digest, versions
from probe.runs.store import Arrays

TRIES = 3
"""Workers that a chunk may cost before it is given up."""

_POLL = 0.5  # seconds
_PATIENCE = 180.0  # seconds without any worker


class EngineError(UserError):
    """Workers cannot be had, or cannot work: no analysis that needs them can run."""


class Workers(Protocol):
    """Workers by their number, wherever they are."""

    def start(self) -> int:
        """Start another worker and return its number; its first reply is Hello."""
        ...

    def share(self, message: Any) -> Any:
        """`message` prepared for sending it to several workers."""
        ...

    def send(self, worker: int, shared: Sequence[Any]) -> None:
        """Send shared messages, of which the last is a Task or Whole, or none: the worker replies once more."""
        ...

    def wait(self, seconds: float) -> Sequence[tuple[int, Reply]]:
        """The replies that have come, at least one unless `seconds` pass without any."""
        ...

    def kill(self) -> None:
        """End all workers at once."""
        ...


@dataclass
class State:
    """What a worker has been sent: the number of its models and images and of its run, the groups it is past, and its task."""

    ready: bool = False
    load: int = 0
    run: int = 0
    groups: int = 0
    task: Task | None = None


class Pool:
    """At most `size` of `workers`, which are started when there is work for them."""

    def __init__(self, workers: Workers, size: int) -> None:
        self._workers, self.size = workers, size
        self._states: dict[int, State] = {}
        self._numbers = itertools.count(1)
        self._failed_starts = 0
        self._last_ready = time.monotonic()
        self._load: tuple[Inputs | None, int, Any] = None, 0, None

    def begin(self, analysis: Analysis, inputs: Inputs) -> "PoolRun":
        """The pool for a run of `analysis` whose chunks are computed by all workers.

        Raises EngineError for an analysis or a model that workers cannot load.
        """
        require_importable(analysis)
        return PoolRun(self, next(self._numbers), self.load(inputs), self.share(Start(analysis, inputs.seed)))

    def load(self, inputs: Inputs) -> "tuple[int, Any]":
        """The number and the shared message of the models and images of `inputs`."""
        if inputs is not self._load[0]:
            specs = tuple(_model_spec(model) for model in (inputs.model, *inputs.compare_to))
            self._load = inputs, next(self._numbers), self.share(Load(specs, inputs.images))
        return self._load[1:]

    def kill(self) -> None:
        """End all workers at once; later work starts new ones."""
        self._states.clear()
        self._workers.kill()

    def share(self, message: Any) -> Any:
        return self._workers.share(message)

    def compute(
        self, tasks: Iterable[Task], messages: "Callable[[Task, State], Iterator[Any]]"
    ) -> Generator[Outcome, None, None]:
        """Yield the outcomes of `tasks`, which are taken as workers become free. Leaving this early ends the workers.

        messages: what a worker in this state is sent for a task. Raises UserError for a task that ended several workers.
        """
        coming, waiting = iter(tasks), deque[Task]()
        given: set[Task] = set()
        lost = Counter[Task]()
        try:
            while True:
                waiting += itertools.islice(coming, max(0, self.size - len(waiting)))
                if not waiting and not given:
                    return
                self._start_workers(len(waiting) + len(given))
                self._hand_out(waiting, given, messages)
                for worker, reply in self._replies():
                    if isinstance(reply, Lost):
                        task = self._states.pop(worker).task
                        if task in given:
                            lost[task] += 1
                            if lost[task] == TRIES:
                                raise UserError(
                                    f"{TRIES} workers exited while computing chunk {task.index + 1} of {task.count} of {task.name!r} "
                                    f"({reply.reason}): use fewer workers if memory is short"
                                )
                            given.remove(task)
                            waiting.appendleft(task)
                    elif not isinstance(reply, Hello) and reply.task in given:
                        if not isinstance(reply, Part):
                            given.remove(reply.task)
                        yield reply
        except (KeyboardInterrupt, GeneratorExit):
            self.kill()
            raise

    def _start_workers(self, needed: int) -> None:
        while len(self._states) < min(self.size, needed):
            self._states[self._workers.start()] = State()

    def _hand_out(
        self, waiting: deque[Task], given: set[Task], messages: "Callable[[Task, State], Iterator[Any]]"
    ) -> None:
        for worker, state in self._states.items():
            if waiting and state.ready and state.task is None:
                state.task = waiting.popleft()
                given.add(state.task)
                self._workers.send(worker, list(messages(state.task, state)))

    def _replies(self) -> Iterator[tuple[int, Reply]]:
        """The next replies of present workers. Raises EngineError for workers of another version, and where none start."""
        for worker, reply in self._workers.wait(_POLL):
            state = self._states.get(worker)
            if state is None:
                continue
            if isinstance(reply, Hello):
                _require_same_code(reply)
                state.ready, self._failed_starts = True, 0
            elif isinstance(reply, Part):
                self._workers.send(worker, [])
            elif not isinstance(reply, Lost):
                state.task = None
            elif not state.ready:
                self._failed_starts += 1
                if self._failed_starts == TRIES:
                    raise EngineError(f"workers exit during start-up ({reply.reason})")
            yield worker, reply
        if any(state.ready for state in self._states.values()):
            self._last_ready = time.monotonic()
        elif time.monotonic() - self._last_ready > _PATIENCE:
            raise EngineError(
                f"no worker has started for {_PATIENCE:.0f} seconds: are all nodes busy or gone?"
            )


class PoolRun:
    """The run of one analysis whose chunks a pool computes, and the groups of chunks that are finished."""

    def __init__(self, pool: Pool, number: int, load: tuple[int, Any], start: Any) -> None:
        self._pool, self._number, self._load, self._start = pool, number, load, start
        self._finished: list[Callable[[], list[Arrays]]] = []
        self._latest: tuple[int, Any] = (-1, None)

    def map(self, name: str, count: int, indices: Sequence[int]) -> Generator[tuple[int, Arrays], None, None]:
        """Compute the chunks `indices` of the `count` chunks called `name`; yields each when it is finished."""
        tasks = [Task(self._number, len(self._finished), name, count, index) for index in indices]
        with closing(self._pool.compute(tasks, self._messages)) as outcomes:
            for outcome in outcomes:
                if isinstance(outcome, Failed):
                    raise outcome.error
                assert isinstance(outcome, Done)
                yield outcome.task.index, outcome.arrays

    def finish(self, chunks: Callable[[], list[Arrays]]) -> None:
        """All chunks of the group are finished; `chunks` gives them to workers that continue with them."""
        self._finished.append(chunks)

    def _messages(self, task: Task, state: State) -> Iterator[Any]:
        """What a worker has not been sent yet: models and images, the run, groups of chunks that are finished, the task."""
        if state.load != self._load[0]:
            state.load, state.run = self._load[0], 0
            yield self._load[1]
        if state.run != self._number:
            state.run, state.groups = self._number, 0
            yield self._start
        while state.groups < len(self._finished):
            yield self._group(state.groups)
            state.groups += 1
        yield self._pool.share(task)

    def _group(self, number: int) -> Any:
        """The chunks of a group that is finished; those of the latest one that was asked for are stored."""
        if self._latest[0] != number:
            self._latest = number, self._pool.share(Finished(self._finished[number]()))
        return self._latest[1]


def require_importable(analysis: Analysis) -> None:
    """Raise EngineError for an analysis that a worker cannot import."""
    if type(analysis).__module__ == "__main__":
        raise EngineError(
            f"{analysis.name} is defined in the main program, from which workers cannot import it: move it to a module, "
            "or run it without workers"
        )


def _model_spec(model: Model) -> ModelSpec:
    if model.spec is None:
        raise EngineError(
            f"{model.name} exists only in this process, where workers cannot load it: run it without workers, or save it "
            "as a folder (`probe adopt`) and load that"
        )
    if model.device.type == "cpu":
        return ModelSpec(model.spec, model.digest, "cpu", ())
    batches = tuple(sorted(model.fix_batches().items()))
    return ModelSpec(model.spec, model.digest, model.device.type, batches)


def _require_same_code(worker: Hello) -> None:
    """Raise EngineError, with what differs, unless a worker has the versions and the code of this process."""
    mine = versions()
    differing = [
        f"{name} {worker.versions.get(name, 'missing')} instead of {mine.get(name, 'none')}"
        for name in sorted(mine.keys() | worker.versions.keys())
        if worker.versions.get(name) != mine.get(name)
    ]
    if not differing and worker.code != code_digest():
        differing = ["different source code of probe with the same version number"]
    if differing:
        raise EngineError(
            f"the workers on {worker.node} have {listed(differing)}: install the same versions there as here"
        )
