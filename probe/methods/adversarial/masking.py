"""Checks for gradient masking: is a network robust, or is its gradient useless to attacks?

Carlini et al. 2019, section 4; Croce & Hein 2020, section 4.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from probe.errors import UserError
from probe.methods.adversarial.blackbox import SquareAttack
from probe.methods.adversarial.criteria import Loss, input_gradient, make_criterion, predict
from probe.methods.adversarial.gradient_attacks import FGSM, PGD
from probe.methods.adversarial.norms import perturbation_norm
from probe.model.model import Model

SAMPLE = 32
"""Images that are enough for `quick_checks`."""

DETERMINISTIC = "deterministic predictions"
LOGITS = "outputs are logits"
GRADIENT = "non-zero gradient"
ITERATIVE = "iterative attack is stronger than one step"
LARGE_RADIUS = "large radius fools all images"
BLACK_BOX = "black-box attack is weaker"
CONVERGED = "attack has converged"
LOSSES = "losses agree"
CHECKS = (DETERMINISTIC, LOGITS, GRADIENT, ITERATIVE, LARGE_RADIUS, BLACK_BOX, CONVERGED, LOSSES)
"""What should hold of a network whose gradient is not masked, in the order of the checks."""

LARGE_EPS = 0.5
"""The radius at which every image can become uniformly grey, so that an attack that works fools all of them."""

Verdict = Literal["PASS", "WARN", "not applicable"]


@dataclass(frozen=True)
class Check:
    """The verdict of one check of `CHECKS`.

    measured: the figures that it rests on, by snake_case names; accuracies and proportions lie in [0, 1].
    Of a check that is not applicable there are none, or those that rule it out.
    """

    name: str
    verdict: Verdict
    measured: dict[str, float]


@dataclass(frozen=True)
class CheckPlan:
    """How hard the attacks of `masking_checks` try. eps: Linf radius. seed: of all random numbers."""

    eps: float
    steps: int = 20
    queries: int = 300
    seed: int = 0


@dataclass(frozen=True)
class Robust:
    """(n,) bool: which images are classified correctly under each attack; None where the attack was not run."""

    fgsm: Tensor | None = None
    pgd: Tensor | None = None
    square: Tensor | None = None


def quick_checks(model: Model, pixels: Tensor, labels: Tensor, *, loss: Loss = "log-odds") -> list[Check]:
    """The three checks that need no attack, only two forward passes and one gradient.

    pixels: (n, c, h, w) in [0, 1]; `SAMPLE` of them are enough. labels: (n,).
    Raises UserError as `make_criterion` does, and for logits that are NaN or infinite.
    """
    criterion = make_criterion(model, pixels, labels)
    grad, logits = input_gradient(model, pixels, lambda z: criterion.loss(z, loss))
    if not bool(torch.isfinite(logits).all()):
        raise UserError(f"{model.name} gives NaN or infinite logits for some of the images")
    return [_deterministic(logits, predict(model, pixels)), _logits(logits), _gradient(grad)]


def failed_checks(checks: list[Check]) -> list[Check]:
    """The checks whose verdict is WARN."""
    return [check for check in checks if check.verdict == "WARN"]


def masking_checks(
    model: Model,
    pixels: Tensor,
    labels: Tensor,
    plan: CheckPlan,
    *,
    ids: Tensor | None = None,
    robust: Robust | None = None,
) -> list[Check]:
    """The eight checks of `CHECKS` in the Linf ball of radius `plan.eps`, on the images that are classified correctly.

    pixels: (n, c, h, w) in [0, 1]. labels, ids: (n,). robust: the outcome of the attacks that were run on these
    images with this plan already, so that they are not run again. Accuracies are those among the images that are
    classified correctly without an attack. Raises UserError as `quick_checks` does.
    """
    quick = quick_checks(model, pixels, labels)
    labels = labels.to(pixels.device)
    ids = torch.arange(len(pixels)) if ids is None else ids
    rows = (predict(model, pixels).argmax(1) == labels).nonzero()[:, 0]
    if not len(rows):
        return [*quick, *(Check(name, "not applicable", {}) for name in CHECKS[len(quick) :])]
    trial = _Trial(model, pixels[rows], labels[rows], ids[rows.cpu()], plan)
    known = robust or Robust()
    single_step = trial.fgsm() if known.fgsm is None else known.fgsm.to(rows.device)[rows]
    iterative = trial.pgd() if known.pgd is None else known.pgd.to(rows.device)[rows]
    square = None if known.square is None else known.square.to(rows.device)[rows]
    more_steps, square = trial.longer(iterative), trial.square(iterative) if square is None else square
    return [
        *quick,
        _iterative(_mean(single_step), _mean(iterative), plan.steps),
        _large_radius(trial),
        _black_box(_mean(iterative & ~square), plan.queries),
        _converged(_mean(iterative), _mean(more_steps), plan.steps),
        _losses(_mean(trial.fgsm("cross-entropy")), _mean(single_step)),
    ]


@dataclass(frozen=True)
class _Trial:
    """The attacks of the checks on images that are classified correctly; each method gives (n,) bool: still correct."""

    model: Model
    pixels: Tensor
    labels: Tensor
    ids: Tensor
    plan: CheckPlan

    def correct(self, pixels: Tensor, rows: Tensor | slice = slice(None)) -> Tensor:
        return predict(self.model, pixels).argmax(1) == self.labels[rows]

    def fgsm(self, loss: Loss = "log-odds") -> Tensor:
        attack = FGSM(eps=self.plan.eps, loss=loss)
        return self.correct(attack(self.model, self.pixels, self.labels).pixels)

    def pgd(self, *, eps: float | None = None, factor: int = 1) -> Tensor:
        """eps: the plan's by default. factor: multiplies its steps."""
        plan, eps = self.plan, self.plan.eps if eps is None else eps
        attack = PGD(eps=eps, steps=factor * plan.steps)
        result = attack(self.model, self.pixels, self.labels, seed=plan.seed, ids=self.ids)
        return self.correct(result.pixels)

    def longer(self, robust: Tensor) -> Tensor:
        """After a second run of PGD, of three times as many steps, on the images that are `robust` to the first."""
        rows, plan = robust.nonzero()[:, 0], self.plan
        if not len(rows):
            return robust
        attack, ids = PGD(eps=plan.eps, steps=3 * plan.steps), self.ids[rows.cpu()]
        result = attack(self.model, self.pixels[rows], self.labels[rows], seed=plan.seed + 1, ids=ids)
        return robust.index_put((rows,), self.correct(result.pixels, rows))

    def square(self, robust: Tensor) -> Tensor:
        """After the square attack on the images that are `robust` to PGD."""
        rows, plan = robust.nonzero()[:, 0], self.plan
        if not len(rows):
            return robust
        attack, ids = SquareAttack(eps=plan.eps, queries=plan.queries), self.ids[rows.cpu()]
        result = attack(self.model, self.pixels[rows], self.labels[rows], seed=plan.seed, ids=ids)
        return robust.index_put((rows,), self.correct(result.pixels, rows))


def _check(name: str, bad: bool, **measured: float) -> Check:
    return Check(name, "WARN" if bad else "PASS", measured)


def _mean(mask: Tensor) -> float:
    return float(mask.float().mean())


def _deterministic(logits: Tensor, again: Tensor) -> Check:
    largest = float(logits.nan_to_num().abs().max())
    difference = float((logits - again).nan_to_num().abs().max())
    bad = difference > 1e-4 * max(largest, 1e-6)
    return _check(DETERMINISTIC, bad, difference=difference, largest_logit=largest)


def _logits(logits: Tensor) -> Check:
    sums = logits.sum(1)
    probabilities = float(logits.min()) >= 0 and bool(((sums - 1).abs() < 1e-3).all())
    return _check(LOGITS, probabilities, smallest_sum=float(sums.min()), largest_sum=float(sums.max()))


def _gradient(grad: Tensor) -> Check:
    invalid = ~torch.isfinite(grad).flatten(1).all(1)
    zero = (perturbation_norm(grad.nan_to_num(), "linf") == 0) & ~invalid
    bad = _mean(zero) > 0.05 or bool(invalid.any())
    return _check(GRADIENT, bad, zero=_mean(zero), invalid=_mean(invalid), zero_values=_mean(grad == 0))


def _iterative(single_step: float, iterative: float, steps: int) -> Check:
    return _check(
        ITERATIVE, iterative > single_step + 0.03, single_step=single_step, iterative=iterative, steps=steps
    )


def _large_radius(trial: _Trial) -> Check:
    if trial.plan.eps >= LARGE_EPS:
        return Check(LARGE_RADIUS, "not applicable", {"eps": trial.plan.eps})
    accuracy, chance_level = _mean(trial.pgd(eps=LARGE_EPS, factor=2)), 1 / len(trial.model.classes)
    bad = accuracy > chance_level + 0.05
    return _check(LARGE_RADIUS, bad, accuracy=accuracy, eps=LARGE_EPS, chance_level=chance_level)


def _black_box(fooled: float, queries: int) -> Check:
    return _check(BLACK_BOX, fooled > 0.05, fooled=fooled, queries=queries)


def _converged(accuracy: float, longer: float, steps: int) -> Check:
    bad = accuracy - longer > 0.05
    return _check(CONVERGED, bad, accuracy=accuracy, longer=longer, steps=steps, more_steps=3 * steps)


def _losses(cross_entropy: float, log_odds: float) -> Check:
    return _check(LOSSES, cross_entropy - log_odds > 0.15, cross_entropy=cross_entropy, log_odds=log_odds)
