"""Is success counted honestly?"""

import pytest
import torch
from torch import Tensor, nn

from probe.errors import UserError
from probe.methods.adversarial.criteria import predict
from probe.methods.adversarial.evaluate import evaluate, invalid_warning, joined
from probe.methods.adversarial.gradient_attacks import AttackResult, fgsm, pgd
from probe.methods.adversarial.norms import Norm
from tests.methods.adversarial.victims import digits, model_of, reader


def some(n: int = 100) -> tuple[Tensor, Tensor]:
    pixels, labels = digits()
    return pixels[:n], labels[:n]


def test_images_that_were_wrong_already_are_left_alone_and_count_as_no_success() -> None:
    pixels, labels = some()
    clean = predict(reader(), pixels).argmax(1)
    labels = torch.where(torch.arange(100) < 30, (clean + 1) % 10, clean)
    seen: list[int] = []

    def attack(x: Tensor, y: Tensor, targets: Tensor | None, index: Tensor) -> Tensor:
        seen.extend(index.tolist())
        return fgsm(reader(), x, y, eps=0.3)

    outcome = evaluate(reader(), pixels, labels, attack)
    assert seen == list(range(30, 100))
    assert not outcome.right[:30].any()
    assert not outcome.fooled[:30].any()
    assert torch.equal(outcome.pixels[:30], pixels[:30])
    assert outcome.accuracy == pytest.approx(float((outcome.answer == labels)[30:].sum()) / 100)
    assert outcome.success == pytest.approx(float((outcome.answer != labels)[30:].float().mean()))


@pytest.mark.parametrize("broken", [torch.nan, -0.5, 1.5])
def test_an_image_that_is_no_image_is_no_success(broken: float) -> None:
    pixels, labels = some(10)
    outcome = evaluate(reader(), pixels, labels, lambda x, y, t, i: torch.full_like(x, broken))
    assert not outcome.fooled.any()
    assert torch.equal(outcome.pixels, pixels)


def test_the_network_is_asked_again_whatever_the_attack_says() -> None:
    pixels, labels = some(20)

    def boasting(x: Tensor, y: Tensor, t: Tensor | None, i: Tensor) -> AttackResult:
        return AttackResult(x, torch.zeros_like(y), torch.ones_like(y))

    outcome = evaluate(reader(), pixels, labels, boasting)
    assert not outcome.fooled.any()
    assert (outcome.first == -1).all()


def test_a_targeted_success_is_the_target_and_nothing_else() -> None:
    pixels, labels = some()
    targets = (labels + 5) % 10
    outcome = evaluate(
        reader(), pixels, labels, lambda x, y, t, i: fgsm(reader(), x, y, eps=0.3, targets=t), targets=targets
    )
    assert outcome.fooled.any()
    assert (outcome.answer[outcome.fooled] == targets[outcome.fooled]).all()
    assert ((outcome.answer != labels) & ~outcome.fooled).any()


def test_batches_judged_one_by_one_are_the_whole() -> None:
    pixels, labels = some(60)

    def attack(x: Tensor, y: Tensor, t: Tensor | None, i: Tensor) -> AttackResult:
        return pgd(reader(), x, y, eps=0.15, steps=8, index=i)

    whole = evaluate(reader(), pixels, labels, attack)
    index = torch.arange(60)
    parts = joined([evaluate(reader(), pixels[r], labels[r], attack, index=r) for r in index.split(17)])
    assert torch.equal(parts.fooled, whole.fooled)
    assert torch.equal(parts.first, whole.first)
    assert torch.allclose(parts.linf, whole.linf, atol=1e-6)
    assert len(parts.pixels) == 0
    assert (whole.queries[whole.right] > 0).all()
    assert (whole.seconds > 0).all()


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.1), ("l2", 0.8), ("l1", 6.4)])
def test_what_lies_outside_its_ball_is_no_success_and_is_said(norm: Norm, eps: float) -> None:
    pixels, labels = some(40)

    def attack(x: Tensor, y: Tensor, t: Tensor | None, i: Tensor) -> Tensor:
        return fgsm(reader(), x, y, eps=0.3)

    allowed = evaluate(reader(), pixels, labels, attack)
    assert allowed.fooled.any()
    assert invalid_warning(allowed.void) == []
    outcome = evaluate(reader(), pixels, labels, attack, eps=eps, norm=norm)
    assert not outcome.fooled.any()
    assert torch.equal(outcome.void, outcome.right)
    assert torch.equal(outcome.pixels, pixels)
    assert invalid_warning(outcome.void)[0].startswith(
        f"{int(outcome.right.sum())} of 40 images came back outside"
    )
    # One radius an image: those that may go so far do.
    mixed = evaluate(
        reader(), pixels, labels, attack, eps=torch.where(torch.arange(40) < 20, 0.3, 0.1), norm="linf"
    )
    assert torch.equal(mixed.fooled[:20], allowed.fooled[:20])
    assert not mixed.fooled[20:].any()


def test_rounding_does_not_leave_the_ball() -> None:
    pixels, labels = some(100)
    for eps in (1 / 255, 0.1, 0.3):
        outcome = evaluate(
            reader(), pixels, labels, lambda x, y, t, i, eps=eps: fgsm(reader(), x, y, eps=eps), eps=eps
        )
        assert not outcome.void.any()


class NanWhenBright(nn.Module):
    """`reader` for the images as they are, and no number once a black corner has been touched."""

    def forward(self, x: Tensor) -> Tensor:
        return reader().network(x) + torch.where(x[:, 0, 0, :1] > 0, torch.nan, 0.0)


def test_answers_that_are_no_numbers_after_the_attack_are_said_and_before_it_refused() -> None:
    pixels, labels = some(20)
    victim = model_of(NanWhenBright(), (1, 8, 8), 10)
    outcome = evaluate(victim, pixels, labels, lambda x, y, t, i: (x + 0.3).clamp(0, 1))
    assert not outcome.fooled.any()
    assert torch.equal(outcome.void, outcome.right)
    with pytest.raises(UserError, match="NaN or infinite"):
        evaluate(victim, pixels + 0.01 * (pixels < 0.5), labels, lambda x, y, t, i: x)
