"""Optimisation of images by gradient ascent: one loop for all objectives, parametrisations, transforms and step rules."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import ceil

import torch
from torch import Tensor

from probe.methods.synthesis.objectives import LOGITS, PIXELS, Objective
from probe.methods.synthesis.parametrisation import Parametrisation
from probe.methods.synthesis.steps import Adam, Step
from probe.methods.synthesis.transforms import Transforms
from probe.model.model import Model
from probe.model.observer import recording

_STARTS = 6
_CHECK_EVERY = 25  # steps after which it is looked whether any image is still being optimised


@dataclass(frozen=True)
class Schedule:
    """How long `optimise` runs and how it transforms the images on the way.

    steps: at most so many. transforms: drawn for each image at each step; None leaves the images as they are.
    anneal: fraction of the last steps over which the transforms shrink to none, which sharpens the images (LeNet-5
        with sigmoids: 6 instead of 5 of 10 classes exceed the data); at 0.3 it is 7, but ResNet-20's images
        become chequered.
    copies: transforms of each image at each step, whose gradients are averaged.
    target: an image whose objective has reached it is left as it is, and the loop ends when all have.
    keep_best: return the variables with the largest value instead of the last ones; without transforms alone.
    tile: side of the tiles into which images are cut where they are larger, to bound the memory; the values and
        gradients of the tiles add up. For parametrisations by pixels.
    frame: called before each step with its number and a function that returns the pixels of the moment.
    """

    steps: int
    transforms: Transforms | None = None
    anneal: float = 0.1
    copies: int = 1
    target: float | None = None
    keep_best: bool = False
    tile: int | None = None
    frame: Callable[[int, Callable[[], Tensor]], None] | None = None


@dataclass(frozen=True, eq=False)
class Start:
    """Where images start: their first variables (n, ...), on the model's device, and seeds (n) for their transforms."""

    variables: Tensor
    seeds: Sequence[int] = ()


@dataclass(frozen=True)
class Optimised:
    """Optimised images. pixels: (n, c, h, w), not transformed. values: (n,) of the objective on exactly these pixels.

    history: (steps, n) values on the transformed images, before each step; fewer steps where the loop was ended.
    dead: (n,) bool, the images whose start had no gradient. diverged: (n,) bool, the images whose value or gradient
    became NaN or infinite: their pixels are the last before that. stopped: the signal that ended the loop early, for the
    caller to raise again once it has used the images.
    """

    pixels: Tensor
    values: Tensor
    history: Tensor
    dead: Tensor
    diverged: Tensor
    stopped: KeyboardInterrupt | None = None


def optimise(
    model: Model,
    objective: Objective,
    parametrisation: Parametrisation,
    schedule: Schedule,
    *,
    start: Sequence[int] | Start,
    step: Step | None = None,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Optimised:
    """Maximise the objective of several images together, each exactly as if it were alone.

    start: seeds, one an image, from which its first variables and its transforms are drawn, so that its position in
        the batch does not matter; or a Start. Drawn variables that give no gradient (behind a ReLU that is off) are
        drawn again with more contrast.
    step: Adam with learning rate 0.05 by default. progress: wraps the iteration over the steps, and may end it early.
    The network is run no further than the deepest layer of the objective. Ctrl-C and cancelling end the loop early:
    the images are those of that moment, and `stopped` is the signal.
    Raises ValueError for transforms without seeds.
    """
    step = step or Adam()
    with torch.inference_mode(False), torch.enable_grad():
        problem = Problem(model, objective, parametrisation, schedule.tile)
        if isinstance(start, Start):
            if schedule.transforms is not None and len(start.seeds) != len(start.variables):
                raise ValueError("transforms are drawn from seeds: pass one seed per image")
            generators = [torch.Generator().manual_seed(seed) for seed in start.seeds]
            variables = start.variables.detach()
            dead = problem.without_gradient(variables)
        else:
            generators = [torch.Generator().manual_seed(seed) for seed in start]
            variables, dead = problem.initialise(generators)
        draws = _Draws(schedule, generators, model)
        history: list[Tensor] = []
        good = best = variables
        most = torch.full((len(variables),), -torch.inf, device=variables.device)
        diverged = torch.zeros_like(dead)
        stopped: KeyboardInterrupt | None = None
        try:
            for index in progress(range(schedule.steps)):
                if schedule.frame is not None:
                    schedule.frame(index, lambda now=variables: parametrisation.to_pixels(now.detach()))  # type: ignore[misc]
                values, gradient = problem.gradient(variables, draws.at(index))
                history.append(values)
                finite = torch.isfinite(values) & torch.isfinite(gradient.flatten(1).sum(1))
                diverged |= ~finite
                good = _where(diverged, good, variables)
                if schedule.keep_best:
                    better = finite & (values > most)
                    best, most = _where(better, variables, best), torch.where(better, values, most)
                changed = step(gradient, variables, values)
                del gradient
                changed = parametrisation.project(changed.add_(variables))
                left = diverged
                if schedule.target is not None:
                    reached = values >= schedule.target
                    left = left | reached
                    if bool(reached.all()):
                        break
                variables = _where(left, variables, changed)
                if index % _CHECK_EVERY == _CHECK_EVERY - 1 and bool(diverged.all()):
                    break
        except KeyboardInterrupt as stop:
            if not history:
                raise
            stopped = stop
    with torch.no_grad():
        variables = _where(diverged, good, variables)
        pixels, values = problem.evaluate(variables)
        finite = torch.isfinite(values)
        if schedule.keep_best:
            chosen = finite & (values >= most)
        else:
            chosen, best = finite, good
        if not bool(chosen.all()):
            pixels, values = problem.evaluate(_where(chosen, variables, best))
    return Optimised(
        pixels,
        values,
        torch.stack(history) if history else values[None, :][:0],
        dead,
        diverged | ~finite,
        stopped,
    )


def activations(
    model: Model, pixels: Tensor, layers: Iterable[str], image: Tensor | None = None
) -> dict[str, Tensor]:
    """The activations of the named layers (LOGITS for the output); stops after the deepest. Differentiable.

    image: what PIXELS stands for, where that is not `pixels` themselves.
    """
    read: dict[str, Tensor] = {}
    inner = [layer for layer in sorted(layers) if layer not in (LOGITS, PIXELS)]
    if PIXELS in layers:
        read[PIXELS] = pixels if image is None else image
    if LOGITS not in layers:
        return read | (model.features(pixels, *inner) if inner else {})
    if not inner:
        return read | {LOGITS: model.logits(pixels)}
    for layer in inner:
        model.layers.find(layer)
    with recording(model.network, inner) as recorded:
        logits = model.logits(pixels)
    read |= {address: model.as_pixels(values, pixels) for address, values in recorded.items()}
    return read | {LOGITS: logits}


@dataclass(frozen=True)
class Problem:
    """An objective as a function of the variables of a parametrisation."""

    model: Model
    objective: Objective
    parametrisation: Parametrisation
    tile: int | None = None

    def gradient(
        self, variables: Tensor, transforms: Sequence[Callable[[Tensor], Tensor]] = (lambda pixels: pixels,)
    ) -> tuple[Tensor, Tensor]:
        """Values (n,) of the objective on the transformed images and their gradient (n, ...), means over the transforms."""
        total = torch.zeros((), dtype=variables.dtype, device=variables.device)
        values = total
        for transform in transforms:
            leaf = variables.detach().requires_grad_(True)
            image = self.parametrisation.to_pixels(leaf)
            pixels = transform(image)
            if self.tile is not None and max(pixels.shape[2:]) > self.tile:
                value, grad = self._in_tiles(pixels)
                (gradient,) = torch.autograd.grad(pixels, leaf, grad)
                del grad, pixels, image
            else:
                value = self._value(pixels, image)
                (gradient,) = torch.autograd.grad(value.sum(), leaf)
            del leaf
            if len(transforms) == 1:
                return value.detach(), gradient
            total, values = total + gradient / len(transforms), values + value.detach() / len(transforms)
        return values, total

    def evaluate(self, variables: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels (n, c, h, w) without transforms and the values (n,) of the objective on them."""
        pixels = self.parametrisation.to_pixels(variables)
        if self.tile is not None and max(pixels.shape[2:]) > self.tile:
            return pixels, self._in_tiles(pixels, gradient=False)[0]
        return pixels, self._value(pixels, pixels)

    def without_gradient(self, variables: Tensor) -> Tensor:
        """(n,) whether the objective, without its regularisers, does not change with the variables of an image."""
        problem = replace(self, objective=self.objective.without_regularisers())
        gradient = problem.gradient(variables)[1].flatten(1)
        return (gradient.amax(1) == 0) & (gradient.amin(1) == 0)

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

    def _value(self, pixels: Tensor, image: Tensor) -> Tensor:
        model = self.model.at_size(pixels.shape[2], pixels.shape[3])
        return self.objective.value(activations(model, pixels, self.objective.layers, image))

    def _in_tiles(self, pixels: Tensor, *, gradient: bool = True) -> tuple[Tensor, Tensor]:
        """The sum of the values of all tiles, and its gradient with respect to `pixels`."""
        assert self.tile is not None
        pixels = pixels.detach()
        value = torch.zeros(len(pixels), dtype=pixels.dtype, device=pixels.device)
        grad = torch.empty_like(pixels if gradient else pixels[:, :0])
        for rows in tile_slices(pixels.shape[2], self.tile):
            for columns in tile_slices(pixels.shape[3], self.tile):
                part = pixels[:, :, rows, columns].clone().requires_grad_(gradient)
                partial = self._value(part, part)
                if gradient:
                    (grad[:, :, rows, columns],) = torch.autograd.grad(partial.sum(), part)
                value += partial.detach()
        return value, grad

    def _draw(self, generators: Sequence[torch.Generator], contrast: float) -> Tensor:
        drawn = torch.stack(
            [self.parametrisation.initialise(generator, contrast) for generator in generators]
        )
        dtype = torch.float64 if self.model.dtype == torch.float64 else torch.float32
        return drawn.to(self.model.device, dtype)


def tile_slices(side: int, tile: int) -> list[slice]:
    """The fewest slices of `side` pixels that are at most `tile` long, of lengths that differ by at most one.

    >>> tile_slices(10, 4)
    [slice(0, 3, None), slice(3, 6, None), slice(6, 10, None)]
    """
    count = ceil(side / tile)
    ends = [side * index // count for index in range(count + 1)]
    return [slice(low, high) for low, high in pairwise(ends)]


class _Draws:
    """The transforms of all images at each step, each image's from its own generator."""

    def __init__(self, schedule: Schedule, generators: Sequence[torch.Generator], model: Model) -> None:
        self.transforms, self.generators, self.copies = schedule.transforms, generators, schedule.copies
        self.drawn: Tensor | None = None
        if schedule.transforms is None:
            return
        size, count = (model.shape[1], model.shape[2]), schedule.steps * schedule.copies
        drawn = torch.stack([schedule.transforms.sample(count, size, g) for g in generators], 1)
        drawn = drawn.unflatten(0, (schedule.steps, schedule.copies))
        drawn = schedule.transforms.anneal(drawn, schedule.anneal)
        # Rolls are read as numbers, on the CPU; matrices are used on the device.
        self.drawn = drawn.to(model.device) if drawn.is_floating_point() else drawn

    def at(self, index: int) -> list[Callable[[Tensor], Tensor]]:
        """The transforms of one step, one for each copy of the images."""
        if self.drawn is None:
            return [lambda pixels: pixels]
        return [self._transform(self.drawn[index, copy]) for copy in range(self.copies)]

    def _transform(self, drawn: Tensor) -> Callable[[Tensor], Tensor]:
        transforms = self.transforms
        assert transforms is not None

        def apply(pixels: Tensor) -> Tensor:
            transformed = transforms.apply(pixels, drawn)
            if not transforms.noise:
                return transformed
            noise = [torch.randn(pixels.shape[1:], generator=generator) for generator in self.generators]
            return transformed + transforms.noise * torch.stack(noise).to(transformed)

        return apply


def _where(rows: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """(n, ...) row i of `yes` where rows[i], else of `no`; `no` itself, not a copy, where no row is of `yes`."""
    if not bool(rows.any()):
        return no
    return torch.where(rows.view(-1, *[1] * (yes.ndim - 1)), yes, no)
