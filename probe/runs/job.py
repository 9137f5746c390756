"""What a run lends to an analysis: seeded randomness, progress, further models, and chunks that survive a kill."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch

from probe.model.model import Model
from probe.runs.store import RunDirectory

T = TypeVar("T")
Arrays = dict[str, np.ndarray]


def generator(*seeds: object) -> torch.Generator:
    """A CPU generator whose stream depends on all of `seeds` and on nothing else."""
    number = int.from_bytes(hashlib.sha256(repr(seeds).encode()).digest()[:8], "big") >> 1
    return torch.Generator().manual_seed(number)


class RunJob:
    """The Job of probe's own runs. display: a rich Progress to draw on, or None to be quiet."""

    def __init__(
        self,
        seed: int,
        *,
        compare_to: Sequence[Model] = (),
        display: Any = None,
        store: tuple[RunDirectory, str, str] | None = None,
    ) -> None:
        self._seed = seed
        self.rng = generator(seed)
        self.compare_to = tuple(compare_to)
        self._display = display
        self._store = store

    def seed(self, below: int = 2**31) -> int:
        """A whole number drawn from `rng`, for what takes a seed of its own."""
        return int(torch.randint(below, (1,), generator=self.rng))

    def progress(self, items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
        """`items` one by one, with a bar of `total` steps while they last."""
        if self._display is None:
            yield from items
            return
        if total is None:
            total = len(items) if isinstance(items, Sequence) else None
        task = self._display.add_task(what, total=total)
        try:
            for item in items:
                yield item
                self._display.advance(task)
        finally:
            self._display.remove_task(task)

    def chunks(
        self, name: str, items: Sequence[T], compute: Callable[[T, torch.Generator], Arrays]
    ) -> list[Arrays]:
        """compute(item, rng) for each item, kept on disk as it is done where the run has a directory.

        What is kept names the number of items: on CUDA their size follows the memory that is free, and a run that
        goes on with other items must not take up these.
        """
        results: list[Arrays] = []
        for index, item in enumerate(self.progress(items, name)):

            def one(index: int = index, item: T = item) -> Arrays:
                return compute(item, generator(self._seed, name, index))

            if self._store is None:
                results.append(one())
            else:
                directory, folder, key = self._store
                results.append(directory.chunk(folder, key, f"{name}-{index:05d}-of-{len(items):05d}", one))
        return results


@contextmanager
def preserve_rng() -> Iterator[None]:
    """Give the global random generators back as they were, whatever a network or a library drew from them."""
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
