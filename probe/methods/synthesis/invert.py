"""Feature inversion: an image with the features of another one, as smooth as these features leave free."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import islice

import torch
from torch import Tensor

from probe.methods.synthesis.matching import FeatureMatch
from probe.methods.synthesis.objectives import Objective
from probe.methods.synthesis.optimise import Optimised, Schedule, Start, optimise
from probe.methods.synthesis.parametrisation import Fourier, Pixels
from probe.methods.synthesis.regularisers import AlphaNorm, TotalVariation
from probe.methods.synthesis.steps import LBFGS
from probe.model.model import Model

TV_WEIGHT = 6.8
ALPHA_WEIGHT = 23.0
"""Weights of the mean total variation and of the mean sixth power, in pixels of [0, 1] about their centre.

Those of Mahendran & Vedaldi 2015, section 3.1, for their images of 227 x 227.
"""

_CORRELATION = 0.9  # of the colours of natural images
_GREY_FOURIER = 0.75
"""Proportion of the steps after which the variables of grey images become pixels.

Grey images are largely black or white, which Fourier coefficients reach slowly behind their sigmoid: the feature error in
the first layer of lenet5-digits is 0.003 instead of 0.1. Pixels from the start leave noise in what a layer does not see.
"""


@dataclass(frozen=True)
class Inverted:
    """Images with the features of others, and how near these features are.

    pixels: (restarts, n, c, h, w). error: (restarts, n) squared difference of the features over their squares.
    diverged: (restarts, n) bool. history: (steps, restarts * n) of the objective. stopped: the signal that ended it
    early.
    """

    pixels: Tensor
    error: Tensor
    diverged: Tensor
    history: Tensor
    stopped: KeyboardInterrupt | None = None


def invert(
    model: Model,
    images: Tensor,
    layer: str,
    *,
    smoothness: float,
    schedule: Schedule,
    seeds: list[list[int]],
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Inverted:
    """Images whose features in `layer` are those of `images`, from random starts.

    images: (n, c, h, w) in [0, 1] on the model's device. smoothness: weight of both regularisers, in units of the
    paper's weights for shallow layers. schedule: without transforms. seeds: [restart][image].

    The objective is the paper's. The variables are Fourier coefficients with correlated colours, not pixels, and the
    steps those of L-BFGS, not of gradient descent: on pixels, 80 steps leave what SqueezeNet's deeper half computes
    grey and at twice the feature error. Mahendran & Vedaldi 2015, arXiv 1412.0035.
    """
    with torch.no_grad():
        target = model.features(images, layer)[layer]
    match = FeatureMatch(layer, target.repeat(len(seeds), *[1] * (target.ndim - 1)))
    regularisers = TV_WEIGHT * TotalVariation() + ALPHA_WEIGHT * AlphaNorm(6)
    objective = match + smoothness * regularisers
    starts = [seed for restart in seeds for seed in restart]
    optimised = _optimise(model, objective, replace(schedule, keep_best=True), starts, progress)
    with torch.no_grad():
        error = -match.value(model.features(optimised.pixels, layer))
    shape = (len(seeds), len(images))
    return Inverted(
        optimised.pixels.unflatten(0, shape),
        error.view(shape),
        optimised.diverged.view(shape),
        optimised.history,
        optimised.stopped,
    )


def _optimise(
    model: Model,
    objective: Objective,
    schedule: Schedule,
    seeds: list[int],
    progress: Callable[[Iterable[int]], Iterable[int]],
) -> Optimised:
    """The images from their starts: Fourier coefficients, and pixels over the last steps of grey ones."""
    colours = torch.full((3, 3), _CORRELATION) + (1 - _CORRELATION) * torch.eye(3)
    fourier = Fourier(model.shape, covariance=colours if model.shape[0] == 3 else None)
    if model.shape[0] > 1:
        return optimise(model, objective, fourier, schedule, start=seeds, step=LBFGS(), progress=progress)
    steps = iter(progress(range(schedule.steps)))  # shared by both parts

    def part(of: Iterable[int]) -> Iterable[int]:
        return islice(steps, len([*of]))

    smooth = replace(schedule, steps=max(1, round(_GREY_FOURIER * schedule.steps)))
    rest = replace(schedule, steps=schedule.steps - smooth.steps)
    first = optimise(model, objective, fourier, smooth, start=seeds, step=LBFGS(), progress=part)
    if first.stopped is not None or not rest.steps:
        return first
    pixels = Pixels(model.shape)
    try:
        last = optimise(
            model,
            objective,
            pixels,
            rest,
            start=Start(pixels.to_variables(first.pixels)),
            step=LBFGS(),
            progress=part,
        )
    except KeyboardInterrupt as stop:
        return replace(first, stopped=stop)
    next(steps, None)  # past the last step, so that the progress ends
    history = torch.cat([first.history, last.history])
    return replace(last, history=history, dead=first.dead, diverged=first.diverged | last.diverged)
