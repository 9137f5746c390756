"""The flags of the AutoAttack standard: signs that its figure overestimates the robustness of a network."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from probe.methods.adversarial.criteria import Criterion, input_gradient, predict
from probe.model.model import Model

PASSES = 5
_SCALED_DIFFERENCE = 1e-4
_SQUARE_GAIN = 0.002


@dataclass(frozen=True)
class StandardFlags:
    """What the standard warns of. Croce and Hein 2020, https://github.com/fra31/auto-attack, flags_doc.md.

    difference: largest L2 distance between the logits of two passes, each scaled to length 1. probabilities: whether
    the outputs are probabilities. zero_gradients: images whose gradient of the cross-entropy is zero. n: images.
    differentiates: whether the forward pass computes gradients itself. square_gain: accuracy that the square attack takes
    from what the white-box attacks left.
    """

    difference: float
    probabilities: bool
    zero_gradients: int
    n: int
    differentiates: bool
    square_gain: float

    @property
    def random(self) -> bool:
        return self.difference > _SCALED_DIFFERENCE

    @property
    def black_box_wins(self) -> bool:
        return self.square_gain > _SQUARE_GAIN


def standard_flags(model: Model, pixels: Tensor, labels: Tensor, *, square_gain: float) -> StandardFlags:
    """Measure the flags on images (n, c, h, w) with labels (n,); square_gain comes from the attacks."""
    with _gradients_counted() as calls:
        outputs = [predict(model, pixels) for _ in range(PASSES)]
    scaled = [z / z.norm(dim=1, keepdim=True).clamp_min(1e-10) for z in outputs]
    difference = max(float((a - b).norm(dim=1).max()) for a in scaled for b in scaled)
    low, high, sums = outputs[0].min(), outputs[0].max(), outputs[0].sum(1)
    probabilities = bool((low > -1e-5) & (high < 1 + 1e-5) & ((sums - 1).abs() < 1e-5).all())
    gradient, _ = input_gradient(model, pixels, lambda z: Criterion(labels).loss(z, "cross-entropy"))
    zero = int((gradient.nan_to_num().flatten(1).abs().sum(1) == 0).sum())
    return StandardFlags(difference, probabilities, zero, len(pixels), bool(calls), square_gain)


@contextmanager
def _gradients_counted() -> Iterator[list[str]]:
    """The calls of torch that compute gradients within the block, in which no gradient is asked for from outside."""
    calls: list[str] = []

    def noted(function: Any, name: str) -> Any:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            return function(*args, **kwargs)

        return wrapper

    functions = {name: getattr(torch.autograd, name) for name in ("grad", "backward")}
    try:
        for name, function in functions.items():
            setattr(torch.autograd, name, noted(function, name))
        yield calls
    finally:
        for name, function in functions.items():
            setattr(torch.autograd, name, function)
