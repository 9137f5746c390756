"""Is success counted honestly?"""

import pytest
import torch
from torch import Tensor

from probe.methods.attacks import Found, fgsm, pgd
from probe.methods.goals import answers
from probe.methods.judging import joined, judge
from tests.methods.victims import digits, reader


def some(n: int = 100) -> tuple[Tensor, Tensor]:
    pixels, labels = digits()
    return pixels[:n], labels[:n]


def test_images_that_were_wrong_already_are_left_alone_and_count_as_no_success() -> None:
    pixels, labels = some()
    clean = answers(reader(), pixels).argmax(1)
    labels = torch.where(torch.arange(100) < 30, (clean + 1) % 10, clean)
    seen: list[int] = []

    def attack(x: Tensor, y: Tensor, targets: Tensor | None, index: Tensor) -> Tensor:
        seen.extend(index.tolist())
        return fgsm(reader(), x, y, eps=0.3)

    outcome = judge(reader(), pixels, labels, attack)
    assert seen == list(range(30, 100))
    assert not outcome.right[:30].any()
    assert not outcome.fooled[:30].any()
    assert torch.equal(outcome.pixels[:30], pixels[:30])
    assert outcome.accuracy == pytest.approx(float((outcome.answer == labels)[30:].sum()) / 100)
    assert outcome.success == pytest.approx(float((outcome.answer != labels)[30:].float().mean()))


@pytest.mark.parametrize("broken", [torch.nan, -0.5, 1.5])
def test_an_image_that_is_no_image_is_no_success(broken: float) -> None:
    pixels, labels = some(10)
    outcome = judge(reader(), pixels, labels, lambda x, y, t, i: torch.full_like(x, broken))
    assert not outcome.fooled.any()
    assert torch.equal(outcome.pixels, pixels)


def test_the_network_is_asked_again_whatever_the_attack_says() -> None:
    pixels, labels = some(20)

    def boasting(x: Tensor, y: Tensor, t: Tensor | None, i: Tensor) -> Found:
        return Found(x, torch.zeros_like(y), torch.ones_like(y))

    outcome = judge(reader(), pixels, labels, boasting)
    assert not outcome.fooled.any()
    assert (outcome.first == -1).all()


def test_a_targeted_success_is_the_target_and_nothing_else() -> None:
    pixels, labels = some()
    targets = (labels + 5) % 10
    outcome = judge(
        reader(), pixels, labels, lambda x, y, t, i: fgsm(reader(), x, y, eps=0.3, targets=t), targets=targets
    )
    assert outcome.fooled.any()
    assert (outcome.answer[outcome.fooled] == targets[outcome.fooled]).all()
    assert ((outcome.answer != labels) & ~outcome.fooled).any()


def test_batches_judged_one_by_one_are_the_whole() -> None:
    pixels, labels = some(60)

    def attack(x: Tensor, y: Tensor, t: Tensor | None, i: Tensor) -> Found:
        return pgd(reader(), x, y, eps=0.15, steps=8, index=i)

    whole = judge(reader(), pixels, labels, attack)
    index = torch.arange(60)
    parts = joined([judge(reader(), pixels[r], labels[r], attack, index=r) for r in index.split(17)])
    assert torch.equal(parts.fooled, whole.fooled)
    assert torch.equal(parts.first, whole.first)
    assert torch.allclose(parts.linf, whole.linf, atol=1e-6)
    assert len(parts.pixels) == 0
    assert (whole.queries[whole.right] > 0).all()
    assert (whole.seconds > 0).all()
