"""Optimisation of images by gradient ascent: one loop for all objectives, parametrisations and step rules."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from probe.methods.synthesis.objectives import LOGITS, Objective
from probe.methods.synthesis.parametrisation import Parametrisation
from probe.methods.synthesis.transforms import RandomAffine, anneal, warp
from probe.model.model import Model
from probe.model.observer import recording

_STARTS = 6


class Step(Protocol):
    """A step rule: the change of the variables for their gradient. No row may depend on another."""

    def __call__(self, gradient: Tensor, variables: Tensor) -> Tensor:
        """(n, ...) gradient at (n, ...) variables -> (n, ...) change, to be added."""
        ...


class Adam:
    """Adam (Kingma & Ba 2015) on a tensor that holds all images: elementwise, so no image depends on another."""

    def __init__(self, lr: float = 0.05, betas: tuple[float, float] = (0.9, 0.999)) -> None:
        self.lr, self.betas, self.steps = lr, betas, 0
        self.mean: Tensor | None = None
        self.square: Tensor | None = None

    def __call__(self, gradient: Tensor, variables: Tensor) -> Tensor:
        if self.mean is None or self.square is None:
            self.mean, self.square = torch.zeros_like(gradient), torch.zeros_like(gradient)
        self.steps += 1
        first, second = self.betas
        self.mean.lerp_(gradient, 1 - first)
        self.square.lerp_(gradient * gradient, 1 - second)
        mean, square = self.mean / (1 - first**self.steps), self.square / (1 - second**self.steps)
        return self.lr * mean / (square.sqrt() + 1e-8)


@dataclass(frozen=True)
class Schedule:
    """How long `optimise` runs and how it transforms the images on the way.

    steps: at most so many. transforms: drawn for each image at each step; None leaves the images as they are.
    anneal: fraction of the last steps over which the transforms shrink to none, which sharpens the images (LeNet-5
        with sigmoids: 6 instead of 5 of 10 classes exceed the data); at 0.3 it is 7, but ResNet-20's images
        become chequered.
    target: an image whose objective has reached it is left as it is, and the loop ends when all have.
    """

    steps: int
    transforms: RandomAffine | None = None
    anneal: float = 0.1
    target: float | None = None


@dataclass(frozen=True)
class Optimised:
    """Optimised images. pixels: (n, c, h, w), not transformed. values: (n,) of the objective on exactly these pixels.

    history: (steps, n) values on the transformed images, before each step.
    dead: (n,) bool, the images whose start had no gradient.
    """

    pixels: Tensor
    values: Tensor
    history: Tensor
    dead: Tensor


def optimise(
    model: Model,
    objective: Objective,
    parametrisation: Parametrisation,
    schedule: Schedule,
    *,
    start: Sequence[int] | Tensor,
    step: Step | None = None,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Optimised:
    """Maximise the objective of several images together, each exactly as if it were alone.

    start: seeds, one an image, from which its first variables and its transforms are drawn, so that its position in
        the batch does not matter; or the first variables (n, ...) themselves, on the model's device, for a schedule
        without transforms. Drawn variables that give no gradient (behind a ReLU that is off) are drawn again with
        more contrast.
    step: Adam with learning rate 0.05 by default. progress: wraps the iteration over the steps.
    The network is run no further than the deepest layer of the objective.
    Raises ValueError for transforms without seeds.
    """
    step = step or Adam()
    with torch.inference_mode(False), torch.enable_grad():
        problem = _Problem(model, objective, parametrisation)
        transforms = None
        if isinstance(start, Tensor):
            if schedule.transforms is not None:
                raise ValueError("transforms are drawn from seeds: give seeds as `start`")
            variables = start.detach().clone()
            dead = problem.without_gradient(variables)
        else:
            generators = [torch.Generator().manual_seed(seed) for seed in start]
            variables, dead = problem.initialise(generators)
            transforms = _transforms(schedule, model, generators)
        history = []
        for index in progress(range(schedule.steps)):
            values, gradient = problem.gradient(variables, None if transforms is None else transforms[index])
            history.append(values)
            changed = parametrisation.project(variables + step(gradient, variables))
            if schedule.target is not None:
                reached = values >= schedule.target
                if bool(reached.all()):
                    break
                changed = torch.where(reached.view(-1, *[1] * (changed.ndim - 1)), variables, changed)
            variables = changed
    with torch.no_grad():
        pixels = parametrisation.to_pixels(variables)
        values = objective.value(activations(model, pixels, objective.layers))
    return Optimised(pixels, values, torch.stack(history) if history else values[None, :][:0], dead)


def activations(model: Model, pixels: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
    """The activations of the named layers (LOGITS for the output); stops after the deepest. Differentiable."""
    inner = [layer for layer in sorted(layers) if layer != LOGITS]
    if LOGITS not in layers:
        return model.features(pixels, *inner)
    if not inner:
        return {LOGITS: model.logits(pixels)}
    for layer in inner:
        model.layers.find(layer)
    with recording(model.network, inner) as recorded:
        logits = model.logits(pixels)
    return {address: model.as_pixels(values, pixels) for address, values in recorded.items()} | {
        LOGITS: logits
    }


@dataclass(frozen=True)
class _Problem:
    """An objective as a function of the variables of a parametrisation."""

    model: Model
    objective: Objective
    parametrisation: Parametrisation

    def gradient(self, variables: Tensor, transforms: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Values (n,) of the objective on the transformed images and their gradient (n, ...)."""
        variables = variables.detach().requires_grad_(True)
        pixels = self.parametrisation.to_pixels(variables)
        if transforms is not None:
            pixels = warp(pixels, transforms)
        values = self.objective.value(activations(self.model, pixels, self.objective.layers))
        (gradient,) = torch.autograd.grad(values.sum(), variables)
        return values.detach(), gradient

    def without_gradient(self, variables: Tensor) -> Tensor:
        """(n,) whether the objective does not change with the variables of an image."""
        return self.gradient(variables)[1].flatten(1).abs().amax(1) == 0

    def initialise(self, generators: Sequence[torch.Generator]) -> tuple[Tensor, Tensor]:
        """First variables (n, ...), and (n,) whether those of an image have no gradient after several draws."""
        variables = self._draw(generators, contrast=1.0)
        dead = self.without_gradient(variables)
        for attempt in range(1, _STARTS):
            rows = dead.nonzero()[:, 0].tolist()
            if not rows:
                break
            variables[rows] = self._draw([generators[row] for row in rows], contrast=3.0**attempt)
            dead = self.without_gradient(variables)
        return variables, dead

    def _draw(self, generators: Sequence[torch.Generator], contrast: float) -> Tensor:
        drawn = torch.stack(
            [self.parametrisation.initialise(generator, contrast) for generator in generators]
        )
        dtype = torch.float64 if self.model.dtype == torch.float64 else torch.float32
        return drawn.to(self.model.device, dtype)


def _transforms(schedule: Schedule, model: Model, generators: Sequence[torch.Generator]) -> Tensor | None:
    """(steps, n, 2, 3) transforms of the images, or None."""
    if schedule.transforms is None:
        return None
    size = (model.shape[1], model.shape[2])
    drawn = [schedule.transforms.sample(schedule.steps, size, generator) for generator in generators]
    return anneal(torch.stack(drawn, 1), schedule.anneal).to(model.device)
