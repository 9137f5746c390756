"""The job of a run: seeded random numbers, progress, further models, and chunks that are stored as they are computed."""

import hashlib
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

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


class RunJob:
    """The Job (`analyses/job.py`) that probe's own runs pass to an analysis.

    display: receives the progress, or None for none. store: where finished chunks are kept, if anywhere.
    """

    def __init__(
        self,
        seed: int,
        *,
        compare_to: Sequence[Model] = (),
        display: Display | None = None,
        store: Chunks | None = None,
    ) -> None:
        self._seed = seed
        self.rng = generator(seed)
        self.compare_to = tuple(compare_to)
        self._display = display
        self._store = store

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
        """compute(item, rng) for each item, each stored as soon as it is finished if the run has a directory.

        The names of stored chunks contain the number of items: on CUDA the size of a batch follows the free memory,
        and a resumed run with other batches must not load them.
        """
        results: list[Arrays] = []
        for index, item in enumerate(self.progress(items, name)):
            rng = generator(self._seed, name, index)
            torch.manual_seed(
                rng.initial_seed()
            )  # for networks that draw: a resumed run draws as an unbroken one
            chunk = partial(compute, item, rng)
            if self._store is None:
                results.append(chunk())
            else:
                results.append(self._store.load_or_compute(f"{name}-{index:05d}-of-{len(items):05d}", chunk))
        return results


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
