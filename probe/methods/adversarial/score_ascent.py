"""Gradient ascent on the score of a class, from images or from noise, until its probability reaches a confidence."""

from dataclasses import dataclass
from math import inf, log

import torch
from torch import Tensor

from probe.errors import NoGradientError
from probe.methods.adversarial.criteria import Criterion, make_criterion, predict
from probe.methods.adversarial.norms import mask_at_bounds, project, steepest_direction
from probe.methods.synthesis.objectives import LOGITS, Activations, Objective
from probe.methods.synthesis.optimise import Schedule, Start, optimise
from probe.methods.synthesis.parametrisation import Pixels
from probe.model.model import Model


@dataclass(frozen=True)
class ScoreAscent:
    """Where an ascent ended, and the probability of the target before each step and at the end: (steps + 1, n)."""

    pixels: Tensor
    probability: Tensor


def ascend_class_score(
    model: Model,
    pixels: Tensor,
    targets: Tensor | int,
    *,
    steps: int = 100,
    step: float = 0.1,
    confidence: float = 0.95,
    eps: float | None = None,
) -> ScoreAscent:
    """Maximise the log-odds of a class from any images (n, c, h, w), until its probability reaches `confidence`.

    step: L2 length of a step in pixel units. eps: largest L2 change (default: none but [0, 1]).
    Without a gradient the images stay as they are. Raises UserError for a class that does not exist.

    Szegedy et al. 2014, section 4, by gradient ascent on the log-odds of the class.
    """
    targets = torch.as_tensor(targets, device=pixels.device).expand(len(pixels)).long()
    criterion = make_criterion(model, pixels, (targets + 1) % len(model.classes), targets)

    def ascent_step(gradient: Tensor, variables: Tensor, values: Tensor) -> Tensor:
        return step * steepest_direction(mask_at_bounds(gradient.nan_to_num(), variables), "l2")

    target = log(confidence / (1 - confidence)) if confidence < 1 else inf
    try:
        optimised = optimise(
            model,
            LogOdds(criterion),
            Pixels(model.shape) if eps is None else PixelsInBall(pixels, eps),
            Schedule(steps, target=target),
            start=Start(pixels),
            step=ascent_step,
        )
    except NoGradientError:
        return ScoreAscent(pixels, criterion.loss(predict(model, pixels)).sigmoid()[None])
    log_odds = torch.cat([optimised.history, optimised.values[None]])
    return ScoreAscent(optimised.pixels, log_odds.sigmoid())


@dataclass(frozen=True, eq=False)
class LogOdds(Objective):
    """The loss of a criterion: for targets the log-odds of the target class of image i."""

    criterion: Criterion
    layers = frozenset({LOGITS})

    def value(self, activations: Activations) -> Tensor:
        return self.criterion.loss(activations[LOGITS])


class PixelsInBall(Pixels):
    """The pixels, kept in [0, 1] and within an L2 distance `eps` of `centres` (n, c, h, w)."""

    def __init__(self, centres: Tensor, eps: float) -> None:
        self.centres, self.eps = centres, eps

    def project(self, variables: Tensor) -> Tensor:
        return (self.centres + project(variables - self.centres, self.eps, "l2")).clamp(0, 1)
