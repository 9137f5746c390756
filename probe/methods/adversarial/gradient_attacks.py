"""Attacks along the gradient of the loss: FGSM, BIM, PGD and MI-FGSM."""

from dataclasses import dataclass, fields, replace
from math import cos, pi
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from probe.methods.adversarial.attack import COMPACT, AttackResult, BoundedAttack
from probe.methods.adversarial.criteria import Criterion, Loss, input_gradient, predict
from probe.methods.adversarial.norms import (
    Norm,
    mask_at_bounds,
    perturbation_norm,
    project_to_ball,
    radii,
    sample_ball,
    spend_l1_budget,
    steepest_direction,
)
from probe.methods.adversarial.per_image_random import PerImageRng
from probe.model.model import Model
from probe.params import Fraction

AttackLoss = Annotated[
    Loss,
    Field(
        description="loss to maximise; log-odds keeps its gradient where the confidence is near 1, cross-entropy does not"
    ),
]


@dataclass(frozen=True)
class Ray:
    """The direction of one gradient step from each image: FGSM at every radius lies on it."""

    pixels: Tensor
    direction: Tensor
    norm: Norm
    logits: Tensor
    """(n, classes) at radius 0."""

    def at(self, eps: float | Tensor) -> Tensor:
        """The images at radius `eps`, a number or (n,); eps 0 returns the pixels themselves."""
        if self.norm == "l1":
            return (self.pixels + spend_l1_budget(self.direction, self.pixels, eps)).clamp(0, 1)
        return (self.pixels + radii(eps, self.pixels) * self.direction).clamp(0, 1)

    def take(self, rows: Tensor) -> "Ray":
        """The rays of the images `rows`."""
        return Ray(self.pixels[rows], self.direction[rows], self.norm, self.logits[rows])


def ray(
    model: Model, pixels: Tensor, criterion: Criterion, *, norm: Norm = "linf", loss: Loss = "log-odds"
) -> Ray:
    """The rays of FGSM, from one gradient an image; where that is NaN the direction is zero."""
    gradient, logits = input_gradient(model, pixels, lambda z: criterion.loss(z, loss))
    gradient = gradient.nan_to_num()
    return Ray(pixels, gradient if norm == "l1" else steepest_direction(gradient, norm), norm, logits)


def sweep(model: Model, rays: Ray, eps: Tensor) -> Tensor:
    """The logits (r, n, classes) along rays at every radius of `eps` (r,).

    Radius 0 costs nothing: its logits were needed for the gradient.
    """
    known = rays.logits
    return torch.stack([known if e == 0 else predict(model, rays.at(e), len(known)) for e in eps.tolist()])


class FGSM(BoundedAttack):
    """One step of size eps along the gradient of the loss (along its sign for the norm linf).

    Goodfellow et al. 2015, section 4.
    """

    name = "fgsm"
    title = "FGSM"
    source = "Goodfellow et al. 2015, arXiv 1412.6572"

    loss: AttackLoss = "log-odds"

    def perturb(self, model: Model, pixels: Tensor, criterion: Criterion, rng: PerImageRng) -> AttackResult:
        rays = ray(model, pixels, criterion, norm=self.norm, loss=self.loss)
        return AttackResult.single_step(rays.at(self.eps))


class PGD(BoundedAttack):
    """Gradient ascent on the loss, every step projected onto the ball.

    Returns the first success of each image, or the last iterate where there was none (always without `early_stop`).
    The default steps fall from eps to 0 along half a cosine, after which fewer images are robust than after twice as
    many steps of 2.5 eps / steps. Madry et al. 2018, section 2.1.
    """

    name = "pgd"
    title = "PGD"
    source = "Madry et al. 2018, arXiv 1706.06083"
    searches_ball = True

    steps: int = Field(40, ge=1, le=10_000, description="number of gradient steps")
    step: Fraction | None = Field(
        None,
        ge=0,
        description="constant length of the steps, in the norm (default: lengths that decrease from eps to 0)",
    )
    restarts: int = Field(
        1, ge=1, le=1000, description="number of runs, each on the images that the earlier runs did not fool"
    )
    start: Literal["uniform", "centre", "grey"] = Field(
        "uniform",
        description="starting point: a random point in the ball, the image itself, or the image with every pixel moved by"
        " eps towards mid grey",
    )
    momentum: float = Field(
        0.0, ge=0, le=1, description="weight of the previous directions (Dong et al. 2018); 0: no momentum"
    )
    loss: AttackLoss = "log-odds"
    early_stop: bool = Field(
        True,
        description="stop the attack on an image at its first success; more steps improve transfer to other networks",
    )

    def perturb(self, model: Model, pixels: Tensor, criterion: Criterion, rng: PerImageRng) -> AttackResult:
        return self.within(model, pixels, criterion, rng, pixels.new_full((len(pixels),), self.eps))

    def within(
        self, model: Model, pixels: Tensor, criterion: Criterion, rng: PerImageRng, eps: Tensor
    ) -> AttackResult:
        """As `perturb`, with a radius for each image: eps (n,) instead of the attack's own."""
        success_step = torch.full((len(pixels),), -1, dtype=torch.long, device=pixels.device)
        result = AttackResult(pixels.clone(), success_step, torch.zeros_like(success_step))
        for _ in range(self.restarts):
            rows = (success_step < 0).nonzero()[:, 0]
            if not len(rows):
                break
            x = self._start(pixels[rows], eps[rows], rng, rows)
            self._restart(model, _Iterate.start(x, rows, pixels, criterion, eps, result), result)
        return result

    def _start(self, pixels: Tensor, eps: Tensor, rng: PerImageRng, rows: Tensor) -> Tensor:
        if self.start == "centre":
            return pixels
        if self.start == "grey":
            change = radii(eps, pixels) * steepest_direction(0.5 - pixels, self.norm)
            return project_to_ball(pixels, pixels + change, eps, self.norm)
        numbers = rng.uniform(rows, pixels[0].numel() + 1).to(pixels.dtype)
        change = sample_ball(numbers, eps, self.norm, tuple(pixels.shape[1:]))
        return project_to_ball(pixels, pixels + change, eps, self.norm)

    def _restart(self, model: Model, iterate: "_Iterate", result: AttackResult) -> None:
        """One run of all steps, written into `result`."""
        for k in range(self.steps):
            criterion = iterate.criterion
            gradient, logits = input_gradient(
                model, iterate.x, lambda z, criterion=criterion: criterion.loss(z, self.loss)
            )
            self._note(iterate, logits, k)
            if k % COMPACT == COMPACT - 1:
                active = self._active(iterate).nonzero()[:, 0]
                if len(active) < len(iterate.x):
                    iterate.write(result)
                    if not len(active):
                        return
                    iterate, gradient = iterate.take(active), gradient[active]
            self._step(iterate, gradient.nan_to_num(), k)
        self._note(iterate, predict(model, iterate.x, len(iterate.x)), self.steps)
        iterate.write(result)

    def _active(self, iterate: "_Iterate") -> Tensor:
        """(n,) bool: which images go on."""
        return (iterate.success_step < 0) | (not self.early_stop)

    def _note(self, iterate: "_Iterate", logits: Tensor, k: int) -> None:
        """Count one more query, and the success of step k where it is the first."""
        iterate.queries = iterate.queries + self._active(iterate).long()
        success = iterate.criterion.is_adversarial(logits) & (iterate.success_step < 0)
        iterate.success_step = torch.where(success, k, iterate.success_step)

    def _step(self, iterate: "_Iterate", gradient: Tensor, k: int) -> None:
        x, norm = iterate.x, self.norm
        if self.step is None:
            length = iterate.eps * (1 + cos(pi * k / self.steps)) / 2
        else:
            length = torch.full_like(iterate.eps, self.step)
        if self.momentum:
            # A zero gradient has no direction: its norm is guarded, or the velocity would be NaN for ever.
            direction = gradient / radii(perturbation_norm(gradient, "l1").clamp_min(1e-30), gradient)
            gradient = iterate.velocity = self.momentum * iterate.velocity + direction
        if norm == "l1":
            stepped = x + spend_l1_budget(gradient, x, length)
        else:
            gradient = mask_at_bounds(gradient, x) if norm == "l2" else gradient
            stepped = x + radii(length, x) * steepest_direction(gradient, norm)
        if norm == "linf":
            stepped = stepped.clamp(iterate.lower, iterate.upper)
        else:
            stepped = project_to_ball(iterate.pixels, stepped, iterate.eps, norm)
        iterate.x = torch.where(self._active(iterate)[:, None, None, None], stepped, x)


@dataclass
class _Iterate:
    """The state of a run of PGD: one row in every tensor for each image that goes on."""

    rows: Tensor
    """Positions in the batch."""
    x: Tensor
    velocity: Tensor
    pixels: Tensor
    criterion: Criterion
    eps: Tensor
    success_step: Tensor
    queries: Tensor
    lower: Tensor
    upper: Tensor
    """What a Linf ball leaves of [0, 1]."""

    @classmethod
    def start(
        cls, x: Tensor, rows: Tensor, pixels: Tensor, criterion: Criterion, eps: Tensor, result: AttackResult
    ) -> "_Iterate":
        """The images `rows` of a batch, at x."""
        pixels, radius = pixels[rows], radii(eps[rows], x)
        return cls(
            rows=rows,
            x=x,
            velocity=torch.zeros_like(x),
            pixels=pixels,
            criterion=criterion.take(rows),
            eps=eps[rows],
            success_step=result.success_step[rows],
            queries=result.queries[rows],
            lower=(pixels - radius).clamp_min(0),
            upper=(pixels + radius).clamp_max(1),
        )

    def take(self, rows: Tensor) -> "_Iterate":
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(
            self,
            **{name: v.take(rows) if isinstance(v, Criterion) else v[rows] for name, v in values.items()},
        )

    def write(self, result: AttackResult) -> None:
        result.pixels[self.rows] = self.x
        result.success_step[self.rows] = self.success_step
        result.queries[self.rows] = self.queries


class _IterativeFGSM(BoundedAttack):
    """Steps of eps / steps from the image itself."""

    searches_ball = True

    steps: int = Field(10, ge=1, le=10_000, description="number of gradient steps")
    loss: AttackLoss = "log-odds"
    early_stop: bool = Field(
        True,
        description="stop the attack on an image at its first success; more steps improve transfer to other networks",
    )

    def perturb(self, model: Model, pixels: Tensor, criterion: Criterion, rng: PerImageRng) -> AttackResult:
        attack = PGD(start="centre", step=self.eps / self.steps, **dict(self))
        return attack.perturb(model, pixels, criterion, rng)


class BIM(_IterativeFGSM):
    """FGSM iterated in small steps, starting at the image.

    Kurakin et al. 2017, section 2.2.
    """

    name = "bim"
    title = "BIM"
    source = "Kurakin et al. 2017, arXiv 1607.02533"


class MIFGSM(_IterativeFGSM):
    """BIM with momentum, a decaying sum of the gradients, which transfers better to other networks.

    Dong et al. 2018, algorithm 1.
    """

    name = "mi-fgsm"
    title = "MI-FGSM"
    source = "Dong et al. 2018, arXiv 1710.06081"

    momentum: float = Field(1.0, ge=0, le=1, description="weight of the previous directions")
