"""Do the tables of the robustness analysis hold what the attacks give when they are run by themselves?"""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from probe.methods.adversarial.attack import Attack, AttackResult
from probe.methods.adversarial.blackbox import Noise, SquareAttack
from probe.methods.adversarial.budget import Budget
from probe.methods.adversarial.criteria import Criterion, predict
from probe.methods.adversarial.gradient_attacks import FGSM, PGD
from probe.methods.adversarial.minimal_attacks import DeepFool
from probe.methods.adversarial.per_image_random import PerImageRng
from probe.methods.adversarial.suite import attack_curves
from probe.methods.adversarial.suite_searches import (
    minimal_perturbations,
    targeted_steps,
    targeted_success,
)
from probe.model.model import Model
from tests.methods.adversarial.victims import digits, model_of, reader

EPS = (0.05, 0.1, 0.15)
ATTACKS: tuple[Attack, ...] = (
    Noise(eps=0.15),
    FGSM(eps=0.15),
    PGD(eps=0.15, steps=10),
    SquareAttack(eps=0.15, queries=40),
)
BUDGET = Budget(ATTACKS, EPS, seed=3)


def batch(n: int = 120) -> tuple[Tensor, Tensor, Tensor]:
    pixels, labels = digits()
    return pixels[:n], labels[:n], torch.arange(100, 100 + n)


def fooled_by(attack: Attack, n: int = 120) -> Tensor:
    pixels, labels, ids = batch(n)
    correct = predict(reader(), pixels).argmax(1) == labels
    attacked = attack(reader(), pixels, labels, seed=3, ids=ids).pixels
    return correct & (predict(reader(), attacked).argmax(1) != labels)


def test_smaller_radii_tried_on_fooled_images_alone_find_nearly_all_that_attacking_every_image_finds() -> (
    None
):
    curves, _ = attack_curves(reader(), *batch(), BUDGET)
    for k, attack in enumerate(ATTACKS[2:], 2):
        for e, eps in enumerate(EPS):
            every_image = fooled_by(attack.model_copy(update={"eps": eps}))
            nested = torch.from_numpy(curves.fooled[:, k, e])
            assert not (nested & ~every_image).any()
            # One image in a hundred may be robust to a radius by luck and be fooled at a smaller one.
            assert int((every_image & ~nested).sum()) <= 1
            assert eps < 0.1 or every_image.any()


def test_attacks_that_do_not_search_the_ball_are_run_on_every_image_at_every_radius() -> None:
    curves, _ = attack_curves(reader(), *batch(), BUDGET)
    for k, attack in enumerate(ATTACKS[:2]):
        for e, eps in enumerate(EPS):
            every_image = fooled_by(attack.model_copy(update={"eps": eps}))
            assert torch.equal(torch.from_numpy(curves.fooled[:, k, e]), every_image)


def test_the_minimal_radius_is_no_larger_than_any_at_which_an_attack_succeeded() -> None:
    curves, _ = attack_curves(reader(), *batch(), BUDGET)
    smallest = np.where(curves.fooled.any(1), np.array(EPS), np.inf).min(1)
    assert (curves.min_eps <= np.minimum(smallest, curves.min_eps_fgsm) + 1e-6).all()
    assert (curves.min_eps[~curves.correct] == 0).all()
    assert not curves.invalid.any()


def test_batches_do_not_change_the_tables() -> None:
    pixels, labels, ids = batch(40)
    whole, _ = attack_curves(reader(), pixels, labels, ids, BUDGET)
    parts = [
        attack_curves(reader(), pixels[rows], labels[rows], ids[rows], BUDGET)[0]
        for rows in torch.arange(40).split(13)
    ]
    assert np.array_equal(np.concatenate([part.fooled for part in parts]), whole.fooled)


def test_an_attack_with_a_radius_of_its_own_is_run_up_to_that_radius() -> None:
    attacks = (FGSM(eps=0.3), FGSM(eps=0.15))
    curves, _ = attack_curves(reader(), *batch(60), Budget(attacks, EPS, seed=3))
    for k, largest in enumerate((0.3, 0.15)):
        for e, eps in enumerate(np.array(EPS) * largest / 0.15):
            expected = fooled_by(FGSM(eps=eps), 60)
            assert torch.equal(torch.from_numpy(curves.fooled[:, k, e]), expected)


def test_an_attack_without_a_radius_counts_where_its_change_lies_in_the_ball() -> None:
    curves, _ = attack_curves(reader(), *batch(60), Budget((DeepFool(norm="linf"),), EPS, seed=3))
    pixels, labels, ids = batch(60)
    attacked = DeepFool(norm="linf")(reader(), pixels, labels, ids=ids).pixels
    size = (attacked - pixels).abs().flatten(1).amax(1)
    fooled = fooled_by(DeepFool(norm="linf"), 60)
    for e, eps in enumerate(EPS):
        assert torch.equal(torch.from_numpy(curves.fooled[:, 0, e]), fooled & (size <= eps))
    assert curves.fooled[:, 0, -1].sum() > curves.fooled[:, 0, 0].sum() > 0


class NanAbove(nn.Module):
    """`reader`, but NaN for an image whose corner an attack has made brighter."""

    def forward(self, x: Tensor) -> Tensor:
        corner = x[:, 0, 0, :1]
        return reader().network(x) + torch.where(corner > 0.01, torch.nan, 0.0)


def test_images_of_which_nothing_is_known_are_marked() -> None:
    pixels, labels, ids = batch(30)
    pixels = pixels.clone()
    pixels[:, 0, 0, 0] = 0
    curves, _ = attack_curves(model_of(NanAbove(), (1, 8, 8), 10), pixels, labels, ids, BUDGET)
    assert curves.invalid.any()


class Outside(PGD):
    """An attack that leaves its ball."""

    def perturb(self, model: Model, pixels: Tensor, criterion: Criterion, rng: PerImageRng) -> AttackResult:
        return AttackResult.single_step(1 - pixels)


def test_an_attack_that_leaves_its_ball_fools_nobody() -> None:
    curves, _ = attack_curves(reader(), *batch(20), Budget((FGSM(eps=0.15), Outside(eps=0.15)), EPS, seed=3))
    assert not curves.fooled[:, 1].any()
    assert np.array_equal(curves.invalid, curves.correct)


def test_minimal_perturbations_shrink_from_attack_to_attack() -> None:
    minimal = minimal_perturbations(reader(), *batch(40), BUDGET)
    correct = (predict(reader(), batch(40)[0]).argmax(1) == batch(40)[1]).numpy()
    assert np.isfinite(minimal.carlini_wagner).all()
    assert (minimal.carlini_wagner <= minimal.deepfool + 1e-5).all()
    assert np.median(minimal.deepfool[correct]) < np.median(minimal.fgsm[correct])
    for norms in (minimal.fgsm, minimal.deepfool, minimal.carlini_wagner):
        assert ((norms == 0) == ~correct).all()
    assert not minimal.one_pixel[~correct].any()


def test_targeted_attacks_are_those_of_pgd_by_itself() -> None:
    pixels, labels, ids = batch(40)
    outcome = targeted_success(reader(), pixels, labels, ids, 3, BUDGET)
    assert targeted_steps(BUDGET) == 5
    rows = (predict(reader(), pixels).argmax(1) == labels) & (labels != 3)
    attack = PGD(eps=0.15, steps=5)
    attacked = attack(reader(), pixels[rows], labels[rows], targets=3, seed=3, ids=ids[rows]).pixels
    assert np.array_equal(outcome.labels, labels[rows].numpy())
    assert np.array_equal(outcome.success, (predict(reader(), attacked).argmax(1) == 3).numpy())


def test_nothing_is_attempted_towards_the_class_of_every_image() -> None:
    pixels, labels, ids = batch(40)
    rows = labels == 3
    outcome = targeted_success(reader(), pixels[rows], labels[rows], ids[rows], 3, BUDGET)
    assert len(outcome.labels) == len(outcome.success) == 0


@pytest.mark.parametrize(
    ("attacks", "reference", "steps", "queries"),
    [
        (ATTACKS, 2, 10, 40),
        ((FGSM(eps=0.15), Noise(eps=0.15)), 1, 20, 200),
        ((PGD(eps=0.15, steps=7), PGD(eps=0.15, steps=9)), 0, 7, 200),
    ],
)
def test_searches_take_the_parameters_of_the_first_pgd_and_square_attack(
    attacks: tuple[Attack, ...], reference: int, steps: int, queries: int
) -> None:
    budget = Budget(attacks, EPS, seed=0)
    assert (budget.reference, budget.pgd.steps, budget.queries) == (reference, steps, queries)
