"""AutoAttack: APGD on two losses, FAB and Square, each on the images that those before did not fool."""

from torch import Tensor

from probe.methods.adversarial.apgd import (
    APGD,
    FEWEST_CLASSES,
    PAPER,
    LinfAttack,
    TargetedAPGD,
    nothing_fooled,
)
from probe.methods.adversarial.attack import Attack, AttackResult
from probe.methods.adversarial.blackbox import SquareAttack
from probe.methods.adversarial.criteria import Criterion, predict
from probe.methods.adversarial.fab import TargetedFAB
from probe.methods.adversarial.per_image_random import PerImageRng
from probe.model.model import Model

STANDARD: tuple[Attack, ...] = (APGD(), TargetedAPGD(), TargetedFAB(), SquareAttack(queries=5000, p_init=0.8))


class AutoAttack(LinfAttack):
    """The standard ensemble: APGD-CE, APGD-T, FAB-T and Square with 5,000 queries, in this order.

    Each attacks the images that those before did not fool; what is robust to all four is its robust accuracy.
    Networks of fewer than 4 classes are attacked without APGD-T. Croce and Hein 2020, section 6.
    """

    name = "autoattack"
    title = "AutoAttack"
    source = PAPER

    def attacks(self, model: Model) -> list[Attack]:
        """Its attacks with their radius."""
        few = len(model.classes) < FEWEST_CLASSES
        return [a.with_defaults(eps=self.eps) for a in STANDARD if not (few and isinstance(a, TargetedAPGD))]

    def perturb(self, model: Model, pixels: Tensor, criterion: Criterion, rng: PerImageRng) -> AttackResult:
        result = nothing_fooled(pixels)
        for attack in self.attacks(model):
            rows = (result.success_step < 0).nonzero()[:, 0]
            if not len(rows):
                break
            of_rows = PerImageRng(rng.seed, rng.ids[rows.cpu()], like=pixels[rows])
            part = attack.perturb(model, pixels[rows], criterion.take(rows), of_rows)
            fooled = criterion.take(rows).is_adversarial(predict(model, part.pixels))
            result.pixels[rows[fooled]] = part.pixels[fooled]
            result.success_step[rows[fooled]] = part.success_step[fooled]
            result.queries[rows] += part.queries
        return result
