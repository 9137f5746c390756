"""The job of a run: seeded random numbers, progress, further models, and chunks that are stored as they are computed."""

import hashlib
import os
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Protocol, TypeVar

import numpy as np
import torch

from probe.model.model import Model
from probe.runs.progress import Display
from probe.runs.store import Chunks

T = TypeVar("T")
Arrays = dict[str, np.ndarray]


def generator(*seeds: object) -> torch.Generator:
    """A CPU generator whose stream depends on `seeds` alone."""
    number = int.from_bytes(hashlib.sha256(repr(seeds).encode()).digest()[:8], "big") >> 1
    return torch.Generator().manual_seed(number)


class ChunkPool(Protocol):
    """Workers that compute the chunks of one run of an analysis."""

    def map(self, name: str, count: int, indices: Sequence[int]) -> Generator[tuple[int, Arrays], None, None]:
        """Compute the chunks `indices` of the `count` chunks called `name`; yields each when it is finished."""
        ...

    def finish(self, chunks: Callable[[], list[Arrays]]) -> None:
        """All chunks of the group are finished; `chunks` gives them to workers that continue with them."""
        ...


class RunJob:
    """The Job (`analyses/job.py`) that probe's own runs pass to an analysis.

    display: receives the progress, or None for none. store: where finished chunks are kept, if anywhere. pool: workers
    that compute the chunks, which takes a store, or None to compute them here.
    """

    def __init__(
        self,
        seed: int,
        *,
        compare_to: Sequence[Model] = (),
        display: Display | None = None,
        store: Chunks | None = None,
        pool: ChunkPool | None = None,
    ) -> None:
        self._seed = seed
        self.rng = generator(seed)
        self.compare_to = tuple(compare_to)
        self._display = display
        self._store = store
        self._pool = pool

    def seed(self, below: int = 2**31) -> int:
        """A whole number in [0, below), drawn from `rng`, for functions that take a seed."""
        return int(torch.randint(below, (1,), generator=self.rng))

    def progress(self, items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
        """Yield `items` one by one, and show the progress of `total` steps labelled `what`."""
        if self._display is None:
            yield from items
            return
        if total is None:
            total = len(items) if isinstance(items, Sequence) else None
        loop = self._display.start(what, total)
        try:
            for item in items:
                yield item
                self._display.advance(loop)
        finally:
            self._display.finish(loop)

    def chunks(
        self, name: str, items: Sequence[T], compute: Callable[[T, torch.Generator], Arrays]
    ) -> list[Arrays]:
        """compute(item, rng) for each item, here or on workers; the run stores each as soon as it is finished.

        The names of stored chunks contain the number of items: on CUDA the size of a batch follows the free memory,
        and a resumed run with other batches must not load them.
        """
        results: dict[int, Arrays] = {}
        finished = self._finished_chunks(name, items, compute)
        with closing(finished):  # at once, so that workers stop with the run
            alone = len(items) == 1 and self._pool is None  # its own loops show how far it is
            results.update(finished if alone else self.progress(finished, name, total=len(items)))
        self.reseed(name, "end")
        return [results[index] for index in range(len(items))]

    def compute(
        self, name: str, index: int, item: T, compute: Callable[[T, torch.Generator], Arrays]
    ) -> Arrays:
        """One chunk: its random numbers depend on the seed of the run, its name and index alone."""
        return compute(item, self.reseed(name, index))

    def reseed(self, name: str, part: int | str) -> torch.Generator:
        """The generator of a part of the chunks `name`, with which the global one is seeded too.

        The global one is for networks that draw: a resumed run, or a worker, draws as an unbroken run does.
        """
        rng = generator(self._seed, name, part)
        torch.manual_seed(rng.initial_seed())
        return rng

    def _finished_chunks(
        self, name: str, items: Sequence[T], compute: Callable[[T, torch.Generator], Arrays]
    ) -> Generator[tuple[int, Arrays], None, None]:
        """The index and arrays of every chunk: those that are stored, then the others as they are computed."""
        store = self._store
        if store is None:
            for index, item in enumerate(items):
                yield index, self.compute(name, index, item, compute)
            return
        labels = [f"{name}-{index:05d}-of-{len(items):05d}" for index in range(len(items))]
        missing = []
        for index, label in enumerate(labels):
            if (stored := store.load(label)) is None:
                missing.append(index)
            else:
                yield index, stored
        if self._pool is None:
            for index in missing:
                arrays = self.compute(name, index, items[index], compute)
                store.save(labels[index], arrays)
                yield index, arrays
            return
        with closing(self._pool.map(name, len(items), missing)) as computed:
            for index, arrays in computed:
                store.save(labels[index], arrays)
                yield index, arrays
        self._pool.finish(lambda: [store.load(label) or {} for label in labels])


@contextmanager
def preserve_rng() -> Iterator[None]:
    """Restore the global random generators of Python, NumPy and torch after the block."""
    import random

    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)


@contextmanager
def preserve_settings() -> Iterator[None]:
    """Restore the environment variables and the filters of warnings after the block: some libraries set their own."""
    environment = dict(os.environ)
    try:
        with warnings.catch_warnings():
            yield
    finally:
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)
