"""Counts the forward and backward passes that an attack takes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from probe.model.model import Model


@dataclass
class Passes:
    """Images that went through the network: forward passes, and backward passes of those."""

    forward: int = 0
    backward: int = 0

    @property
    def cost(self) -> int:
        """In forward passes: a backward pass takes as long as two."""
        return self.forward + 2 * self.backward


@contextmanager
def count_passes(model: Model) -> Iterator[Passes]:
    """Count the passes of `model` within the block; nothing is left on the network."""
    passes = Passes()

    def count(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        rows = len(inputs[0])
        passes.forward += rows
        first = output if isinstance(output, Tensor) else _first_tensor(output)
        if first is not None and first.requires_grad:
            first.register_hook(lambda _: backward(rows))

    def backward(rows: int) -> None:
        passes.backward += rows

    handle = model.network.register_forward_hook(count)
    try:
        yield passes
    finally:
        handle.remove()


def _first_tensor(output: Any) -> Tensor | None:
    values = (
        output.values() if isinstance(output, dict) else output if isinstance(output, tuple | list) else ()
    )
    return next((value for value in values if isinstance(value, Tensor)), None)
