"""Stronger and stronger attacks on the images that survive others, in the order in which they are worth their cost."""

from dataclasses import dataclass
from typing import Literal

from probe.methods.adversarial.apgd import APGD, FEWEST_CLASSES, TargetedAPGD
from probe.methods.adversarial.attack import Attack
from probe.methods.adversarial.blackbox import SquareAttack
from probe.methods.adversarial.gradient_attacks import PGD
from probe.model.budget import GRADIENT_COST
from probe.model.model import Model


@dataclass(frozen=True)
class Stage:
    """An attack on the survivors. passes: forward passes for an image that it does not fool. seed: added to the run's."""

    attack: Attack
    passes: int
    seed: int = 0


def stages(model: Model, eps: float) -> list[Stage]:
    """Short runs of PGD from different starts, APGD on two losses, the square attack, and APGD towards each class.

    A network that thresholds its input, as those trained on MNIST to be robust do, falls to 20 steps from a start near
    mid grey where 100 steps from random ones fail.
    """
    classes = len(model.classes)
    chosen = [_pgd(eps, 20, start="grey"), _pgd(eps, 20, seed=1)]
    if classes >= 3:
        chosen.append(Stage(APGD(eps=eps, steps=50, loss="dlr"), 51 * GRADIENT_COST))
    chosen.append(Stage(APGD(eps=eps, steps=50), 51 * GRADIENT_COST, seed=1))
    chosen.append(_square(eps, 1000))
    if classes >= FEWEST_CLASSES:
        count = min(9, classes - 1)
        chosen.append(Stage(TargetedAPGD(eps=eps, classes=count), 101 * GRADIENT_COST * count))
    return [*chosen, _square(eps, 5000, seed=1)]


def _pgd(eps: float, steps: int, *, start: Literal["uniform", "grey"] = "uniform", seed: int = 0) -> Stage:
    return Stage(PGD(eps=eps, steps=steps, start=start), (steps + 1) * GRADIENT_COST, seed)


def _square(eps: float, queries: int, *, seed: int = 0) -> Stage:
    return Stage(SquareAttack(eps=eps, queries=queries, p_init=0.8), queries, seed)
