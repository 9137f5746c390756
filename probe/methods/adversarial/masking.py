"""Is a network robust, or does it only hide its gradient?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from probe.errors import UserError
from probe.methods.adversarial.blackbox import square_attack
from probe.methods.adversarial.criteria import Loss, input_gradient, make_criterion, predict
from probe.methods.adversarial.gradient_attacks import fgsm, pgd
from probe.methods.adversarial.norms import perturbation_norm
from probe.model.model import Model

SAMPLE = 32
"""Images that are enough for the checks that cost little (`quick_checks`)."""

Verdict = Literal["PASS", "WARN", "not applicable"]


@dataclass(frozen=True)
class Check:
    """One sign of masking. figure: what was measured. meaning: what a WARN would mean."""

    name: str
    verdict: Verdict
    figure: str
    meaning: str


def quick_checks(model: Model, pixels: Tensor, labels: Tensor, *, loss: Loss = "logodds") -> list[Check]:
    """The three checks that need two passes and one gradient alone: enough to warn beside any attack.

    pixels: (n, c, h, w) in [0, 1]; a few dozen are enough. labels: (n,). Raises UserError as `make_criterion` does, and for
    answers that are no numbers.
    """
    aim = make_criterion(model, pixels, labels)
    slope, logits = input_gradient(model, pixels, lambda z: aim.loss(z, loss))
    if not bool(torch.isfinite(logits).all()):
        raise UserError(f"{model.name} answers some of the images with NaN or infinite numbers")
    return [_random(logits, predict(model, pixels)), _softmax(logits), _gradients(slope)]


def failed_checks(checks: list[Check]) -> list[str]:
    """One line for each check that warns."""
    return [f"Not so that {c.name}: {c.figure}; {c.meaning}." for c in checks if c.verdict == "WARN"]


def masking_checks(
    model: Model,
    pixels: Tensor,
    labels: Tensor,
    *,
    eps: float,
    steps: int = 20,
    queries: int = 300,
    seed: int = 0,
    index: Tensor | None = None,
    stands: Mapping[str, Tensor] | None = None,
) -> list[Check]:
    """Eight checks in the Linf ball of radius `eps`, on the images that are answered rightly.

    stands: (n,) bool for "FGSM", "PGD" and "square", which images stand each, where these were let loose at this
    eps already; else it is done here. Accuracies are shares of the images that are answered rightly.
    Carlini et al. 2019, section 4; Croce & Hein 2020, section 4.
    """
    aim = make_criterion(model, pixels, labels)
    names = torch.arange(len(pixels)) if index is None else index
    rows = (predict(model, pixels).argmax(1) == aim.labels).nonzero()[:, 0]
    checks = quick_checks(model, pixels, labels)
    if not len(rows):
        nothing = "no image is answered rightly"
        known = [check.name for check in checks]
        missing = [(name, why) for name, why in _MEANING.items() if name not in known]
        return [*checks, *(Check(name, "not applicable", nothing, why) for name, why in missing)]
    x, y, names = pixels[rows], aim.labels[rows], names[rows.cpu()]

    def left(moved: Tensor) -> Tensor:
        return predict(model, moved).argmax(1) == y

    measured = {name: mask.to(rows.device)[rows] for name, mask in (stands or {}).items()}
    one = measured["FGSM"] if "FGSM" in measured else left(fgsm(model, x, y, eps=eps))
    crossed = left(fgsm(model, x, y, eps=eps, loss="ce"))
    many = measured.get("PGD")
    if many is None:
        many = left(pgd(model, x, y, eps=eps, steps=steps, seed=seed, index=names).pixels)
    more, survivors = many.clone(), many.nonzero()[:, 0]
    blind = measured.get("square")
    if len(survivors):
        own, at = (x[survivors], y[survivors]), names[survivors.cpu()]
        harder = pgd(model, *own, eps=eps, steps=3 * steps, seed=seed + 1, index=at).pixels
        more[survivors] = predict(model, harder).argmax(1) == own[1]
        if blind is None:
            boxed = square_attack(model, *own, eps=eps, queries=queries, seed=seed, index=at).pixels
            blind = many.clone()
            blind[survivors] = predict(model, boxed).argmax(1) == own[1]
    large = (
        left(pgd(model, x, y, eps=0.5, steps=2 * steps, seed=seed, index=names).pixels) if eps < 0.5 else None
    )
    return [
        *checks,
        _iterative(_share(one), _share(many), steps),
        _large(None if large is None else _share(large), 1 / len(model.classes)),
        _blackbox(0.0 if blind is None else _share(many & ~blind), queries),
        _effort(_share(many), _share(more), steps),
        _losses(_share(crossed), _share(one)),
    ]


_RANDOM, _SOFTMAX = "the answer is not random", "the answers are logits"
GRADIENT, _ITERATIVE = "the gradient is there", "many steps beat one"
_LARGE, _BLACKBOX = "a huge radius fools all", "blind search is weaker"
_EFFORT, _LOSSES = "more effort changes little", "the loss does not matter"

_MEANING = {
    _RANDOM: "a gradient of another draw points elsewhere: attack the mean of many draws",
    _SOFTMAX: "probabilities saturate and take the gradient with them: attack what lies before the softmax",
    GRADIENT: "an attack that follows a gradient of zero or NaN stands still: this is not robustness",
    _ITERATIVE: "the gradient leads astray: the accuracy under iterative attacks is too good",
    _LARGE: "with half the grey scale any image can become any other: who survives was not attacked",
    _BLACKBOX: "search without gradients finds what gradients do not: they are masked",
    _EFFORT: "the attack has not converged: the accuracy would fall further",
    _LOSSES: "the cross-entropy saturates in float32: tools that use it will call this network robust",
}


def _check(name: str, bad: bool, figure: str) -> Check:
    return Check(name, "WARN" if bad else "PASS", figure, _MEANING[name])


def _share(mask: Tensor) -> float:
    return float(mask.float().mean())


def _random(logits: Tensor, again: Tensor) -> Check:
    scale = float(logits.nan_to_num().abs().max())
    apart = float((logits - again).nan_to_num().abs().max())
    return _check(
        _RANDOM,
        apart > 1e-4 * max(scale, 1e-6),
        f"two passes differ by {apart:.2g}, logits reach {scale:.3g}",
    )


def _softmax(logits: Tensor) -> Check:
    low, sums = float(logits.min()), logits.sum(1)
    bad = low >= 0 and bool(((sums - 1).abs() < 1e-3).all())
    return _check(_SOFTMAX, bad, f"they sum to {float(sums.min()):.3g} to {float(sums.max()):.3g}")


def _gradients(slope: Tensor) -> Check:
    broken = ~torch.isfinite(slope).flatten(1).all(1)
    flat = (perturbation_norm(slope.nan_to_num(), "linf") == 0) & ~broken
    nothing = float((slope == 0).float().mean())
    return _check(
        GRADIENT,
        _share(flat) > 0.05 or bool(broken.any()),
        f"{_share(flat):.0%} of the images have none at all, {_share(broken):.0%} NaN; {nothing:.0%} of all values are zero",
    )


def _iterative(one: float, many: float, steps: int) -> Check:
    return _check(_ITERATIVE, many > one + 0.03, f"{one:.0%} stand one step, {many:.0%} stand {steps}")


def _large(accuracy: float | None, chance: float) -> Check:
    if accuracy is None:
        return Check(_LARGE, "not applicable", "eps is half the grey scale already", _MEANING[_LARGE])
    return _check(_LARGE, accuracy > chance + 0.05, f"{accuracy:.0%} stand eps 0.5; chance is {chance:.0%}")


def _blackbox(hits: float, queries: int) -> Check:
    return _check(
        _BLACKBOX, hits > 0.05, f"{hits:.0%} fall to {queries} random squares but not to the gradient"
    )


def _effort(many: float, more: float, steps: int) -> Check:
    return _check(
        _EFFORT,
        many - more > 0.05,
        f"{many:.0%} stand {steps} steps, {more:.0%} a second climb of {3 * steps} too",
    )


def _losses(ce: float, logodds: float) -> Check:
    return _check(_LOSSES, ce - logodds > 0.15, f"{ce:.0%} stand one step on ce, {logodds:.0%} on log-odds")
