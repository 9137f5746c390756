"""A pool of workers: hands out the chunks of a run, and hands out again what a worker that was lost had in hand."""

import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from probe.analyses.analysis import Analysis
from probe.errors import UserError
from probe.exhibits.wording import listed
from probe.model.model import Model
from probe.runs.inputs import Inputs
from probe.runs.messages import Done, Failed, Finished, Hello, Load, Lost, ModelSpec, Start, Task
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
        """Send shared messages, the last of which is a Task: that worker replies once."""
        ...

    def wait(self, seconds: float) -> Sequence[tuple[int, Hello | Done | Failed | Lost]]:
        """The replies that have come, at least one unless `seconds` pass without any."""
        ...

    def kill(self) -> None:
        """End all workers at once."""
        ...


@dataclass
class _State:
    """What a worker has been sent: the number of its models and images and of its run, the groups it is past, and its task."""

    ready: bool = False
    load: int = 0
    run: int = 0
    groups: int = 0
    task: Task | None = None


class Pool:
    """At most `size` of `workers`, which are started when there are chunks for them."""

    def __init__(self, workers: Workers, size: int) -> None:
        self._workers, self.size = workers, size
        self._states: dict[int, _State] = {}
        self._inputs: Inputs | None = None
        self._load: Any = None
        self._counts = Counter[str]()
        self._failed_starts = 0
        self._last_ready = time.monotonic()

    def begin(self, analysis: Analysis, inputs: Inputs) -> "PoolRun":
        """The pool for a run of `analysis`.

        Raises EngineError for an analysis or a model that workers cannot load.
        """
        if type(analysis).__module__ == "__main__":
            raise EngineError(
                f"{analysis.name} is defined in the running program, where workers cannot import it: put it into a file, "
                "or run it without workers"
            )
        if inputs is not self._inputs:
            specs = tuple(_model_spec(model) for model in (inputs.model, *inputs.compare_to))
            self._inputs, self._load = inputs, self._workers.share(Load(specs, inputs.images))
            self._counts["load"] += 1
        self._counts["run"] += 1
        return PoolRun(self, self._counts["run"], self._workers.share(Start(analysis, inputs.seed)))

    def kill(self) -> None:
        """End all workers at once; later chunks start new ones."""
        self._states.clear()
        self._workers.kill()

    def share(self, message: Any) -> Any:
        return self._workers.share(message)

    def compute(self, run: "PoolRun", tasks: Sequence[Task]) -> Generator[tuple[int, Arrays], None, None]:
        """Yield the index and arrays of each task when it is done. Leaving this early ends the workers."""
        waiting, left, lost = deque(tasks), set(tasks), Counter[Task]()
        try:
            while left:
                self._start_workers(len(left))
                self._hand_out(run, waiting)
                for worker, reply in self._replies():
                    if isinstance(reply, Lost):
                        task = self._states.pop(worker).task
                        if task in left:
                            lost[task] += 1
                            if lost[task] == TRIES:
                                raise UserError(
                                    f"chunk {task.index + 1} of {task.count} of {task.name!r} ended {TRIES} workers "
                                    f"({reply.reason}): is there enough memory for that many workers?"
                                )
                            waiting.appendleft(task)
                    elif not isinstance(reply, Hello) and reply.task in left:
                        if isinstance(reply, Failed):
                            raise reply.error
                        left.remove(reply.task)
                        yield reply.task.index, reply.arrays
        except (KeyboardInterrupt, GeneratorExit):
            self.kill()
            raise

    def _start_workers(self, needed: int) -> None:
        while len(self._states) < min(self.size, needed):
            self._states[self._workers.start()] = _State()

    def _hand_out(self, run: "PoolRun", waiting: deque[Task]) -> None:
        for worker, state in self._states.items():
            if waiting and state.ready and state.task is None:
                state.task = waiting.popleft()
                messages = list(self._news(run, state))
                self._workers.send(worker, [*messages, self.share(state.task)])

    def _news(self, run: "PoolRun", state: _State) -> Iterator[Any]:
        """What a worker has not been sent yet: models and images, the run, and the groups of chunks that are finished."""
        if state.load != self._counts["load"]:
            state.load, state.run = self._counts["load"], 0
            yield self._load
        if state.run != run.number:
            state.run, state.groups = run.number, 0
            yield run.start
        while state.groups < run.groups:
            yield run.group(state.groups)
            state.groups += 1

    def _replies(self) -> Iterator[tuple[int, Hello | Done | Failed | Lost]]:
        """The next replies of present workers. Raises EngineError for workers of another version, and where none start."""
        for worker, reply in self._workers.wait(_POLL):
            state = self._states.get(worker)
            if state is None:
                continue
            if isinstance(reply, Hello):
                _require_same_code(reply)
                state.ready, self._failed_starts = True, 0
            elif not isinstance(reply, Lost):
                state.task = None
            elif not state.ready:
                self._failed_starts += 1
                if self._failed_starts == TRIES:
                    raise EngineError(f"workers end while they start ({reply.reason})")
            yield worker, reply
        if any(state.ready for state in self._states.values()):
            self._last_ready = time.monotonic()
        elif time.monotonic() - self._last_ready > _PATIENCE:
            raise EngineError(
                f"no worker has started for {_PATIENCE:.0f} seconds: are all nodes busy or gone?"
            )


class PoolRun:
    """The run of one analysis by a pool: its number, its Start as it is shared, and the groups that are finished."""

    def __init__(self, pool: Pool, number: int, start: Any) -> None:
        self._pool, self.number, self.start = pool, number, start
        self._chunks: list[Callable[[], list[Arrays]]] = []
        self._latest: tuple[int, Any] = (-1, None)

    @property
    def groups(self) -> int:
        """The number of groups that are finished."""
        return len(self._chunks)

    def map(self, name: str, count: int, indices: Sequence[int]) -> Generator[tuple[int, Arrays], None, None]:
        """Compute the chunks `indices` of the `count` chunks called `name`; yields each when it is finished."""
        return self._pool.compute(
            self, [Task(self.number, self.groups, name, count, index) for index in indices]
        )

    def finish(self, chunks: Callable[[], list[Arrays]]) -> None:
        """All chunks of the group are finished; `chunks` gives them to workers that continue with them."""
        self._chunks.append(chunks)

    def group(self, number: int) -> Any:
        """The chunks of a group that is finished, as they are shared; only the latest are kept."""
        if self._latest[0] != number:
            self._latest = number, self._pool.share(Finished(self._chunks[number]()))
        return self._latest[1]


def _model_spec(model: Model) -> ModelSpec:
    if model.spec is None:
        raise EngineError(
            f"{model.name} exists in this process alone, where workers cannot load it: run it without workers, or save it "
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
        differing = ["another source of probe, though of the same version"]
    if differing:
        raise EngineError(
            f"the workers on {worker.node} have {listed(differing)}: install the same there as here"
        )
