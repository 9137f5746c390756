"""Do attacks that see answers alone fool, keep their limits, and use no gradient?"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from probe.methods.adversarial.blackbox import one_pixel_attack, random_direction, random_noise, square_attack
from probe.methods.adversarial.criteria import predict
from probe.methods.adversarial.gradient_attacks import AttackResult, pgd
from probe.methods.adversarial.norms import Norm, perturbation_norm
from probe.methods.adversarial.universal import universal
from tests.methods.adversarial.victims import digits, model_of, reader


class Flat(nn.Module):
    """The same answers, and no gradient at all."""

    def forward(self, x: Tensor) -> Tensor:
        return reader().network(x.detach())


def test_squares_fool_within_their_ball_and_without_a_gradient() -> None:
    pixels, labels = (t[:60] for t in digits())
    right = predict(reader(), pixels).argmax(1) == labels
    found = square_attack(model_of(Flat(), (1, 8, 8), 10), pixels, labels, eps=0.3, queries=300)
    fooled = predict(reader(), found.pixels).argmax(1) != labels
    assert torch.equal(fooled, found.first >= 0)
    assert fooled[right].float().mean() > 0.6
    assert (perturbation_norm(found.pixels - pixels, "linf") <= 0.3 + 1e-6).all()
    assert found.pixels.min() >= 0
    assert found.pixels.max() <= 1
    assert (found.queries[~fooled] == 300).all()
    assert torch.equal(found.queries[fooled], found.first[fooled] + 1)


def test_squares_are_no_stronger_than_the_gradient() -> None:
    pixels, labels = digits()
    blind = square_attack(reader(), pixels, labels, eps=0.15, queries=200).first >= 0
    seeing = pgd(reader(), pixels, labels, eps=0.15, steps=20).first >= 0
    assert (blind & ~seeing).float().mean() < 0.02
    assert seeing.sum() > blind.sum()


def test_one_pixel_is_one_pixel() -> None:
    pixels, labels = (t[:60] for t in digits())
    right = predict(reader(), pixels).argmax(1) == labels
    found = one_pixel_attack(reader(), pixels, labels, population=30, generations=8)
    changed = (found.pixels != pixels).any(1).flatten(1).sum(1)
    assert (changed <= 1).all()
    fooled = predict(reader(), found.pixels).argmax(1) != labels
    assert torch.equal(fooled, found.first >= 0)
    assert fooled[right].any()
    assert (found.queries[found.first > 0] == 30 * (found.first[found.first > 0] + 1)).all()


@pytest.mark.parametrize("attack", [
    lambda s, x, y, i: square_attack(s, x, y, eps=0.2, queries=60, index=i),
    lambda s, x, y, i: one_pixel_attack(s, x, y, population=12, generations=4, index=i),
])  # fmt: skip
def test_the_searches_do_not_depend_on_the_batch(attack: Callable[..., AttackResult]) -> None:
    model, (pixels, labels) = reader().double(), (t[:12] for t in digits())
    pixels, index = pixels.double(), torch.arange(50, 62)
    together = attack(model, pixels, labels, index)
    back = torch.arange(11, -1, -1)
    assert torch.equal(attack(model, pixels[back], labels[back], index[back]).pixels[back], together.pixels)
    alone = [attack(model, pixels[k : k + 1], labels[k : k + 1], index[k : k + 1]).pixels for k in range(12)]
    assert torch.equal(torch.cat(alone), together.pixels)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_noise_has_the_size_that_it_is_asked_for(norm: Norm) -> None:
    pixels = digits()[0][:20]
    made = random_direction(pixels, norm=norm)
    assert (perturbation_norm(made, norm) - 1).abs().max() <= 1e-5
    assert abs(float(made.mean())) < 0.05
    assert torch.equal(random_direction(pixels[3:5], norm=norm, index=torch.tensor([3, 4])), made[3:5])


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_one_change_fools_images_that_it_was_not_made_from(norm: Norm) -> None:
    pixels, labels = digits()
    eps = {"linf": 0.25, "l2": 1.8}[norm]
    change = universal(reader(), pixels[:300], labels[:300], eps=eps, norm=norm)
    assert perturbation_norm(change[None], norm).item() <= eps + 1e-6
    unseen, truth = pixels[300:], labels[300:]
    clean = (predict(reader(), unseen).argmax(1) == truth).float().mean()
    left = (predict(reader(), (unseen + change).clamp(0, 1)).argmax(1) == truth).float().mean()
    scattered = (unseen + eps * random_direction(unseen, norm=norm)).clamp(0, 1)
    blurred = (predict(reader(), scattered).argmax(1) == truth).float().mean()
    assert left < blurred - 0.2 < clean


def test_noise_of_a_given_length_has_it_after_clamping_too() -> None:
    pixels = digits()[0][:20]
    length = torch.linspace(0.1, 2.0, 20)
    moved = random_noise(pixels, length)
    assert (perturbation_norm(moved - pixels, "l2") - length).abs().max() <= 0.02
    assert moved.min() >= 0
    assert moved.max() <= 1
