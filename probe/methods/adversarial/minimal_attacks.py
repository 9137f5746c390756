"""Attacks that search for the smallest change instead of using up a radius: DeepFool, and Carlini and Wagner's L2."""

from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from probe.methods.adversarial.attack import Attack, AttackResult
from probe.methods.adversarial.criteria import Criterion, differentiable_logits, input_gradient, logit_lead
from probe.methods.adversarial.norms import perturbation_norm, radii, steepest_direction
from probe.methods.adversarial.per_image_random import PerImageRng
from probe.model.model import Model
from probe.params import Fraction

_TINY = 1e-12


class DeepFool(Attack):
    """Repeated steps to the nearest decision boundary of the linearised network.

    Moosavi-Dezfooli et al. 2016, algorithm 2.
    """

    name = "deepfool"
    title = "DeepFool"
    source = "Moosavi-Dezfooli et al. 2016, arXiv 1511.04599"
    has_targets = False

    norm: Literal["l2", "linf"] = Field("l2", description="norm of the perturbation that is minimised")
    steps: int = Field(50, ge=1, le=10_000, description="maximum number of steps")
    candidates: int = Field(10, ge=2, description="number of classes to try, those with the largest logits")
    overshoot: Fraction = Field(
        0.02,
        ge=0,
        le=1,
        description="relative amount by which the perturbation is enlarged to cross the boundary",
    )

    def perturb(self, model: Model, pixels: Tensor, criterion: Criterion, rng: PerImageRng) -> AttackResult:
        labels = criterion.labels
        adversarials, success_step = pixels.clone(), torch.full_like(labels, -1)
        queries = torch.zeros_like(labels)
        rows, total, x = torch.arange(len(pixels), device=pixels.device), torch.zeros_like(pixels), pixels
        for k in range(self.steps + 1):
            own = labels[rows]
            with torch.enable_grad():
                leaf = x.detach().requires_grad_(True)
                logits = differentiable_logits(model, leaf)
                success = (logits.detach().argmax(1) != own) & (_certain_lead(logits.detach(), own) < 0)
                queries[rows] += 1
                adversarials[rows] = x
                success_step[rows] = torch.where(success, k, -1)
                if k == self.steps:
                    break
                step = self._to_boundary(logits, leaf, own)
            active = (~success).nonzero()[:, 0]
            if not len(active):
                break
            rows, total = rows[active], (total + step)[active]
            x = (pixels[rows] + (1 + self.overshoot) * total).clamp(0, 1)
        return AttackResult(adversarials, success_step, queries)

    def _to_boundary(self, logits: Tensor, leaf: Tensor, own: Tensor) -> Tensor:
        """The smallest step that makes another class equal to `own`, if the network were linear."""
        order = logits.detach().scatter(1, own[:, None], torch.inf).argsort(dim=1, descending=True)
        nearest = torch.full_like(own, torch.inf, dtype=leaf.dtype)
        step = torch.zeros_like(leaf)
        own_logit = logits.gather(1, own[:, None])[:, 0]
        count = min(self.candidates, logits.shape[1])
        for k in range(1, count):
            behind = logits.gather(1, order[:, k : k + 1])[:, 0] - own_logit
            (gradient,) = torch.autograd.grad(behind.sum(), leaf, retain_graph=k < count - 1)
            gradient = gradient.nan_to_num()
            # The dual norm: what a step of size 1 gains.
            gain = perturbation_norm(gradient, "l2" if self.norm == "l2" else "l1")
            distance = (behind.detach().abs() + 1e-6) / gain.clamp_min(_TINY)
            nearer = (distance < nearest) & (gain > 0)
            nearest = torch.where(nearer, distance, nearest)
            candidate = radii(distance, leaf) * steepest_direction(gradient, self.norm)
            step = torch.where(nearer[:, None, None, None], candidate, step)
        return step


def _rounding(logits: Tensor) -> Tensor:
    """(n,) a lead below this may be gone when the same image is classified in a batch of another size."""
    return 32 * torch.finfo(logits.dtype).eps * logits.abs().amax(1)


def _certain_lead(logits: Tensor, classes: Tensor) -> Tensor:
    """(n,) the logit of `classes` minus the largest other one, 0 where that is within rounding."""
    lead = logit_lead(logits, classes)
    return torch.where(lead.abs() <= _rounding(logits), 0, lead)


class CarliniWagner(Attack):
    """The smallest L2 perturbation that Adam finds by minimising norm^2 + c max(margin + confidence, 0).

    Pixels are clamped to [0, 1] after every step, the paper's first way (V.B), and not written as tanh: black and
    white ones would hardly change. Each image has its own c, searched over `rounds` rounds: the first solves the
    linearised network, then bisection where it succeeded and ten times as much where it did not; each round starts
    from the best result so far. Returns the smallest success, or the image itself where there was none.
    Carlini & Wagner 2017, section VI.A.
    """

    name = "carlini-wagner"
    title = "Carlini-Wagner L2"
    source = "Carlini & Wagner 2017, arXiv 1608.04644"

    rounds: int = Field(4, ge=1, le=100, description="number of values of c that are tried per image")
    steps: int = Field(60, ge=1, le=10_000, description="number of gradient steps per round")
    lr: float | None = Field(
        None,
        gt=0,
        description="learning rate of Adam, which decays to zero within a round (default: proportional to the expected "
        "size of the perturbation)",
    )
    confidence: float = Field(0.0, ge=0, description="margin in logits that counts as a success")

    def perturb(self, model: Model, pixels: Tensor, criterion: Criterion, rng: PerImageRng) -> AttackResult:
        return self.refine(model, pixels, criterion, pixels)

    def refine(self, model: Model, pixels: Tensor, criterion: Criterion, start: Tensor) -> AttackResult:
        """As `perturb`, from `start` (n, c, h, w), such as what DeepFool returned."""
        gradient, logits = input_gradient(model, pixels, criterion.margin)
        steepness = gradient.nan_to_num().flatten(1).norm(dim=1)
        # To the boundary of the linearised network.
        distance = (criterion.margin(logits) + self.confidence).abs() / steepness.clamp_min(_TINY)
        c = torch.where(steepness > 0, 2 * distance / steepness.clamp_min(_TINY), 1.0)
        started = perturbation_norm(start - pixels, "l2")
        scale = torch.where(started > 0, started, distance) / pixels[0].numel() ** 0.5
        lr = radii(scale.clamp(1e-4, 0.1) if self.lr is None else self.lr, pixels)
        success_step = torch.full_like(criterion.labels, -1)
        best = _Best(pixels.clone(), torch.full_like(distance, torch.inf), success_step)
        low, high = torch.zeros_like(distance), torch.full_like(distance, torch.inf)
        x = start
        for k in range(self.rounds):
            x, success = self._round(model, criterion, _Descent(pixels, x, c, lr, k * self.steps), best)
            x = torch.where((best.success_step >= 0)[:, None, None, None], best.pixels, x)
            high = torch.where(success, torch.minimum(high, c), high)
            low = torch.where(success, low, torch.maximum(low, c))
            c = torch.where(torch.isfinite(high), (low + high) / 2, c * 10)
        queries = torch.full_like(success_step, 1 + self.rounds * self.steps)
        return AttackResult(best.pixels, best.success_step, queries)

    def _round(
        self, model: Model, criterion: Criterion, descent: "_Descent", best: "_Best"
    ) -> tuple[Tensor, Tensor]:
        """Where Adam leads with one c an image, and (n,) whether a success lay on the way; `best` is kept up to date."""
        x, pixels = descent.x, descent.pixels
        mean, square = torch.zeros_like(x), torch.zeros_like(x)
        any_success = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        for k in range(self.steps):
            with torch.enable_grad():
                leaf = x.detach().requires_grad_(True)
                logits = differentiable_logits(model, leaf)
                margin = criterion.margin(logits)
                size = (leaf - pixels).flatten(1).square().sum(1)
                total = (size + descent.c * (margin + self.confidence).clamp_min(0)).sum()
                (gradient,) = torch.autograd.grad(total, leaf)
            margin = margin.detach()
            certain = (margin <= -_rounding(logits.detach())) & (margin <= -self.confidence)
            success = criterion.is_adversarial(logits.detach()) & certain
            best.update(x, size.detach(), success, descent.steps_before + k)
            any_success |= success
            gradient = gradient.nan_to_num()
            mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient * gradient
            step = descent.lr * (1 - k / self.steps) / (1 - 0.9 ** (k + 1))
            x = (x - step * mean / ((square / (1 - 0.999 ** (k + 1))).sqrt() + 1e-8)).clamp(0, 1)
        return x, any_success


@dataclass(frozen=True)
class _Descent:
    """Where a round of Adam starts: x (n, c, h, w), the weights c (n,), lr (n, 1, 1, 1)."""

    pixels: Tensor
    x: Tensor
    c: Tensor
    lr: Tensor
    steps_before: int


@dataclass
class _Best:
    """The smallest success of each image so far. size: (n,) squared L2 norm, inf where there is none."""

    pixels: Tensor
    size: Tensor
    success_step: Tensor

    def update(self, x: Tensor, size: Tensor, success: Tensor, step: int) -> None:
        better = success & (size < self.size)
        self.pixels = torch.where(better[:, None, None, None], x, self.pixels)
        self.size = torch.where(better, size, self.size)
        self.success_step = torch.where(success & (self.success_step < 0), step, self.success_step)
