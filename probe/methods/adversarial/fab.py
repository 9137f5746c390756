"""FAB, the targeted minimal attack of AutoAttack, and its projection on a hyperplane inside the box of pixels."""

import torch
from pydantic import Field
from torch import Tensor

from probe.methods.adversarial.apgd import LinfAttack, likely_targets, nothing_fooled
from probe.methods.adversarial.attack import COMPACT, AttackResult
from probe.methods.adversarial.criteria import Criterion, input_gradient
from probe.methods.adversarial.norms import radii
from probe.methods.adversarial.per_image_random import PerImageRng
from probe.model.model import Model
from probe.params import Fraction


class TargetedFAB(LinfAttack):
    """Projections onto the linearised boundary to each class in turn that stay close to the image: a minimal attack.

    Succeeds where the smallest change that it meets is within eps. Croce and Hein 2020, arXiv 1907.02044, algorithm 1.
    """

    name = "fab-t"
    title = "FAB-T"
    source = "Croce and Hein 2020, arXiv 1907.02044"

    steps: int = Field(100, ge=1, le=10_000, description="number of projections towards each class")
    classes: int = Field(
        9, ge=1, le=1000, description="number of target classes to try, those with the largest logits"
    )
    overshoot: float = Field(
        1.05, ge=1, le=2, description="factor by which a projection overshoots the decision boundary"
    )
    backward: Fraction = Field(
        0.9, gt=0, lt=1, description="fraction of the perturbation that is kept after a success"
    )
    bias: Fraction = Field(
        0.1, ge=0, le=1, description="largest weight of the projection from the image itself"
    )

    def perturb(self, model: Model, pixels: Tensor, criterion: Criterion, rng: PerImageRng) -> AttackResult:
        result = nothing_fooled(pixels)
        for targets in likely_targets(model, pixels, criterion, self.classes):
            rows = (result.success_step < 0).nonzero()[:, 0]
            if not len(rows):
                break
            self._towards(model, pixels[rows], Criterion(criterion.labels[rows], targets[rows]), rows, result)
        return result

    def _towards(
        self, model: Model, pixels: Tensor, criterion: Criterion, rows: Tensor, result: AttackResult
    ) -> None:
        x = pixels
        for k in range(self.steps + 1):
            gradient, logits = input_gradient(model, x, lambda z, c=criterion: -c.margin(z))
            result.queries[rows] += 1
            success = Criterion(criterion.labels).is_adversarial(logits)
            inside = success & ((x - pixels).flatten(1).abs().amax(1) <= self.eps)
            result.success_step[rows[inside]] = k
            result.pixels[rows[inside]] = x[inside]
            if k == self.steps:
                return
            if k % COMPACT == COMPACT - 1:
                active = (result.success_step[rows] < 0).nonzero()[:, 0]
                if not len(active):
                    return
                rows, x, pixels, criterion = rows[active], x[active], pixels[active], criterion.take(active)
                gradient, logits, success = gradient[active], logits[active], success[active]
            stepped = self._project(x, pixels, gradient.nan_to_num(), -criterion.margin(logits))
            # After a success outside of the ball the search goes on from nearer to the image.
            nearer = pixels + self.backward * (x - pixels)
            x = torch.where(success[:, None, None, None], nearer, stepped)

    def _project(self, x: Tensor, pixels: Tensor, gradient: Tensor, value: Tensor) -> Tensor:
        """The step from x and from the image to where value + gradient (x' - x) is 0, mixed; (n, c, h, w) in [0, 1]."""
        offset = value + (gradient * (pixels - x)).flatten(1).sum(1)
        from_x, from_image = (
            project_to_hyperplane(x, gradient, value),
            project_to_hyperplane(pixels, gradient, offset),
        )
        lengths = [change.flatten(1).abs().amax(1).clamp_min(1e-8) for change in (from_x, from_image)]
        weight = radii((lengths[0] / (lengths[0] + lengths[1])).clamp(0, self.bias), x)
        return (
            (x + self.overshoot * from_x) * (1 - weight) + (pixels + self.overshoot * from_image) * weight
        ).clamp(0, 1)


def project_to_hyperplane(pixels: Tensor, gradient: Tensor, value: Tensor) -> Tensor:
    """The change of least Linf norm, inside [0, 1], that makes value + gradient . change zero: (n, c, h, w).

    value: (n,). Where no change inside [0, 1] is enough, the one that comes nearest.
    """
    flat, x = gradient.flatten(1), pixels.flatten(1)
    direction = -flat.sign() * value.sign()[:, None]
    slack = torch.where(direction > 0, 1 - x, x) * direction.abs()
    ordered, order = slack.sort(dim=1)
    weights = flat.abs().gather(1, order)
    # With every value changed by min(level, slack) the sum of weight times change is piecewise linear in the level.
    spent = (weights * ordered).cumsum(1)
    remaining = weights.sum(1, keepdim=True) - weights.cumsum(1)
    reached = spent + remaining * ordered  # at a level equal to each slack in turn
    need = value.abs()[:, None]
    place = (reached < need).sum(1, keepdim=True)
    last = flat.shape[1] - 1
    before = (place - 1).clamp(0, last)
    base = torch.where(place > 0, spent.gather(1, before), 0)
    rate = torch.where(place > 0, remaining.gather(1, before), weights.sum(1, keepdim=True))
    level = torch.where(place > last, ordered[:, -1:], (need - base) / rate.clamp_min(1e-30))
    return (direction * torch.minimum(slack, level)).view_as(gradient)
