"""Adversarial training: adversarial examples for the batches, and the robust accuracy of epochs and of the result."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from probe.device import to_device
from probe.methods.adversarial.criteria import Criterion, predict
from probe.methods.adversarial.gradient_attacks import PGD
from probe.methods.adversarial.norms import project_to_ball
from probe.model.model import Model
from probe.training.config import TrainingConfig

EPOCH_IMAGES = 256
"""Training images on which the robust accuracy of an epoch is measured."""

EPOCH_STEPS = 10
"""Steps of the PGD that the robust accuracy of an epoch is measured with."""

_WARMUP = 0.25  # of the training: a new network that is trained at the full eps learns to predict one class for ever
_RESULT_STEPS = 40
_RESULT_BATCH = 256  # images attacked at a time, where they fit

AttackKind = Literal["fgsm", "pgd"]
_KINDS: tuple[AttackKind, ...] = ("fgsm", "pgd")


class AdversarialExamples:
    """The adversarial examples of one epoch; its random numbers depend on `seed` alone."""

    def __init__(
        self, config: TrainingConfig, network: nn.Module, logits: Callable[[Tensor], Tensor], *, seed: int
    ) -> None:
        """logits: pixels (n, c, h, w) in [0, 1] -> (n, classes) by `network`."""
        self._config, self._network, self._logits = config, network, logits
        self._rng = torch.Generator().manual_seed(seed)

    def batch(self, pixels: Tensor, labels: Tensor, *, progress: float) -> Tensor:
        """What to train on instead of `pixels`. progress: the fraction of the whole training done."""
        config = self._config
        if config.adversarial == "none":
            return pixels
        eps = warmed_up_eps(config.eps, progress)
        return self._attack(pixels, labels, training_attack(config.adversarial, eps, config.attack_steps))

    def robust_accuracy(self, pixels: Tensor, labels: Tensor, *, progress: float) -> tuple[float, float]:
        """Accuracy in evaluation mode under FGSM and under PGD at the radius of `progress`."""
        eps, size = warmed_up_eps(self._config.eps, progress), self._config.batch_size
        fgsm, pgd = (training_attack(kind, eps, EPOCH_STEPS) for kind in _KINDS)
        batches = list(zip(pixels.split(size), labels.split(size), strict=True))
        return self._accuracy(batches, fgsm), self._accuracy(batches, pgd)

    def _accuracy(self, batches: list[tuple[Tensor, Tensor]], attack: PGD) -> float:
        correct = []
        for pixels, labels in batches:
            attacked = self._attack(pixels, labels, attack)
            with torch.no_grad():
                correct.append(self._logits(attacked).argmax(1) == labels)
        return float(torch.cat(correct).float().mean())

    def _attack(self, pixels: Tensor, labels: Tensor, attack: PGD) -> Tensor:
        return adversarial_batch(self._network, self._logits, pixels, labels, attack, self._rng)


def warmed_up_eps(eps: float, progress: float) -> float:
    """The radius at a fraction of the training: it rises from 0 to `eps` over the first quarter."""
    return eps * min(1.0, progress / _WARMUP)


def training_attack(kind: AttackKind, eps: float, steps: int) -> PGD:
    """The attack on a training batch: one step of 1.25 eps, or `steps` steps of 2.5 eps / steps, from a random start.

    Wong et al. 2020, algorithm 3; Madry et al. 2018, section 2.1.
    """
    steps, step = (1, 1.25 * eps) if kind == "fgsm" else (steps, 2.5 * eps / steps)
    return PGD(eps=eps, steps=steps, step=step, early_stop=False)


def adversarial_batch(
    network: nn.Module,
    logits: Callable[[Tensor], Tensor],
    pixels: Tensor,
    labels: Tensor,
    attack: PGD,
    rng: torch.Generator,
) -> Tensor:
    """A batch attacked with the eps, steps and step of `attack` (Linf), for the next step of a training.

    Beside `PGD` itself this attacks a network that is being trained: its modes, buffers (batch norm's statistics) and
    gradients are left as they were, and the starts of a batch are drawn together.
    network: in the mode that it is trained in. logits: pixels (n, c, h, w) in [0, 1] -> (n, classes) by that network.
    rng: on the CPU. Returns (n, c, h, w) in [0, 1], no pixel further than eps from its original; eps 0 gives the
    pixels themselves.
    """
    if attack.eps == 0:
        return pixels
    criterion = Criterion(labels)
    start = to_device(torch.rand(pixels.shape, generator=rng) * 2 - 1, pixels.device).to(pixels.dtype)
    x = project_to_ball(pixels, pixels + attack.eps * start, attack.eps, "linf")
    with unchanged_buffers(network):
        for _ in range(attack.steps):
            with torch.enable_grad():
                leaf = x.detach().requires_grad_(True)
                # The sign is that of the cross-entropy's gradient, which float32 may have lost.
                (gradient,) = torch.autograd.grad(criterion.loss(logits(leaf)).sum(), leaf)
            stepped = x + (attack.step or 0) * gradient.nan_to_num().sign()
            x = project_to_ball(pixels, stepped, attack.eps, "linf")
    return x


@contextmanager
def unchanged_buffers(network: nn.Module) -> Iterator[None]:
    """Restore every buffer at the end: passes in training mode update batch norm's statistics."""
    saved = [(buffer, buffer.clone()) for buffer in network.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, values in saved:
                buffer.copy_(values)


def catastrophic_overfitting(fgsm_accuracy: float, pgd_accuracy: float) -> bool:
    """Whether a network is robust to one step but not to many: adversarial training on single steps overfitted to them.

    Accuracies under FGSM and PGD at the same radius. Wong et al. 2020, section 4.3, where the second falls from above
    40 % to 0 % within an epoch.
    """
    return pgd_accuracy < fgsm_accuracy / 2 and fgsm_accuracy - pgd_accuracy > 0.1


def overfitting_warning(epoch: int, fgsm_accuracy: float | None, pgd_accuracy: float | None) -> str:
    """A warning of an epoch with catastrophic overfitting, else an empty text."""
    if fgsm_accuracy is None or pgd_accuracy is None:
        return ""
    if not catastrophic_overfitting(fgsm_accuracy, pgd_accuracy):
        return ""
    return (
        f"epoch {epoch}: catastrophic overfitting, accuracy {fgsm_accuracy:.0%} under one attack step but"
        f" {pgd_accuracy:.0%} under {EPOCH_STEPS}. Use --adversarial pgd, or a smaller --eps"
    )


def measure_robustness(model: Model, pixels: Tensor, labels: Tensor, eps: float) -> dict[str, Any]:
    """The robust accuracy for the card: under PGD with 40 steps from a random start, at the radius of the training.

    Steps of constant size, as in Madry et al. 2018, so that the accuracy can be compared with published ones.
    """
    size = min(_RESULT_BATCH, model.batch(gradient=True))
    attack = PGD(eps=eps, steps=_RESULT_STEPS, step=2.5 * eps / _RESULT_STEPS)
    attacked = [
        attack(model, x, y, ids=ids).pixels
        for x, y, ids in zip(
            pixels.split(size), labels.split(size), torch.arange(len(labels)).split(size), strict=True
        )
    ]
    correct = predict(model, torch.cat(attacked)).argmax(1) == labels
    return {
        "robust_accuracy": round(float(correct.float().mean()), 4),
        "robust_images": len(labels),
        "robust_attack": f"PGD with {_RESULT_STEPS} steps of constant size, Linf {eps:.4g}, one random start",
    }
