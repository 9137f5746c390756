"""How is an image found that raises an objective? One loop: canvas, moves, network, objective, step."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from probe.methods.synthesis.objectives import LOGITS, Objective
from probe.methods.synthesis.parametrisation import Parametrisation
from probe.methods.synthesis.transforms import RandomAffine, anneal, warp
from probe.model.layers import recording
from probe.model.model import Model

_TRIES = 6


class Step(Protocol):
    """Turns a gradient into a change. It must treat every row by itself."""

    def __call__(self, gradient: Tensor) -> Tensor: ...


class Adam:
    """Adam (Kingma & Ba 2015) on a tensor that holds all images: elementwise, so no image sees another."""

    def __init__(self, rate: float = 0.05, betas: tuple[float, float] = (0.9, 0.999)) -> None:
        self.rate, self.betas, self.count = rate, betas, 0
        self.mean: Tensor | None = None
        self.square: Tensor | None = None

    def __call__(self, gradient: Tensor) -> Tensor:
        if self.mean is None or self.square is None:
            self.mean, self.square = torch.zeros_like(gradient), torch.zeros_like(gradient)
        self.count += 1
        first, second = self.betas
        self.mean.lerp_(gradient, 1 - first)
        self.square.lerp_(gradient * gradient, 1 - second)
        mean, square = self.mean / (1 - first**self.count), self.square / (1 - second**self.count)
        return self.rate * mean / (square.sqrt() + 1e-8)


@dataclass(frozen=True)
class Optimised:
    """What came of it. pixels: (n, c, h, w), not moved. values: (n,) of the objective on exactly these pixels.

    history: (steps, n) values on the moved images along the way.
    dead: (n,) bool, the images that never had a gradient.
    """

    pixels: Tensor
    values: Tensor
    history: Tensor
    dead: Tensor


def ascend(
    model: Model,
    objective: Objective,
    canvas: Parametrisation,
    *,
    seeds: Sequence[int],
    steps: int,
    jitter: RandomAffine | None = None,
    calm: float = 0.1,
    step: Step | None = None,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Optimised:
    """Raise the objective of len(seeds) images together, each exactly as if it were alone.

    seeds: one an image, from which its start and its moves are drawn: where it stands in the batch does not
        matter. jitter: None leaves the image in place. calm: share of the last steps in which the moves shrink to
        none, which sharpens what was found (LeNet-5 with sigmoids: 6 instead of 5 of 10 classes pass the data);
        at 0.3 it is 7, but ResNet-20's pictures turn to chequers. step: Adam with rate 0.05 unless given.
    progress: goes round the steps. The network is run no further than the objective looks.
    A start that the objective does not react to (behind a ReLU that is off) is drawn again with more contrast.
    """
    step = step or Adam()
    device, dtype = model.device, next(model.network.parameters()).dtype
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    with torch.inference_mode(False), torch.enable_grad():
        variables, dead = _begun(model, objective, canvas, generators, dtype)
        moves = None
        if jitter is not None:
            size = (model.shape[1], model.shape[2])
            drawn = torch.stack([jitter.draw(steps, size, rng) for rng in generators], 1)
            moves = anneal(drawn, calm).to(device)
        history = []
        for index in progress(range(steps)):
            variables.requires_grad_(True)
            pixels = canvas.paint(variables)
            if moves is not None:
                pixels = warp(pixels, moves[index])
            values = objective.value(activations(model, pixels, objective.layers))
            (gradient,) = torch.autograd.grad(values.sum(), variables)
            history.append(values.detach())
            variables = canvas.settle(variables.detach() + step(gradient))
    with torch.no_grad():
        pixels = canvas.paint(variables)
        values = objective.value(activations(model, pixels, objective.layers))
    return Optimised(pixels, values, torch.stack(history) if history else values[None, :][:0], dead)


def activations(model: Model, pixels: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
    """What the named layers (LOGITS for the output) answer to `pixels`; stops after the deepest. Differentiable."""
    inner = [layer for layer in sorted(layers) if layer != LOGITS]
    if LOGITS not in layers:
        return model.features(pixels, *inner)
    if not inner:
        return {LOGITS: model.logits(pixels)}
    for layer in inner:
        model.layers.find(layer)
    with recording(model.network, inner) as recorded:
        logits = model.logits(pixels)
    return {**recorded, LOGITS: logits}


def _begun(
    model: Model,
    objective: Objective,
    canvas: Parametrisation,
    generators: Sequence[torch.Generator],
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """Starts that the objective reacts to, and which of them it still does not after several tries."""

    def drawn(rows: Sequence[int], contrast: float) -> Tensor:
        return torch.stack([canvas.start(generators[row], contrast) for row in rows]).to(model.device, dtype)

    variables = drawn(range(len(generators)), 1.0)
    for attempt in range(1, _TRIES + 1):
        variables.requires_grad_(True)
        values = objective.value(activations(model, canvas.paint(variables), objective.layers))
        (gradient,) = torch.autograd.grad(values.sum(), variables)
        variables = variables.detach()
        dead = gradient.flatten(1).abs().amax(1) == 0
        rows = dead.nonzero()[:, 0].tolist()
        if not rows or attempt == _TRIES:
            break
        variables[rows] = drawn(rows, 3.0**attempt)
    return variables, dead
