"""What a run lends to an analysis: seeded randomness, progress, further models, chunks that survive a kill."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

if TYPE_CHECKING:
    import torch

    from probe.model.model import Model

T = TypeVar("T")
Arrays = dict[str, np.ndarray]


class Job(Protocol):
    """What a run lends to an analysis."""

    @property
    def rng(self) -> "torch.Generator":
        """Seeded, on the CPU: draw there, then move."""
        ...

    def seed(self, below: int = 2**31) -> int:
        """A whole number drawn from `rng`, for what takes a seed of its own."""
        ...

    @property
    def compare_to(self) -> "Sequence[Model]":
        """Further models, for analyses that compare."""
        ...

    def progress(self, items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
        """`items` one by one, with a progress bar on a terminal; stops where the run was cancelled."""
        ...

    def chunks(
        self, name: str, items: Sequence[T], compute: "Callable[[T, torch.Generator], Arrays]"
    ) -> list[Arrays]:
        """compute(item, rng) for each item, each kept on disk as soon as it is done.

        A run that was killed goes on after the last whole chunk. Each chunk gets a generator of its own, so the
        bytes are the same as without the interruption.
        """
        ...


def joined(parts: Sequence[Arrays]) -> Arrays:
    """The tables of several chunks, of equal columns, as one: rows follow each other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
