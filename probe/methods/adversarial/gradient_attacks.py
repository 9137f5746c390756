"""Attacks that follow the gradient: FGSM, BIM, PGD, and Szegedy's ascent on the score of a class.

All take pixels (n, c, h, w) in [0, 1] and give pixels in [0, 1]; `eps` is in pixel units (methods/balls.py).
They work on what they are given at once: whoever calls them cuts the batches.
"""

from dataclasses import dataclass
from math import cos, pi
from typing import Literal

import torch
from torch import Tensor

from probe.methods.adversarial.criteria import (
    Criterion,
    Loss,
    input_gradient,
    make_criterion,
    predict,
    validate_radius,
)
from probe.methods.adversarial.norms import (
    Norm,
    mask_at_bounds,
    perturbation_norm,
    project,
    project_to_ball,
    radii,
    sample_ball,
    spend_l1_budget,
    steepest_direction,
)
from probe.methods.adversarial.per_image_random import PerImageRng
from probe.model.model import Model

COMPACT = 4  # steps after which fooled images leave the batch: the one time the host waits for the device


@dataclass(frozen=True)
class AttackResult:
    """What a search ended with. first: (n,) the step that fooled first, -1 where none did. queries: (n,) forward passes."""

    pixels: Tensor
    first: Tensor
    queries: Tensor


@dataclass(frozen=True)
class Ray:
    """The way that one gradient points from each image: all radii of a one-step attack lie on it."""

    pixels: Tensor
    direction: Tensor
    norm: Norm
    logits: Tensor
    """(n, classes): the answers at radius 0."""

    def at(self, eps: float | Tensor) -> Tensor:
        """The images moved by `eps`, a number or (n,); eps 0 gives the very pixels back."""
        if self.norm == "l1":
            return (self.pixels + spend_l1_budget(self.direction, self.pixels, eps)).clamp(0, 1)
        return (self.pixels + radii(eps, self.pixels) * self.direction).clamp(0, 1)

    def take(self, rows: Tensor) -> "Ray":
        """The rays of some of the images."""
        return Ray(self.pixels[rows], self.direction[rows], self.norm, self.logits[rows])


def ray(model: Model, pixels: Tensor, aim: Criterion, *, norm: Norm = "linf", loss: Loss = "logodds") -> Ray:
    """The rays of a one-step attack, from one gradient an image; where that is NaN the ray does not move."""
    slope, logits = input_gradient(model, pixels, lambda z: aim.loss(z, loss))
    slope = slope.nan_to_num()
    return Ray(pixels, slope if norm == "l1" else steepest_direction(slope, norm), norm, logits)


def fgsm(
    model: Model,
    pixels: Tensor,
    labels: Tensor,
    *,
    eps: float,
    norm: Norm = "linf",
    targets: Tensor | int | None = None,
    loss: Loss = "logodds",
) -> Tensor:
    """Take one step of size `eps` up the loss gradient: along its sign for "linf".

    pixels: (n, c, h, w) in [0, 1]. labels: (n,) true classes. targets: (n,) or one class to be answered instead.
    eps: L-infinity radius in pixel units; 8/255 is eight grey levels ("l2", "l1": the norm of the whole change).
    Returns (n, c, h, w) in [0, 1], no image further than `eps` from its original.
    Raises UserError as `make_criterion` does, and for eps outside [0, 1].

    Goodfellow et al. 2015, section 4.
    """
    aim = make_criterion(model, pixels, labels, targets)
    return ray(model, pixels, aim, norm=norm, loss=loss).at(validate_radius(eps, norm))


def sweep(model: Model, along: Ray, eps: Tensor) -> Tensor:
    """The answers along rays for every radius of `eps` (r,): logits (r, n, classes).

    Radius 0 costs nothing: its answers were needed for the gradient.
    """
    known = along.logits
    return torch.stack([known if e == 0 else predict(model, along.at(e), len(known)) for e in eps.tolist()])


def pgd(
    model: Model,
    pixels: Tensor,
    labels: Tensor,
    *,
    eps: float | Tensor,
    norm: Norm = "linf",
    steps: int = 40,
    step: float | None = None,
    restarts: int = 1,
    start: Literal["uniform", "centre"] = "uniform",
    momentum: float = 0.0,
    targets: Tensor | int | None = None,
    loss: Loss = "logodds",
    seed: int = 0,
    index: Tensor | None = None,
    to_the_end: bool = False,
) -> AttackResult:
    """Climb the loss by `steps` steps, each brought back into the ball; stop for an image at its first success.

    eps: radius, a number or (n,). step: length of every step in the same norm; by default it falls from eps to 0
    along half a cosine, after which fewer images stand than after twice as many steps of 2.5 eps / steps.
    start: "uniform" in the ball, or "centre", the image itself. restarts: further climbs for those not fooled yet.
    momentum: share of the former direction that is kept (Dong et al. 2018). index: (n,) names of the images, from
    which their random numbers come (default 0, 1, ...): the same image is attacked alike in any batch.
    to_the_end: go on after the first success, for images that are to fool other networks too.
    Returns the first success of each image, or the last point where there was none (always, `to_the_end`).
    Raises UserError as `fgsm` does.

    Madry et al. 2018, section 2.1.
    """
    aim = make_criterion(model, pixels, labels, targets)
    limits = torch.as_tensor(eps, dtype=pixels.dtype, device=pixels.device).expand(len(pixels))
    validate_radius(float(limits.max()), norm)
    strides = limits if step is None else torch.full_like(limits, step)
    names = torch.arange(len(pixels)) if index is None else index
    draws = PerImageRng(seed, names, pixels.device) if start == "uniform" else None
    found = AttackResult(pixels.clone(), *(torch.full_like(labels, value) for value in (-1, 0)))
    for _ in range(restarts):
        rows = (found.first < 0).nonzero()[:, 0]
        if not len(rows):
            break
        begin = pixels[rows]
        if draws is not None:
            numbers = draws.uniform(rows, begin[0].numel() + 1).to(pixels.dtype)
            begin = project_to_ball(
                begin,
                begin + sample_ball(numbers, limits[rows], norm, tuple(begin.shape[1:])),
                limits[rows],
                norm,
            )
        how = _Climb(norm, steps, step is None, momentum, loss, to_the_end)
        _climb(model, begin, pixels, aim, limits, strides, rows, found, how)
    return found


@dataclass(frozen=True)
class _Climb:
    norm: Norm
    steps: int
    falling: bool
    momentum: float
    loss: Loss
    to_the_end: bool


def _climb(
    model: Model,
    at: Tensor,
    pixels: Tensor,
    aim: Criterion,
    limits: Tensor,
    strides: Tensor,
    rows: Tensor,
    found: AttackResult,
    how: _Climb,
) -> None:
    """One climb from `at` for the images `rows`, written into `found`."""
    norm, steps, momentum = how.norm, how.steps, how.momentum
    base, wish, limit, stride = pixels[rows], aim.take(rows), limits[rows], strides[rows]
    fooled = torch.zeros(len(rows), dtype=torch.bool, device=at.device)
    first, queries = found.first[rows], found.queries[rows]
    velocity = torch.zeros_like(at) if momentum else None
    room = radii(limit, base)
    walls = ((base - room).clamp_min(0), (base + room).clamp_max(1)) if norm == "linf" else None
    for k in range(steps + 1):
        last = k == steps
        if last:
            slope, logits = at, predict(model, at, len(at))  # no step follows, so no slope is needed
        else:
            slope, logits = input_gradient(model, at, lambda z, wish=wish: wish.loss(z, how.loss))
        queries = queries + (~fooled | how.to_the_end).long()
        reached = wish.reached(logits) & ~fooled
        first = torch.where(reached, k, first)
        fooled = fooled | reached
        if last or k % COMPACT == COMPACT - 1:
            go_on = (~fooled | how.to_the_end).nonzero()[:, 0]
            if last or len(go_on) < len(rows):
                found.pixels[rows], found.first[rows], found.queries[rows] = at, first, queries
            if last or not len(go_on):
                return
            if len(go_on) < len(rows):
                rows, at, base, wish = rows[go_on], at[go_on], base[go_on], wish.take(go_on)
                limit, stride, first, queries = limit[go_on], stride[go_on], first[go_on], queries[go_on]
                fooled, slope = fooled[go_on], slope[go_on]
                velocity = velocity[go_on] if velocity is not None else None
                walls = (walls[0][go_on], walls[1][go_on]) if walls is not None else None
        slope = slope.nan_to_num()
        length = stride * (1 + cos(pi * k / steps)) / 2 if how.falling else stride
        if velocity is not None:
            # A zero gradient has no direction: its mean is guarded, or the velocity would be NaN for ever.
            slope = velocity = momentum * velocity + slope / radii(
                perturbation_norm(slope, "l1").clamp_min(1e-30), slope
            )
        if norm == "l1":
            moved = at + spend_l1_budget(slope, at, length)
        else:
            slope = mask_at_bounds(slope, at) if norm == "l2" else slope
            moved = at + radii(length, at) * steepest_direction(slope, norm)
        moved = project_to_ball(base, moved, limit, norm) if walls is None else moved.clamp(*walls)
        at = moved if how.to_the_end else torch.where(radii(fooled.to(at.dtype), at).bool(), at, moved)


def bim(
    model: Model, pixels: Tensor, labels: Tensor, *, eps: float, steps: int = 10, **options: object
) -> AttackResult:
    """FGSM in `steps` small steps of eps / steps from the image itself; options as for `pgd`.

    Kurakin et al. 2017, section 2.2.
    """
    fixed = {"start": "centre", "step": eps / max(1, steps), **options}
    return pgd(model, pixels, labels, eps=eps, steps=steps, **fixed)  # pyrefly: ignore[bad-argument-type]


@dataclass(frozen=True)
class Ascent:
    """Where an ascent ended, and the probability of the target on the way: (steps + 1, n)."""

    pixels: Tensor
    probability: Tensor


def ascend(
    model: Model,
    pixels: Tensor,
    targets: Tensor | int,
    *,
    steps: int = 100,
    step: float = 0.1,
    confidence: float = 0.95,
    eps: float | None = None,
) -> Ascent:
    """Climb the score of a class from any picture, noise included, until its probability reaches `confidence`.

    step: L2 length of a step in pixel units. eps: largest L2 change (default: none but [0, 1]).
    Raises UserError for a class that does not exist.

    Szegedy et al. 2014, section 4, by gradient ascent on the log-odds of the class.
    """
    wanted = torch.as_tensor(targets, device=pixels.device).expand(len(pixels)).long()
    others = (wanted + 1) % len(model.classes)
    aim = make_criterion(model, pixels, others, wanted)
    made, chance, rows = pixels.clone(), torch.zeros_like(pixels[:, 0, 0, 0]), torch.arange(len(pixels))
    rows, trace = rows.to(pixels.device), []
    for k in range(steps + 1):
        at, here = made[rows], aim.take(rows)
        slope, logits = input_gradient(model, at, lambda z, here=here: here.loss(z))
        chance[rows] = logits.softmax(1).gather(1, wanted[rows, None])[:, 0]
        trace.append(chance.clone())
        if k == steps:
            break
        moved = at + step * steepest_direction(mask_at_bounds(slope.nan_to_num(), at), "l2")
        if eps is not None:
            moved = pixels[rows] + project(moved - pixels[rows], eps, "l2")
        there = chance[rows] >= confidence
        made[rows] = torch.where(radii(there.to(at.dtype), at).bool(), at, moved.clamp(0, 1))
        if k % COMPACT == COMPACT - 1:
            rows = rows[~there]
            if not len(rows):
                break
    return Ascent(made, torch.stack(trace))
