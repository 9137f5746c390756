"""Which attacks the robustness analysis runs, and how far they may go."""

from dataclasses import dataclass

import numpy as np

from probe.methods.adversarial.attack import Attack, BoundedAttack
from probe.methods.adversarial.blackbox import SquareAttack
from probe.methods.adversarial.gradient_attacks import PGD
from probe.registry import titles


@dataclass(frozen=True)
class Budget:
    """The attacks and how far they may go.

    attacks: at least one; a bounded one has its largest radius, in Linf. eps: radii, rising, the last one that of the
    analysis. seed: of all random numbers, with the ids of the images. search_rounds: halvings of the bracket of a
    minimal radius.
    """

    attacks: tuple[Attack, ...]
    eps: tuple[float, ...]
    seed: int
    search_rounds: int = 5

    def radii(self, attack: Attack) -> np.ndarray:
        """(radii,) at which an attack is run: `eps`, stretched to the attack's own largest radius."""
        stretch = attack.eps / self.eps[-1] if isinstance(attack, BoundedAttack) else 1.0
        return np.array(self.eps) * stretch

    @property
    def names(self) -> list[str]:
        """Titles of the attacks; with parameters where two have the same title or one has a radius of its own."""
        attacks = [_without_eps(attack, self.eps[-1]) for attack in self.attacks]
        parameters = [str(attack).partition("(")[2].removesuffix(")") for attack in attacks]
        return [
            f"{attack.title} ({text})" if "eps" in attack.model_fields_set else title
            for attack, text, title in zip(attacks, parameters, titles(attacks), strict=True)
        ]

    @property
    def pgd(self) -> PGD:
        """The first PGD of the attacks, else one of 20 steps: searches of their own take its parameters."""
        listed = [attack for attack in self.attacks if isinstance(attack, PGD)]
        return listed[0] if listed else PGD(eps=self.eps[-1], steps=20)

    def search(self, *, eps: float, steps: int, restarts: int = 1) -> PGD:
        """`pgd` with another radius and effort."""
        effort = {"eps": eps, "steps": steps, "restarts": restarts, "step": None, "early_stop": True}
        return self.pgd.model_copy(update=effort)

    @property
    def queries(self) -> int:
        """Of the first square attack, else 200."""
        return next((attack.queries for attack in self.attacks if isinstance(attack, SquareAttack)), 200)

    @property
    def reference(self) -> int:
        """The position of the attack whose results are broken down by class and saved: PGD, else the last one."""
        listed = [k for k, attack in enumerate(self.attacks) if isinstance(attack, PGD)]
        return listed[0] if listed else len(self.attacks) - 1

    @property
    def reference_eps(self) -> float:
        """The largest radius of the reference attack."""
        return float(self.radii(self.attacks[self.reference])[-1])


def _without_eps(attack: Attack, eps: float) -> Attack:
    """The attack as it is written where `eps` is understood."""
    given = {name: getattr(attack, name) for name in attack.model_fields_set}
    return type(attack)(**{name: value for name, value in given.items() if (name, value) != ("eps", eps)})
