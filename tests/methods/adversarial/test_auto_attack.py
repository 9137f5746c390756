"""APGD, FAB-T and the standard version: closed forms, invariances, and the ball."""

import pytest
import torch

from probe.errors import UserError
from probe.methods.adversarial.apgd import APGD, TargetedAPGD, dlr_loss, targeted_dlr_loss
from probe.methods.adversarial.auto_attack import AutoAttack
from probe.methods.adversarial.criteria import predict
from probe.methods.adversarial.fab import TargetedFAB, project_to_hyperplane
from probe.methods.adversarial.gradient_attacks import PGD
from tests.methods.adversarial.victims import digits, linear, reader

ATTACKS = (APGD(steps=20), APGD(steps=20, loss="dlr"), TargetedAPGD(steps=20), TargetedFAB(steps=30))


def test_the_dlr_losses_are_those_of_the_paper_and_ignore_shift_and_scale() -> None:
    logits = torch.tensor([[3.0, 1.0, 0.5, -2.0, 0.0]], dtype=torch.float64)
    labels, targets = torch.tensor([1]), torch.tensor([2])
    assert dlr_loss(logits, labels).item() == pytest.approx(-(1 - 3) / (3 - 0.5))
    assert targeted_dlr_loss(logits, labels, targets).item() == pytest.approx(
        -(1 - 0.5) / (3 - (0.5 + 0) / 2)
    )
    for scaled in (100 * logits, logits + 7):
        torch.testing.assert_close(dlr_loss(scaled, labels), dlr_loss(logits, labels))


def test_the_projection_on_a_hyperplane_is_the_smallest_linf_change_inside_the_cube() -> None:
    rng = torch.Generator().manual_seed(0)
    pixels = torch.rand(200, 1, 3, 4, generator=rng, dtype=torch.float64)
    gradient = torch.randn(200, 1, 3, 4, generator=rng, dtype=torch.float64)
    value = torch.randn(200, generator=rng, dtype=torch.float64)
    change = project_to_hyperplane(pixels, gradient, value)
    assert float((pixels + change).min()) >= -1e-12
    assert float((pixels + change).max()) <= 1 + 1e-12
    left = value + (gradient * change).flatten(1).sum(1)
    # Slow rewrite: the change of level t in every value, cut at the cube, by bisection on t.
    low, high = torch.zeros(200, dtype=torch.float64), torch.ones(200, dtype=torch.float64)
    direction = -(gradient.sign() * value.sign().view(-1, 1, 1, 1))
    for _ in range(60):
        level = (low + high) / 2
        moved = (pixels + level.view(-1, 1, 1, 1) * direction).clamp(0, 1)
        there = value + (gradient * (moved - pixels)).flatten(1).sum(1)
        beyond = there.sign() != value.sign()
        low, high = torch.where(beyond, low, level), torch.where(beyond, level, high)
    reachable = high < 1 - 1e-6
    assert reachable.float().mean() > 0.9
    torch.testing.assert_close(left[reachable], torch.zeros_like(left[reachable]), atol=1e-9, rtol=0)
    torch.testing.assert_close(
        change.flatten(1).abs().amax(1)[reachable], high[reachable], atol=1e-6, rtol=1e-6
    )


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_a_linear_network_falls_beyond_its_margin_and_not_before(attack) -> None:
    rng = torch.Generator().manual_seed(3)
    weights = torch.randn(5, 12, generator=rng, dtype=torch.float64)
    model = linear(weights, torch.zeros(5, dtype=torch.float64), (1, 3, 4))
    pixels = 0.4 + 0.2 * torch.rand(40, 1, 3, 4, generator=rng, dtype=torch.float64)
    logits = predict(model, pixels)
    labels = logits.argmax(1)
    others = logits.gather(1, labels[:, None]) - logits
    gains = (weights[labels][:, None] - weights[None]).abs().sum(2)
    radius = torch.where(gains > 0, others / gains, torch.inf).amin(1)
    rows = (radius < 0.35 / 1.05).nonzero()[:5, 0].tolist()  # the cube is not in the way
    assert len(rows) == 5
    for factor, fooled in ((1.05, True), (0.95, False)):
        for row in rows:
            one = attack.with_defaults(eps=float(radius[row] * factor))
            result = one(model, pixels[row : row + 1], labels[row : row + 1])
            assert bool((predict(model, result.pixels).argmax(1) != labels[row]).all()) == fooled


def test_it_is_at_least_as_strong_as_pgd_of_as_many_steps_and_the_whole_as_its_parts() -> None:
    pixels, labels = (t[:30] for t in digits())
    correct = predict(reader(), pixels).argmax(1) == labels
    pixels, labels = pixels[correct], labels[correct]

    def robust(attack) -> int:
        result = attack(reader(), pixels, labels)
        assert float((result.pixels - pixels).abs().max()) <= attack.eps + 1e-6
        return int((predict(reader(), result.pixels).argmax(1) == labels).sum())

    eps = 0.07
    whole = robust(AutoAttack(eps=eps))
    assert whole <= robust(PGD(eps=eps, steps=100))
    for part in AutoAttack(eps=eps).attacks(reader())[:3]:
        assert whole <= robust(part)


def test_few_classes_leave_the_targeted_loss_out_and_say_so_where_it_is_named() -> None:
    model = linear(torch.randn(3, 12), torch.zeros(3), (1, 3, 4))
    pixels = torch.rand(2, 1, 3, 4)
    labels = predict(model, pixels).argmax(1)
    assert [a.name for a in AutoAttack().attacks(model)] == ["apgd", "fab-t", "square"]
    with pytest.raises(UserError, match="needs 4 classes"):
        TargetedAPGD()(model, pixels, labels)
