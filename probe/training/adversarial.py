"""Adversarial training: which images does the network see instead of its own, and does it learn to stand them?"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from probe.methods.adversarial.criteria import predict
from probe.methods.adversarial.gradient_attacks import PGD
from probe.model.model import Model
from probe.training.adversarial_examples import Adversary as Kind
from probe.training.adversarial_examples import adversarial_batch, collapsed, eps_warmup
from probe.training.config import TrainingConfig

CHECKED = 256  # training images on which an epoch's robustness is looked at
_STEPS = 10
_TOGETHER = 256  # images attacked at a time for the card, where they fit
_KINDS: tuple[Kind, ...] = ("fgsm", "pgd")
_MEASURED = 40  # steps of the attack that the card speaks of


class Adversary:
    """Moves the batches of one pass over the training images; its random numbers depend on `seed` alone."""

    def __init__(
        self, recipe: TrainingConfig, network: nn.Module, logits: Callable[[Tensor], Tensor], *, seed: int
    ) -> None:
        self._recipe, self._network, self._logits = recipe, network, logits
        self._rng = torch.Generator().manual_seed(seed)

    def batch(self, pixels: Tensor, labels: Tensor, *, share: float) -> Tensor:
        """`pixels` moved as the recipe says. share: how much of the whole training is done, in [0, 1]."""
        recipe = self._recipe
        if recipe.adversarial == "none":
            return pixels
        return self._moved(
            pixels, labels, eps_warmup(recipe.eps, share), recipe.adversarial, recipe.attack_steps
        )

    def stands(self, pixels: Tensor, labels: Tensor, *, share: float) -> tuple[float, float]:
        """Accuracy in evaluation mode under one step and under ten of the radius reached at `share`."""
        eps = eps_warmup(self._recipe.eps, share)
        parts = list(
            zip(pixels.split(self._recipe.batch_size), labels.split(self._recipe.batch_size), strict=True)
        )
        right = [
            torch.cat([self._right(self._moved(x, y, eps, kind, _STEPS), y) for x, y in parts])
            for kind in _KINDS
        ]
        one, many = torch.stack(right).float().mean(1).tolist()
        return one, many

    @torch.no_grad()
    def _right(self, pixels: Tensor, labels: Tensor) -> Tensor:
        return self._logits(pixels).argmax(1) == labels

    def _moved(self, pixels: Tensor, labels: Tensor, eps: float, kind: Kind, steps: int) -> Tensor:
        return adversarial_batch(
            self._network, self._logits, pixels, labels, eps=eps, kind=kind, steps=steps, rng=self._rng
        )


def warning(epoch: int, one_step: float | None, many_steps: float | None) -> str:
    """What to say of an epoch after which the network stands one step and not many, else nothing."""
    if one_step is None or many_steps is None or not collapsed(one_step, many_steps):
        return ""
    return (
        f"epoch {epoch}: it stands one step ({one_step:.0%}) but not {_STEPS} ({many_steps:.0%}): it has overfitted "
        "to single steps. Take --adversarial pgd, or a smaller --eps"
    )


def measured(model: Model, pixels: Tensor, labels: Tensor, eps: float) -> dict[str, Any]:
    """The robust accuracy for the card: of PGD with 40 steps from a random start, in the radius of the training.

    Steps of constant size, as in Madry et al. 2018, so that the accuracy can be compared with published ones.
    """
    size = min(_TOGETHER, model.batch(gradient=True))
    attack = PGD(eps=eps, steps=_MEASURED, step=2.5 * eps / _MEASURED)
    attacked = [
        attack(model, x, y, ids=ids).pixels
        for x, y, ids in zip(
            pixels.split(size), labels.split(size), torch.arange(len(labels)).split(size), strict=True
        )
    ]
    right = predict(model, torch.cat(attacked)).argmax(1) == labels
    return {
        "robust_accuracy": round(float(right.float().mean()), 4),
        "robust_images": len(labels),
        "robust_attack": f"PGD with {_MEASURED} steps of constant size, Linf {eps:.4g}, one random start",
    }
