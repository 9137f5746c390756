"""Attacks that use predictions alone: random noise, random squares, and one pixel by differential evolution."""

from math import sqrt
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from probe.methods.adversarial.attack import COMPACT, Attack, AttackResult, BoundedAttack
from probe.methods.adversarial.criteria import Criterion, predict
from probe.methods.adversarial.norms import Norm, radii, sample_ball
from probe.methods.adversarial.per_image_random import PerImageRng
from probe.model.model import Model
from probe.params import Fraction


class Noise(BoundedAttack):
    """Random signs of size eps (l2, l1: a random direction), the baseline for every attack."""

    name = "noise"
    title = "Noise"
    source = "the baseline of Szegedy et al. 2014, arXiv 1312.6199"

    def perturb(self, model: Model, pixels: Tensor, criterion: Criterion, rng: PerImageRng) -> AttackResult:
        direction = random_direction(pixels, rng, norm=self.norm)
        return AttackResult.single_step((pixels + self.eps * direction).clamp(0, 1))


def random_direction(pixels: Tensor, rng: PerImageRng, *, norm: Norm = "linf") -> Tensor:
    """A random change of norm 1 for each image: every pixel up or down ("linf"), else a direction on the sphere."""
    numbers = rng.uniform(torch.arange(len(pixels)), pixels[0].numel() + 1)
    if norm == "linf":
        return ((numbers[:, :-1] < 0.5).to(pixels.dtype) * 2 - 1).view_as(pixels)
    change = sample_ball(numbers.to(pixels.dtype), 1.0, norm, tuple(pixels.shape[1:]))
    length = change.flatten(1).norm(p=2 if norm == "l2" else 1, dim=1)
    return change / radii(length, change)


def random_noise(pixels: Tensor, length: Tensor, rng: PerImageRng) -> Tensor:
    """`pixels` under random signs of such a size that the change has the L2 norm `length` (n,) after clamping."""
    direction = random_direction(pixels, rng)
    scale, noisy = length / direction.flatten(1).norm(dim=1), pixels
    for _ in range(
        8
    ):  # clamping removes a part that depends on the scale; this converges within a few rounds
        noisy = (pixels + radii(scale, pixels) * direction).clamp(0, 1)
        reached = (noisy - pixels).flatten(1).norm(dim=1)
        scale = (scale * length / reached.clamp_min(1e-12)).clamp_max(1)
    return noisy


class SquareAttack(BoundedAttack):
    """Random search with squares of +-eps, which are kept where they lower the margin.

    Andriushchenko et al. 2020, algorithms 1 and 2.
    """

    name = "square"
    title = "Square attack"
    source = "Andriushchenko et al. 2020, arXiv 1912.00049"
    searches_ball = True

    norm: Literal["linf"] = Field("linf", description="norm of the radius")
    queries: int = Field(1000, ge=1, le=1_000_000, description="maximum number of forward passes per image")
    p_init: Fraction = Field(
        0.3,
        gt=0,
        le=1,
        description="area of the first square as a fraction of the image; it shrinks as queries are spent",
    )

    def perturb(self, model: Model, pixels: Tensor, criterion: Criterion, rng: PerImageRng) -> AttackResult:
        n, channels, _, width = pixels.shape
        rows = torch.arange(n, device=pixels.device)
        stripes = (rng.uniform(rows, channels, 1, width) < 0.5).to(pixels.dtype) * 2 - 1
        originals, x = pixels, (pixels + self.eps * stripes).clamp(0, 1)
        numbers = rng.uniform(rows, self.queries, 2 + channels)
        logits = predict(model, x)
        margin, success = criterion.margin(logits), criterion.is_adversarial(logits)
        result = AttackResult(x.clone(), torch.where(success, 0, -1), torch.ones_like(rows))
        for query in range(1, self.queries):
            if query % COMPACT == 1:
                active = (~success).nonzero()[:, 0]
                if len(active) < len(rows):
                    result.pixels[rows] = x
                    rows, x, originals = rows[active], x[active], originals[active]
                    numbers, margin, success = numbers[active], margin[active], success[active]
                    criterion = criterion.take(active)
                if not len(rows):
                    return result
            proposal = self._proposal(originals, x, numbers[:, query], query)
            logits = predict(model, proposal, len(proposal))
            new_margin = criterion.margin(logits)
            accepted = (new_margin < margin) & ~success
            newly = criterion.is_adversarial(logits) & accepted
            result.queries[rows] += (~success).long()
            result.success_step[rows] = torch.where(newly, query, result.success_step[rows])
            x = torch.where(accepted[:, None, None, None], proposal, x)
            margin, success = torch.where(accepted, new_margin, margin), success | newly
        result.pixels[rows] = x
        return result

    def _proposal(self, pixels: Tensor, x: Tensor, numbers: Tensor, query: int) -> Tensor:
        """x with a random square of +-eps around `pixels`; numbers: (n, 2 + channels), its position and signs."""
        height, width = x.shape[2:]
        down, across = torch.arange(height, device=x.device), torch.arange(width, device=x.device)
        area = self.p_init * _schedule(query / self.queries) * height * width
        side = max(1, min(height, width, round(sqrt(area))))
        top = (numbers[:, 0] * (height - side + 1)).long()[:, None]
        left = (numbers[:, 1] * (width - side + 1)).long()[:, None]
        window = ((down >= top) & (down < top + side))[:, None, :, None] & (
            (across >= left) & (across < left + side)
        )[:, None, None, :]
        sign = ((numbers[:, 2:] < 0.5).to(x.dtype) * 2 - 1)[:, :, None, None]
        return torch.where(window, (pixels + self.eps * sign).clamp(0, 1), x)


def _schedule(done: float) -> float:
    """The paper's schedule, of 10,000 queries, stretched to any number: halved at each of these fractions."""
    marks = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
    return 0.5 ** sum(done > mark for mark in marks)


class OnePixel(Attack):
    """A change of one pixel, whose position and colour are found by differential evolution.

    Su et al. 2019, section 3.2: F = 0.5, no crossover.
    """

    name = "one-pixel"
    title = "One-pixel attack"
    source = "Su et al. 2019, arXiv 1710.08864"

    population: int = Field(50, ge=1, le=10_000, description="number of candidates per image")
    generations: int = Field(20, ge=0, le=10_000, description="number of generations after the first one")

    def perturb(self, model: Model, pixels: Tensor, criterion: Criterion, rng: PerImageRng) -> AttackResult:
        n, channels = pixels.shape[:2]
        rows = torch.arange(n, device=pixels.device)
        genes = children = rng.uniform(rows, self.population, 2 + channels).to(pixels.dtype)
        fitness = torch.full(genes.shape[:2], -torch.inf, dtype=pixels.dtype, device=pixels.device)
        result = AttackResult(pixels.clone(), torch.full_like(rows, -1), torch.zeros_like(rows))
        for generation in range(self.generations + 1):
            logits = predict(model, _with_pixel(pixels[rows], children).flatten(0, 1))
            repeated = criterion.take(rows.repeat_interleave(self.population))
            # The margin, not the log-odds: the candidate that leads most is adversarial if any is.
            lead = -repeated.margin(logits).view(-1, self.population)
            better = lead > fitness
            genes = torch.where(better[:, :, None], children, genes)
            fitness = torch.where(better, lead, fitness)
            best = genes[torch.arange(len(rows), device=rows.device), fitness.argmax(1)]
            success = repeated.is_adversarial(logits).view(-1, self.population).any(1)
            result.queries[rows] += self.population
            result.pixels[rows] = _with_pixel(pixels[rows], best[:, None])[:, 0]
            result.success_step[rows] = torch.where(success, generation, -1)
            active = (~success).nonzero()[:, 0]
            rows, genes, fitness = rows[active], genes[active], fitness[active]
            if not len(rows) or generation == self.generations:
                break
            children = self._children(genes, rng.uniform(rows, self.population, 3))
        return result

    def _children(self, genes: Tensor, numbers: Tensor) -> Tensor:
        parents = (numbers * self.population).long().clamp_max(self.population - 1)
        a, b, c = (genes.gather(1, parents[:, :, k : k + 1].expand_as(genes)) for k in range(3))
        return (a + 0.5 * (b - c)).clamp(0, 1)


def _with_pixel(pixels: Tensor, genes: Tensor) -> Tensor:
    """(m, c, h, w) and (m, p, 2 + c) -> (m, p, c, h, w): a copy for every candidate, with its pixel set."""
    m, channels, height, width = pixels.shape
    row = (genes[:, :, 0] * height).long().clamp_max(height - 1)
    column = (genes[:, :, 1] * width).long().clamp_max(width - 1)
    flat = pixels[:, None].expand(-1, genes.shape[1], -1, -1, -1).flatten(3).clone()
    positions = (row * width + column)[:, :, None, None].expand(-1, -1, channels, 1)
    return flat.scatter_(3, positions, genes[:, :, 2:, None]).view(m, -1, channels, height, width)
