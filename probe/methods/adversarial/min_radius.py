"""How small a change is enough? The least radius at which an image is fooled, for all images at once."""

import torch
from torch import Tensor

from probe.methods.adversarial.criteria import Criterion, predict
from probe.methods.adversarial.gradient_attacks import Ray, pgd
from probe.methods.adversarial.norms import Norm, perturbation_norm
from probe.model.model import Model


def min_radius_on_ray(
    model: Model, along: Ray, aim: Criterion, *, eps: float = 1.0, grid: int = 16, tolerance: float = 1e-4
) -> Tensor:
    """The least radius up to `eps` at which each image is fooled on its ray: (n,), inf where it never is.

    A grid of `grid` radii, denser near 0, finds the first that fools (a ray may leave the other class again, so
    one test at its end would not do); bisection between it and the one before finds where, to `tolerance`.
    What is returned does fool; an image that is fooled as it stands gets 0.
    """
    low = torch.zeros_like(along.pixels[:, 0, 0, 0])
    high = torch.full_like(low, torch.inf)
    fooled = aim.reached(along.logits)
    high[fooled] = 0
    rows, previous = (~fooled).nonzero()[:, 0], 0.0
    left, wish = along.take(rows), aim.take(rows)
    for k in range(1, grid + 1):
        if not len(rows):
            break
        here = eps * (k / grid) ** 2
        hit = wish.reached(predict(model, left.at(here), len(rows)))
        low[rows], high[rows[hit]] = previous, here
        missed = (~hit).nonzero()[:, 0]
        rows, left, wish = rows[missed], left.take(missed), wish.take(missed)
        previous = here
    return _bisect(model, along, aim, low, high, tolerance)


def _bisect(model: Model, along: Ray, aim: Criterion, low: Tensor, high: Tensor, tolerance: float) -> Tensor:
    rows = (torch.isfinite(high) & (high - low > tolerance)).nonzero()[:, 0]
    left, wish = along.take(rows), aim.take(rows)
    while len(rows):
        middle = (low[rows] + high[rows]) / 2
        between = (middle > low[rows]) & (middle < high[rows])  # False where no float lies between them
        hit = wish.reached(predict(model, left.at(middle), len(rows)))
        high[rows] = torch.where(hit, middle, high[rows])
        low[rows] = torch.where(hit, low[rows], middle)
        keep = (between & (high[rows] - low[rows] > tolerance)).nonzero()[:, 0]
        if len(keep) < len(rows):
            rows, left, wish = rows[keep], left.take(keep), wish.take(keep)
    return high


def min_radius_pgd(
    model: Model,
    pixels: Tensor,
    labels: Tensor,
    *,
    eps: float | Tensor = 1.0,
    norm: Norm = "linf",
    steps: int = 20,
    rounds: int = 8,
    seed: int = 0,
    index: Tensor | None = None,
    low: Tensor | None = None,
    high: Tensor | None = None,
) -> Tensor:
    """The least radius up to `eps`, a number or (n,), at which PGD fools each image: (n,), inf where it never does.

    Bisection of `rounds` rounds, all images at once, each with a radius of its own; a success counts with the
    size of the change that was found, which may be less than what was allowed. An upper bound of the true one.
    low, high: (n,) radii that are known to fail, and to fool (inf where none is), so that less is left to search.
    """
    n = len(pixels)
    low = torch.zeros_like(pixels[:, 0, 0, 0]) if low is None else low.clone()
    high = torch.full_like(low, torch.inf) if high is None else high.clone()
    wrong = predict(model, pixels).argmax(1) != labels
    high[wrong] = 0
    names = torch.arange(n) if index is None else index
    most = torch.as_tensor(eps, dtype=low.dtype, device=low.device).expand(n)
    rows, tried = (~wrong).nonzero()[:, 0], torch.where(torch.isfinite(high), _between(low, high), most)
    for k in range(rounds + 1):
        if not len(rows):
            break
        found = pgd(
            model, pixels[rows], labels[rows], eps=tried[rows], norm=norm, steps=steps, seed=seed + k,
            index=names[rows.cpu()],
        )  # fmt: skip
        hit = predict(model, found.pixels).argmax(1) != labels[rows]
        high[rows] = torch.where(
            hit, torch.minimum(high[rows], perturbation_norm(found.pixels - pixels[rows], norm)), high[rows]
        )
        low[rows] = torch.where(hit, low[rows], tried[rows])
        # Those that the whole radius does not fool are given up; the others are halved.
        rows = rows[torch.isfinite(high[rows])]
        tried[rows] = _between(low[rows], high[rows])
    return high


def _between(low: Tensor, high: Tensor) -> Tensor:
    """The middle; of ends that are far apart the geometric one, or the small radii would be searched last."""
    low = torch.minimum(low, high)
    return torch.where(low * 4 < high, (low * high).sqrt().clamp_min(high / 8), (low + high) / 2)
