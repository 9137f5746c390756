"""Checks for gradient masking: is a network robust, or is its gradient useless to attacks?

Carlini et al. 2019, section 4; Croce & Hein 2020, section 4.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import inf
from typing import Literal

import torch
from torch import Tensor

from probe.errors import UserError
from probe.methods.adversarial.blackbox import Noise, SquareAttack
from probe.methods.adversarial.criteria import Loss, input_gradient, make_criterion, predict
from probe.methods.adversarial.gradient_attacks import FGSM, PGD
from probe.methods.adversarial.gradient_quality import GradientQuality, gradient_quality
from probe.methods.adversarial.norms import perturbation_norm
from probe.methods.adversarial.passes import count_passes
from probe.model.budget import GRADIENT_COST
from probe.model.model import Model

SAMPLE = 32
"""Images that are enough for `quick_checks`."""

DETERMINISTIC = "deterministic predictions"
LOGITS = "outputs are logits"
GRADIENT = "non-zero gradient"
QUALITY = "gradient predicts the loss"
ITERATIVE = "iterative attack is stronger than one step"
LARGE_RADIUS = "large radius fools all images"
BLACK_BOX = "black-box attack is weaker"
CONVERGED = "attack has converged"
LOSSES = "losses agree"
CHECKS = (DETERMINISTIC, LOGITS, GRADIENT, QUALITY, ITERATIVE, LARGE_RADIUS, BLACK_BOX, CONVERGED, LOSSES)
"""What should hold of a network whose gradient is not masked, in the order of the checks."""

LARGE_EPS = 0.5
"""The radius at which every image can become uniformly grey, so that an attack that works fools all of them."""

_NOISE_DRAWS = 3
_REPEATS = 4  # a defence that draws one of a few sizes for a whole batch may draw the same one twice
_FEWEST = 5
"""Images that random noise alone must leave for the check of the large radius."""

Verdict = Literal["PASS", "WARN", "NOT RUN", "not applicable"]


@dataclass(frozen=True)
class Check:
    """The verdict of one check of `CHECKS`.

    measured: the figures that it rests on, by snake_case names; accuracies and proportions lie in [0, 1].
    Of a check that is not applicable there are none, or those that rule it out; of one that was NOT RUN, because the
    budget does not suffice, the forward passes that it needs and those that were left.
    """

    name: str
    verdict: Verdict
    measured: dict[str, float]


@dataclass(frozen=True)
class CheckPlan:
    """How hard the attacks of `masking_checks` try.

    eps: Linf radius. steps: of PGD. queries: of the square attack, an image. seed: of all random numbers. passes:
    forward passes that all checks may take; a check that may need more than are left is not run.
    """

    eps: float
    steps: int = 20
    queries: int = 2000
    seed: int = 0
    passes: float = inf


@dataclass(frozen=True)
class Known:
    """What was measured on the same images with the same plan already, None where it was not.

    fgsm, pgd: (n,) bool, which images are classified correctly under the attack. quality: of the images that are
    classified correctly without one.
    """

    fgsm: Tensor | None = None
    pgd: Tensor | None = None
    quality: GradientQuality | None = None


def quick_checks(model: Model, pixels: Tensor, labels: Tensor, *, loss: Loss = "log-odds") -> list[Check]:
    """The three checks that need no attack, only a few forward passes and one gradient.

    pixels: (n, c, h, w) in [0, 1]; `SAMPLE` of them are enough. labels: (n,).
    Raises UserError as `make_criterion` does, and for logits that are NaN or infinite.
    """
    criterion = make_criterion(model, pixels, labels)
    grad, logits = input_gradient(model, pixels, lambda z: criterion.loss(z, loss))
    if not bool(torch.isfinite(logits).all()):
        raise UserError(f"{model.name} gives NaN or infinite logits for some of the images")
    again = [predict(model, pixels) for _ in range(_REPEATS)]
    return [_deterministic(logits, again), _logits(logits), _gradient(grad)]


def failed_checks(checks: list[Check]) -> list[Check]:
    """The checks whose verdict is WARN."""
    return [check for check in checks if check.verdict == "WARN"]


def skipped_checks(checks: list[Check]) -> list[Check]:
    """The checks for which the budget does not suffice."""
    return [check for check in checks if check.verdict == "NOT RUN"]


def masking_checks(
    model: Model,
    pixels: Tensor,
    labels: Tensor,
    plan: CheckPlan,
    *,
    ids: Tensor | None = None,
    known: Known | None = None,
) -> list[Check]:
    """The checks of `CHECKS` in the Linf ball of radius `plan.eps`, on the images that are classified correctly.

    pixels: (n, c, h, w) in [0, 1]. labels, ids: (n,). known: what need not be measured again. Accuracies are those
    among the images that are classified correctly without an attack. Raises UserError as `quick_checks` does.
    """
    quick = quick_checks(model, pixels, labels)
    labels = labels.to(pixels.device)
    ids = torch.arange(len(pixels)) if ids is None else ids
    rows = (predict(model, pixels).argmax(1) == labels).nonzero()[:, 0]
    if not len(rows):
        return [*quick, *(Check(name, "not applicable", {}) for name in CHECKS[len(quick) :])]
    trial = _Trial(model, pixels[rows], labels[rows], ids[rows.cpu()], plan, known or Known(), rows)
    return quick + trial.checks()


@dataclass
class _Trial:
    """The checks that need attacks, on images that are classified correctly; rows: their positions in the batch.

    left: forward passes that are left.
    """

    model: Model
    pixels: Tensor
    labels: Tensor
    ids: Tensor
    plan: CheckPlan
    known: Known
    rows: Tensor
    left: float = field(init=False)

    def checks(self) -> list[Check]:
        """In the order of `CHECKS`, measured in the order of what they tell for their cost."""
        self.left = self.plan.passes
        measured = (
            self._run(QUALITY, GRADIENT_COST + 4, self._quality)
            + self._run(ITERATIVE, 2 * (GRADIENT_COST + 1) + GRADIENT_COST * self.plan.steps, self._iterative)
            + self._run(LOSSES, 2 * (GRADIENT_COST + 1), self._losses)
        )
        iterative = next(check for check in measured if check.name == ITERATIVE)
        if iterative.verdict == "NOT RUN":
            measured += [Check(name, "NOT RUN", iterative.measured) for name in (CONVERGED, BLACK_BOX)]
        else:
            survivors = float(self.robust.sum()) / len(self.pixels)
            measured += self._run(CONVERGED, survivors * 3 * GRADIENT_COST * self.plan.steps, self._converged)
            measured += self._run(BLACK_BOX, survivors * self.plan.queries, self._black_box)
        measured += self._run(
            LARGE_RADIUS, _NOISE_DRAWS + 2 * GRADIENT_COST * self.plan.steps, self._large_radius
        )
        return sorted(measured, key=lambda check: CHECKS.index(check.name))

    def _run(self, name: str, cost: float, measure: Callable[[], Check]) -> list[Check]:
        """The check, if an image of it takes no more than `cost` passes and so many are left for all."""
        needed = cost * len(self.pixels)
        if needed > self.left:
            return [Check(name, "NOT RUN", {"needed": needed, "left": self.left})]
        with count_passes(self.model) as passes:
            check = measure()
        self.left -= passes.cost
        return [check]

    def correct(self, pixels: Tensor, rows: Tensor | slice = slice(None)) -> Tensor:
        return predict(self.model, pixels).argmax(1) == self.labels[rows]

    def _fgsm(self, loss: Loss = "log-odds") -> Tensor:
        attack = FGSM(eps=self.plan.eps, loss=loss)
        return self.correct(attack(self.model, self.pixels, self.labels).pixels)

    @property
    def single_step(self) -> Tensor:
        """(n,) bool: still correct after one step."""
        if self.known.fgsm is None:
            self.known = replace(self.known, fgsm=self._spread(self._fgsm()))
        assert self.known.fgsm is not None
        return self.known.fgsm.to(self.rows.device)[self.rows]

    @property
    def robust(self) -> Tensor:
        """(n,) bool: still correct after PGD."""
        if self.known.pgd is None:
            attack = PGD(eps=self.plan.eps, steps=self.plan.steps)
            result = attack(self.model, self.pixels, self.labels, seed=self.plan.seed, ids=self.ids)
            self.known = replace(self.known, pgd=self._spread(self.correct(result.pixels)))
        assert self.known.pgd is not None
        return self.known.pgd.to(self.rows.device)[self.rows]

    def _spread(self, mask: Tensor) -> Tensor:
        """A mask of these images as one of the whole batch."""
        whole = torch.zeros(int(self.rows.max()) + 1, dtype=torch.bool, device=mask.device)
        return whole.index_put((self.rows,), mask)

    def _quality(self) -> Check:
        quality = self.known.quality or gradient_quality(self.model, self.pixels, self.labels, self.plan.eps)
        return Check(QUALITY, "PASS" if quality.predicts else "WARN", quality.figures())

    def _iterative(self) -> Check:
        single_step, iterative = _mean(self.single_step), _mean(self.robust)
        return _check(
            ITERATIVE,
            iterative > single_step + 0.03,
            single_step=single_step,
            iterative=iterative,
            steps=self.plan.steps,
        )

    def _losses(self) -> Check:
        cross_entropy, log_odds = _mean(self._fgsm("cross-entropy")), _mean(self.single_step)
        bad = cross_entropy - log_odds > 0.15
        return _check(LOSSES, bad, cross_entropy=cross_entropy, log_odds=log_odds)

    def _converged(self) -> Check:
        """A second run of PGD, of three times as many steps, on the images that are robust to the first."""
        robust, plan = self.robust, self.plan
        rows, longer = robust.nonzero()[:, 0], robust
        if len(rows):
            attack, ids = PGD(eps=plan.eps, steps=3 * plan.steps), self.ids[rows.cpu()]
            result = attack(self.model, self.pixels[rows], self.labels[rows], seed=plan.seed + 1, ids=ids)
            longer = robust.index_put((rows,), self.correct(result.pixels, rows))
        before, after = _mean(robust), _mean(longer)
        return _check(
            CONVERGED,
            before - after > 0.05,
            accuracy=before,
            longer=after,
            steps=plan.steps,
            more_steps=3 * plan.steps,
        )

    def _black_box(self) -> Check:
        """The square attack on the images that are robust to PGD, a few at a time until the verdict is known."""
        plan, fooled, limit = self.plan, 0, 0.05 * len(self.pixels)
        survivors = self.robust.nonzero()[:, 0]
        for rows in survivors.split(16) if len(survivors) else ():
            attack, ids = SquareAttack(eps=plan.eps, queries=plan.queries), self.ids[rows.cpu()]
            result = attack(self.model, self.pixels[rows], self.labels[rows], seed=plan.seed, ids=ids)
            fooled += int((~self.correct(result.pixels, rows)).sum())
            if fooled > limit:
                break
        return _check(BLACK_BOX, fooled > limit, fooled=fooled / len(self.pixels), queries=plan.queries)

    def _large_radius(self) -> Check:
        """PGD from the images themselves, on those that random noise of that radius does not fool by itself."""
        plan = self.plan
        if plan.eps >= LARGE_EPS:
            return Check(LARGE_RADIUS, "not applicable", {"eps": plan.eps})
        unmoved = torch.ones_like(self.labels, dtype=torch.bool)
        for draw in range(_NOISE_DRAWS):
            noise = Noise(eps=LARGE_EPS)(
                self.model, self.pixels, self.labels, seed=plan.seed + draw, ids=self.ids
            )
            unmoved &= self.correct(noise.pixels)
        rows = unmoved.nonzero()[:, 0]
        if len(rows) < min(_FEWEST, len(self.pixels)):
            return Check(LARGE_RADIUS, "not applicable", {"noise": _mean(unmoved), "large_eps": LARGE_EPS})
        attack = PGD(eps=LARGE_EPS, steps=2 * plan.steps, start="centre")
        result = attack(self.model, self.pixels[rows], self.labels[rows])
        accuracy, chance_level = _mean(self.correct(result.pixels, rows)), 1 / len(self.model.classes)
        bad = accuracy > chance_level + 0.05
        return _check(
            LARGE_RADIUS,
            bad,
            accuracy=accuracy,
            eps=LARGE_EPS,
            chance_level=chance_level,
            noise=_mean(unmoved),
        )


def _check(name: str, bad: bool, **measured: float) -> Check:
    return Check(name, "WARN" if bad else "PASS", measured)


def _mean(mask: Tensor) -> float:
    return float(mask.float().mean())


def _deterministic(logits: Tensor, again: list[Tensor]) -> Check:
    largest = float(logits.nan_to_num().abs().max())
    difference = max(float((logits - z).nan_to_num().abs().max()) for z in again)
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
