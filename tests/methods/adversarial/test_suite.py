"""Do the tables of the robustness report hold what the attacks by themselves find?"""

import numpy as np
import torch
from torch import Tensor, nn

from probe.methods.adversarial.blackbox import SquareAttack
from probe.methods.adversarial.criteria import predict
from probe.methods.adversarial.gradient_attacks import PGD
from probe.methods.adversarial.suite import ATTACKS, Budget, attack_curves
from tests.methods.adversarial.victims import digits, model_of, reader

EFFORT = Budget((0.05, 0.1, 0.15), steps=10, restarts=1, queries=40, seed=3)


def some(n: int = 120) -> tuple[Tensor, Tensor, Tensor]:
    pixels, labels = digits()
    return pixels[:n], labels[:n], torch.arange(100, 100 + n)


def test_going_on_with_those_that_fell_finds_nearly_all_that_attacking_everyone_finds() -> None:
    pixels, labels, index = some()
    table = attack_curves(reader(), pixels, labels, index, EFFORT)
    right = torch.from_numpy(table["right"])
    for name in ("PGD", "square"):
        for e, eps in enumerate(EFFORT.eps):
            attack = PGD(eps=eps, steps=10) if name == "PGD" else SquareAttack(eps=eps, queries=40)
            found = attack(reader(), pixels, labels, seed=3, ids=index)
            everyone = (predict(reader(), found.pixels).argmax(1) != labels) & right
            ours = torch.from_numpy(table["fooled"][:, ATTACKS.index(name), e])
            assert not (ours & ~everyone).any()
            # One image in a hundred may stand a radius by luck and fall at a smaller one.
            assert int((everyone & ~ours).sum()) <= 1
            assert eps < 0.1 or everyone.any()


def test_the_least_radius_is_no_larger_than_any_at_which_something_fooled() -> None:
    pixels, labels, index = some()
    table = attack_curves(reader(), pixels, labels, index, EFFORT)
    first = np.where(table["fooled"].any(1), np.array(EFFORT.eps), np.inf).min(1)
    assert (table["least"] <= np.minimum(first, table["fgsm_least"]) + 1e-6).all()
    assert (table["least"][~table["right"]] == 0).all()
    assert not table["void"].any()


def test_batches_do_not_change_the_tables() -> None:
    pixels, labels, index = some(40)
    whole = attack_curves(reader(), pixels, labels, index, EFFORT)
    parts = [
        attack_curves(reader(), pixels[r], labels[r], index[r], EFFORT) for r in torch.arange(40).split(13)
    ]
    assert np.array_equal(np.concatenate([part["fooled"] for part in parts]), whole["fooled"])


class NanAbove(nn.Module):
    """`reader` for pixels up to 1, and no number for an image that an attack has made brighter on the whole."""

    def forward(self, x: Tensor) -> Tensor:
        corner = x[:, 0, 0, :1]
        return reader().network(x) + torch.where(corner > 0.01, torch.nan, 0.0)


def test_images_of_which_nothing_is_known_are_marked() -> None:
    pixels, labels, index = some(30)
    pixels = pixels.clone()
    pixels[:, 0, 0, 0] = 0
    table = attack_curves(model_of(NanAbove(), (1, 8, 8), 10), pixels, labels, index, EFFORT)
    assert table["void"].any()
