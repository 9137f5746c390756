"""Minimal radii: the smallest radius at which each image is adversarial, along a ray and by PGD."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from probe.methods.adversarial.criteria import Criterion, predict
from probe.methods.adversarial.gradient_attacks import PGD, Ray
from probe.methods.adversarial.norms import perturbation_norm
from probe.methods.adversarial.per_image_random import PerImageRng
from probe.model.model import Model


def min_radius_on_ray(
    model: Model,
    rays: Ray,
    criterion: Criterion,
    *,
    eps: float = 1.0,
    grid: int = 16,
    tolerance: float = 1e-4,
) -> Tensor:
    """The smallest radius up to `eps` at which each image is adversarial on its ray: (n,), inf where none is.

    The first of `grid` radii, denser near 0, that succeeds (a ray may leave the other class again, so a test at its
    end alone would not do); then bisection between it and the one before, to `tolerance`.
    The image at the returned radius is adversarial; one that is misclassified already gets 0.
    """
    low = torch.zeros_like(rays.pixels[:, 0, 0, 0])
    high = torch.full_like(low, torch.inf)
    clean = criterion.is_adversarial(rays.logits)
    high[clean] = 0
    rows, previous = (~clean).nonzero()[:, 0], 0.0
    open_rays, open_criterion = rays.take(rows), criterion.take(rows)
    for k in range(1, grid + 1):
        if not len(rows):
            break
        radius = eps * (k / grid) ** 2
        success = open_criterion.is_adversarial(predict(model, open_rays.at(radius), len(rows)))
        low[rows], high[rows[success]] = previous, radius
        failed = (~success).nonzero()[:, 0]
        rows, open_rays, open_criterion = rows[failed], open_rays.take(failed), open_criterion.take(failed)
        previous = radius
    return _bisect(model, rays, criterion, Bracket(low, high), tolerance)


@dataclass
class Smallest:
    """The smallest change that is known to fool each image. size: (n,) its Linf norm, inf where none is known.

    pixels: (n, c, h, w) the image with that change; where none is known, the image itself.
    """

    pixels: Tensor
    size: Tensor

    @classmethod
    def start(cls, pixels: Tensor, misclassified: Tensor) -> Self:
        """misclassified: (n,) bool, the images that need no change."""
        size = torch.full_like(pixels[:, 0, 0, 0], torch.inf)
        return cls(pixels.clone(), torch.where(misclassified, 0, size))

    def update(
        self, originals: Tensor, perturbed: Tensor, success: Tensor, rows: Tensor | None = None
    ) -> None:
        """Take over those of `perturbed` that succeed and are smaller. rows: their positions, by default all."""
        rows = (
            torch.arange(len(self.size), device=self.size.device)
            if rows is None
            else rows.to(self.size.device)
        )
        size = torch.where(success, perturbation_norm(perturbed - originals, "linf"), torch.inf)
        better = size < self.size[rows]
        self.size[rows] = torch.where(better, size, self.size[rows])
        self.pixels[rows] = torch.where(better[:, None, None, None], perturbed, self.pixels[rows])


@dataclass(frozen=True)
class Bracket:
    """Radii of each image that are known. low: (n,) one that fails. high: (n,) one that succeeds, inf where none does."""

    low: Tensor
    high: Tensor


def _bisect(model: Model, rays: Ray, criterion: Criterion, bracket: Bracket, tolerance: float) -> Tensor:
    low, high = bracket.low, bracket.high
    rows = (torch.isfinite(high) & (high - low > tolerance)).nonzero()[:, 0]
    rays, criterion = rays.take(rows), criterion.take(rows)
    while len(rows):
        middle = (low[rows] + high[rows]) / 2
        between = (middle > low[rows]) & (middle < high[rows])  # False where no float lies between them
        success = criterion.is_adversarial(predict(model, rays.at(middle), len(rows)))
        high[rows] = torch.where(success, middle, high[rows])
        low[rows] = torch.where(success, low[rows], middle)
        unsettled = (between & (high[rows] - low[rows] > tolerance)).nonzero()[:, 0]
        if len(unsettled) < len(rows):
            rows, rays, criterion = rows[unsettled], rays.take(unsettled), criterion.take(unsettled)
    return high


@dataclass(frozen=True)
class PGDRadiusSearch:
    """The smallest radius at which PGD fools each image, by bisection. attack: its eps is the largest radius tried.

    All images at once, each with a radius of its own; a success counts with the size of the change found, which may
    be less than was allowed. An upper bound of the true minimal radius. rounds: halvings of the bracket. tolerance: the
    width of the bracket, of its upper end, at which an image is settled.
    """

    attack: PGD
    rounds: int = 8
    tolerance: float = 0.0

    def __call__(
        self,
        model: Model,
        pixels: Tensor,
        labels: Tensor,
        *,
        bracket: Bracket | None = None,
        smallest: Smallest | None = None,
        seed: int = 0,
        ids: Tensor | None = None,
    ) -> Tensor:
        """(n,) radii, inf where PGD never succeeds, 0 for what is misclassified already. Arguments as for an attack.

        bracket: known radii, so that less is left to search. smallest: takes over the changes that are found.
        """
        criterion = self.attack.criterion(model, pixels, labels)
        ids = torch.arange(len(pixels)) if ids is None else ids
        low = torch.zeros_like(pixels[:, 0, 0, 0]) if bracket is None else bracket.low.clone()
        high = torch.full_like(low, torch.inf) if bracket is None else bracket.high.clone()
        clean = criterion.is_adversarial(predict(model, pixels))
        high[clean] = 0
        rows = (~clean).nonzero()[:, 0]
        radius = torch.where(torch.isfinite(high), _between(low, high), self.attack.eps)
        for k in range(self.rounds + 1):
            if not len(rows):
                break
            x, own = pixels[rows], criterion.take(rows)
            rng = PerImageRng(seed + k, ids[rows.cpu()], like=x)
            result = self.attack.within(model, x, own, rng, radius[rows])
            success = own.is_adversarial(predict(model, result.pixels))
            size = perturbation_norm(result.pixels - x, self.attack.norm)
            if smallest is not None:
                smallest.update(x, result.pixels, success, rows)
            high[rows] = torch.where(success, torch.minimum(high[rows], size), high[rows])
            low[rows] = torch.where(success, low[rows], radius[rows])
            # Images that the largest radius does not fool are given up; the others are halved until they are settled.
            unsettled = high[rows] - low[rows] > self.tolerance * high[rows]
            rows = rows[torch.isfinite(high[rows]) & unsettled]
            radius[rows] = _between(low[rows], high[rows])
        return high


def _between(low: Tensor, high: Tensor) -> Tensor:
    """The middle; of ends that are far apart the geometric one, or the small radii would be searched last."""
    low = torch.minimum(low, high)
    return torch.where(low * 4 < high, (low * high).sqrt().clamp_min(high / 8), (low + high) / 2)
