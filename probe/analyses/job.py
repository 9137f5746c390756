"""The protocol of jobs, through which an analysis gets random numbers, progress bars, further models and stored chunks."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

if TYPE_CHECKING:
    import torch

    from probe.model.model import Model

T = TypeVar("T")
Arrays = dict[str, np.ndarray]


class Job(Protocol):
    """What a run provides to an analysis."""

    @property
    def rng(self) -> "torch.Generator":
        """A seeded generator on the CPU: draw there, then copy to the device."""
        ...

    def seed(self, below: int = 2**31) -> int:
        """A whole number in [0, below), drawn from `rng`, for functions that take a seed."""
        ...

    @property
    def compare_to(self) -> "Sequence[Model]":
        """Further models, for analyses that compare."""
        ...

    def progress(self, items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
        """Yield `items` one by one, with a progress bar on a terminal."""
        ...

    def chunks(
        self, name: str, items: Sequence[T], compute: "Callable[[T, torch.Generator], Arrays]"
    ) -> list[Arrays]:
        """compute(item, rng) for each item, each stored on disk as soon as it is finished.

        An interrupted run continues after the last finished chunk. Each chunk has its own generator, so the results
        are the same as without the interruption.
        """
        ...


def joined(parts: Sequence[Arrays]) -> Arrays:
    """Concatenate the arrays of several chunks, which have the same names, along the first axis."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
