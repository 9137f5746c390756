"""Attacks that see answers alone: noise, random squares, and one pixel found by evolution."""

from math import sqrt

import torch
from torch import Tensor

from probe.methods.adversarial.criteria import make_criterion, predict, validate_radius
from probe.methods.adversarial.gradient_attacks import COMPACT, AttackResult
from probe.methods.adversarial.norms import Norm, radii, sample_ball
from probe.methods.adversarial.per_image_random import PerImageRng
from probe.model.model import Model


def random_direction(
    pixels: Tensor, *, norm: Norm = "linf", seed: int = 0, index: Tensor | None = None
) -> Tensor:
    """A random change of norm 1 for each image: every pixel up or down ("linf"), else a direction on the sphere.

    The baseline of every attack: pixels + eps * noise, clamped, is as large as what the attack may do.
    """
    names = torch.arange(len(pixels)) if index is None else index
    numbers = PerImageRng(seed, names, pixels.device).uniform(
        torch.arange(len(pixels)), pixels[0].numel() + 1
    )
    if norm == "linf":
        return ((numbers[:, :-1] < 0.5).to(pixels.dtype) * 2 - 1).view_as(pixels)
    drawn = sample_ball(numbers.to(pixels.dtype), 1.0, norm, tuple(pixels.shape[1:]))
    length = drawn.flatten(1).norm(p=2 if norm == "l2" else 1, dim=1)
    return drawn / radii(length, drawn)


def random_noise(pixels: Tensor, length: Tensor, *, seed: int = 0, index: Tensor | None = None) -> Tensor:
    """`pixels` under random signs of such a size that the change has the L2 norm `length` (n,) after clamping."""
    direction = random_direction(pixels, seed=seed, index=index)
    scale, moved = length / direction.flatten(1).norm(dim=1), pixels
    for _ in range(8):  # clamping eats a part that depends on the scale; this settles within a few rounds
        moved = (pixels + radii(scale, pixels) * direction).clamp(0, 1)
        reached = (moved - pixels).flatten(1).norm(dim=1)
        scale = (scale * length / reached.clamp_min(1e-12)).clamp_max(1)
    return moved


def square_attack(
    model: Model,
    pixels: Tensor,
    labels: Tensor,
    *,
    eps: float,
    queries: int = 1000,
    share: float = 0.3,
    seed: int = 0,
    index: Tensor | None = None,
) -> AttackResult:
    """Random squares of +-eps, kept where they bring the margin down (Linf); stops at the first success.

    share: of the image that the first square covers; it shrinks as the queries are used up.
    Andriushchenko et al. 2020, algorithms 1 and 2.
    """
    aim = make_criterion(model, pixels, labels)
    validate_radius(eps, "linf")
    n, channels, height, width = pixels.shape
    device = pixels.device
    draws = PerImageRng(seed, torch.arange(n) if index is None else index, device)
    rows = torch.arange(n, device=device)
    stripes = (draws.uniform(rows, channels, 1, width) < 0.5).to(pixels.dtype) * 2 - 1
    at = (pixels + eps * stripes).clamp(0, 1)
    numbers = draws.uniform(rows, queries, 2 + channels)
    made, first, used = at.clone(), torch.full_like(aim.labels, -1), torch.ones_like(aim.labels)
    logits = predict(model, at)
    margin, fooled = _margin(logits, aim.labels), aim.reached(logits)
    first[fooled] = 0
    base, own, down, across = (
        pixels,
        aim,
        torch.arange(height, device=device),
        torch.arange(width, device=device),
    )
    for q in range(1, queries):
        if q % COMPACT == 1:
            keep = (~fooled).nonzero()[:, 0]
            if len(keep) < len(rows):
                made[rows] = at
                rows, at, base, numbers = rows[keep], at[keep], base[keep], numbers[keep]
                own, margin, fooled = own.take(keep), margin[keep], fooled[keep]
            if not len(rows):
                return AttackResult(made, first, used)
        side = max(1, min(height, width, round(sqrt(share * _shrunk(q / queries) * height * width))))
        number = numbers[:, q]
        top = (number[:, 0] * (height - side + 1)).long()[:, None]
        left = (number[:, 1] * (width - side + 1)).long()[:, None]
        window = ((down >= top) & (down < top + side))[:, None, :, None] & (
            (across >= left) & (across < left + side)
        )[:, None, None, :]
        sign = ((number[:, 2:] < 0.5).to(pixels.dtype) * 2 - 1)[:, :, None, None]
        tried = torch.where(window, (base + eps * sign).clamp(0, 1), at)
        logits = predict(model, tried, len(tried))
        now = _margin(logits, own.labels)
        accepted = (now < margin) & ~fooled
        reached = own.reached(logits) & accepted
        used[rows] += (~fooled).long()
        first[rows] = torch.where(reached, q, first[rows])
        at = torch.where(accepted[:, None, None, None], tried, at)
        margin, fooled = torch.where(accepted, now, margin), fooled | reached
    made[rows] = at
    return AttackResult(made, first, used)


def _margin(logits: Tensor, labels: Tensor) -> Tensor:
    other = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
    return logits.gather(1, labels[:, None])[:, 0] - other


def _shrunk(done: float) -> float:
    """The paper's schedule, of 10,000 queries, stretched to any number: halved at each of these shares."""
    marks = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
    return 0.5 ** sum(done > mark for mark in marks)


def one_pixel_attack(
    model: Model,
    pixels: Tensor,
    labels: Tensor,
    *,
    population: int = 50,
    generations: int = 20,
    seed: int = 0,
    index: Tensor | None = None,
) -> AttackResult:
    """Change one pixel alone, to any colour: place and colour by differential evolution, all images at once.

    population: candidates an image. Su et al. 2019, section 3.2 (F = 0.5, no crossover).
    """
    aim = make_criterion(model, pixels, labels)
    n, channels = pixels.shape[:2]
    draws = PerImageRng(seed, torch.arange(n) if index is None else index, pixels.device)
    rows = torch.arange(n, device=pixels.device)
    genes = draws.uniform(rows, population, 2 + channels).to(pixels.dtype)
    made, first, used = pixels.clone(), torch.full_like(aim.labels, -1), torch.zeros_like(aim.labels)
    fitness = torch.full((n, population), -torch.inf, dtype=pixels.dtype, device=pixels.device)
    children = genes
    for generation in range(generations + 1):
        base, own = pixels[rows], aim.take(rows)
        tried = _with_pixel(base, children)
        repeated = own.take(torch.arange(len(rows), device=rows.device).repeat_interleave(population))
        logits = predict(model, tried.flatten(0, 1))
        # The margin, not the log-odds: who has the largest is fooled if anyone is.
        score = -_margin(logits, repeated.labels).view(-1, population)
        better = score > fitness
        genes = torch.where(better[:, :, None], children, genes)
        fitness = torch.where(better, score, fitness)
        used[rows] += population
        best = fitness.argmax(1)
        made[rows] = _with_pixel(base, genes[torch.arange(len(rows), device=rows.device), best][:, None])[
            :, 0
        ]
        fooled = repeated.reached(logits).view(-1, population).any(1)
        first[rows] = torch.where(fooled, generation, -1)
        keep = (~fooled).nonzero()[:, 0]
        rows, genes, fitness = rows[keep], genes[keep], fitness[keep]
        if not len(rows) or generation == generations:
            break
        parents = (draws.uniform(rows, population, 3) * population).long().clamp_max(population - 1)
        a, b, c = (genes.gather(1, parents[:, :, k : k + 1].expand_as(genes)) for k in range(3))
        children = (a + 0.5 * (b - c)).clamp(0, 1)
    return AttackResult(made, first, used)


def _with_pixel(base: Tensor, genes: Tensor) -> Tensor:
    """(m, c, h, w) and (m, p, 2 + c) -> (m, p, c, h, w): a copy for every candidate, with its pixel set."""
    m, channels, height, width = base.shape
    row = (genes[:, :, 0] * height).long().clamp_max(height - 1)
    column = (genes[:, :, 1] * width).long().clamp_max(width - 1)
    flat = base[:, None].expand(-1, genes.shape[1], -1, -1, -1).flatten(3).clone()
    place = (row * width + column)[:, :, None, None].expand(-1, -1, channels, 1)
    return flat.scatter_(3, place, genes[:, :, 2:, None]).view(m, -1, channels, height, width)
