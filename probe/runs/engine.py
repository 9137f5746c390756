"""Engines: what computes the chunks of a run: this process, worker processes, or Ray."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Literal

from pydantic import Field

from probe.device import usable_cores
from probe.errors import UserError
from probe.params import Parameters, validate
from probe.runs.pool import Pool
from probe.runs.processes import ProcessWorkers
from probe.runs.ray_workers import RayWorkers
from probe.runs.threads import single_thread


class Engine(Parameters):
    """What computes the chunks of a run: `local`, this process; `processes`, of this machine; `ray`, a cluster.

    Each worker computes with one thread. A result has the same bytes as one by `Engine(name="local", workers=1)`, this
    process with one thread.
    """

    name: Literal["local", "processes", "ray"] = Field(
        "local",
        description="where to compute: in this process (local), in worker processes, or on a Ray cluster",
    )
    workers: int = Field(
        0, ge=0, le=100_000, description="number of workers, with one thread each (0: one per core)"
    )
    address: str = Field(
        "", description="address of a Ray cluster, HOST:PORT or auto (default: start Ray on this machine)"
    )

    @classmethod
    def of(cls, given: "int | Engine | None") -> "Engine":
        """An engine from what functions take as `workers`: a number of worker processes, an Engine, or None."""
        if given is None or isinstance(given, Engine):
            return given or cls()
        if isinstance(given, bool) or not isinstance(given, int) or given < 1:
            raise UserError(f"workers must be a whole number of at least 1 or a probe.Engine, got {given!r}")
        return cls(name="processes", workers=given)

    @classmethod
    def chosen(cls, name: str | None, workers: int | None, address: str | None) -> "Engine":
        """The engine of the options of the command line, where --workers alone means processes."""
        default = "ray" if address else "local" if workers is None else "processes"
        return validate(cls, {"name": name or default, "workers": workers or 0, "address": address or ""})

    @contextmanager
    def open(self, *, cuda: bool) -> Iterator[Pool | None]:
        """The workers, which end with the block; None for this process. cuda: whether models compute on CUDA.

        Raises UserError for options that contradict each other, EngineError where there are no such workers.
        """
        if self.address and self.name != "ray":
            raise UserError(f"an address can only be set for the engine ray, not for {self.name}")
        if self.name == "local":
            if self.workers > 1:
                raise UserError(
                    f"the engine local has a single worker, got {self.workers}: choose processes or ray"
                )
            with single_thread() if self.workers else nullcontext():
                yield None
            return
        with single_thread(), self._pool(cuda=cuda) as pool:
            yield pool

    @contextmanager
    def _pool(self, *, cuda: bool) -> Iterator[Pool]:
        if self.name == "processes":
            count = self.workers or usable_cores()
            pool = Pool(ProcessWorkers(count, cuda=cuda), count)
            try:
                yield pool
            finally:
                pool.kill()
            return
        workers = RayWorkers(self.address, self.workers, cuda=cuda)
        try:
            yield Pool(workers, workers.size)
        finally:
            workers.close()
