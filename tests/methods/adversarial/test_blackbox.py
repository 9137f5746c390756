"""Black-box attacks fool, keep their bounds, and use no gradient."""

import pytest
import torch
from torch import Tensor, nn

from probe.methods.adversarial.attack import Attack
from probe.methods.adversarial.blackbox import Noise, OnePixel, SquareAttack, random_direction, random_noise
from probe.methods.adversarial.criteria import predict
from probe.methods.adversarial.gradient_attacks import PGD
from probe.methods.adversarial.norms import Norm, perturbation_norm
from probe.methods.adversarial.per_image_random import PerImageRng
from probe.methods.adversarial.universal import UniversalPerturbation
from tests.methods.adversarial.victims import digits, model_of, reader


class NoGradient(nn.Module):
    """The same logits, and no gradient at all."""

    def forward(self, x: Tensor) -> Tensor:
        return reader().network(x.detach())


def test_squares_fool_within_their_ball_and_without_a_gradient() -> None:
    pixels, labels = (t[:60] for t in digits())
    correct = predict(reader(), pixels).argmax(1) == labels
    result = SquareAttack(eps=0.3, queries=300)(model_of(NoGradient(), (1, 8, 8), 10), pixels, labels)
    fooled = predict(reader(), result.pixels).argmax(1) != labels
    assert torch.equal(fooled, result.success_step >= 0)
    assert fooled[correct].float().mean() > 0.6
    assert (perturbation_norm(result.pixels - pixels, "linf") <= 0.3 + 1e-6).all()
    assert result.pixels.min() >= 0
    assert result.pixels.max() <= 1
    assert (result.queries[~fooled] == 300).all()
    assert torch.equal(result.queries[fooled], result.success_step[fooled] + 1)


def test_squares_are_no_stronger_than_the_gradient() -> None:
    pixels, labels = digits()
    square, pgd = (
        attack(reader(), pixels, labels).success_step >= 0
        for attack in (SquareAttack(eps=0.15, queries=200), PGD(eps=0.15, steps=20))
    )
    assert (square & ~pgd).float().mean() < 0.02
    assert pgd.sum() > square.sum()


def test_squares_lead_to_a_target() -> None:
    pixels, labels = (t[:60] for t in digits())
    targets = (labels + 3) % 10
    result = SquareAttack(eps=0.4, queries=300)(reader(), pixels, labels, targets=targets)
    met = predict(reader(), result.pixels).argmax(1) == targets
    assert torch.equal(met, result.success_step >= 0)
    assert met.float().mean() > 0.3


def test_one_pixel_is_one_pixel() -> None:
    pixels, labels = (t[:60] for t in digits())
    correct = predict(reader(), pixels).argmax(1) == labels
    result = OnePixel(population=30, generations=8)(reader(), pixels, labels)
    changed = (result.pixels != pixels).any(1).flatten(1).sum(1)
    assert (changed <= 1).all()
    fooled = predict(reader(), result.pixels).argmax(1) != labels
    assert torch.equal(fooled, result.success_step >= 0)
    assert fooled[correct].any()
    assert (
        result.queries[result.success_step > 0] == 30 * (result.success_step[result.success_step > 0] + 1)
    ).all()


@pytest.mark.parametrize(
    "attack", [Noise(eps=0.2), SquareAttack(eps=0.2, queries=60), OnePixel(population=12, generations=4)]
)
def test_results_do_not_depend_on_the_batch(attack: Attack) -> None:
    model, (pixels, labels) = reader().double(), (t[:12] for t in digits())
    pixels, ids = pixels.double(), torch.arange(50, 62)

    def attacked(rows: Tensor) -> Tensor:
        return attack(model, pixels[rows], labels[rows], ids=ids[rows]).pixels

    together, back = attacked(torch.arange(12)), torch.arange(11, -1, -1)
    assert torch.equal(attacked(back)[back], together)
    assert torch.equal(torch.cat([attacked(torch.tensor([row])) for row in range(12)]), together)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_a_random_direction_has_norm_one_and_belongs_to_its_image(norm: Norm) -> None:
    pixels = digits()[0][:20]
    change = random_direction(pixels, PerImageRng(0, like=pixels), norm=norm)
    assert (perturbation_norm(change, norm) - 1).abs().max() <= 1e-5
    assert abs(float(change.mean())) < 0.05
    rng = PerImageRng(0, torch.tensor([3, 4]), like=pixels)
    assert torch.equal(random_direction(pixels[3:5], rng, norm=norm), change[3:5])


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_universal_perturbation_fools_images_that_it_was_not_fitted_on(norm: Norm) -> None:
    pixels, labels = digits()
    eps = {"linf": 0.25, "l2": 1.8}[norm]
    change = UniversalPerturbation(eps=eps, norm=norm).fit(reader(), pixels[:300], labels[:300])
    assert perturbation_norm(change[None], norm).item() <= eps + 1e-6
    unseen, truth = pixels[300:], labels[300:]
    clean = (predict(reader(), unseen).argmax(1) == truth).float().mean()
    perturbed = (predict(reader(), (unseen + change).clamp(0, 1)).argmax(1) == truth).float().mean()
    noise = Noise(eps=eps, norm=norm)(reader(), unseen, truth).pixels
    noisy = (predict(reader(), noise).argmax(1) == truth).float().mean()
    assert perturbed < noisy - 0.2 < clean


def test_noise_of_a_given_length_has_it_after_clamping_too() -> None:
    pixels = digits()[0][:20]
    length = torch.linspace(0.1, 2.0, 20)
    noisy = random_noise(pixels, length, PerImageRng(0, like=pixels))
    assert (perturbation_norm(noisy - pixels, "l2") - length).abs().max() <= 0.02
    assert noisy.min() >= 0
    assert noisy.max() <= 1
