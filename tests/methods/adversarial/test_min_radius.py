"""Is the least radius the least, on networks where it is known?"""

import pytest
import torch
from torch import Tensor

from probe.methods.adversarial.criteria import Criterion, predict
from probe.methods.adversarial.gradient_attacks import fgsm, ray
from probe.methods.adversarial.min_radius import min_radius_on_ray, min_radius_pgd
from probe.methods.adversarial.norms import Norm
from tests.methods.adversarial.victims import digits, linear, reader


def two_classes(values: int = 9) -> tuple[Tensor, Tensor, Tensor]:
    """Weights, bias and pixels near 0.5, with small margins, so that the walls of [0, 1] are far."""
    draw = torch.Generator().manual_seed(4)
    weights = torch.randn(2, values, generator=draw, dtype=torch.float64)
    pixels = 0.5 + 0.02 * torch.randn(16, values, generator=draw, dtype=torch.float64)
    bias = torch.tensor([0.0, float(((weights[0] - weights[1]) * 0.5).sum())], dtype=torch.float64)
    return weights, bias, pixels


@pytest.mark.parametrize(("norm", "dual"), [("linf", 1), ("l2", 2)])
def test_the_least_radius_of_a_linear_network_is_its_margin_over_the_dual_norm(norm: Norm, dual: int) -> None:
    weights, bias, pixels = two_classes()
    model = linear(weights, bias, (1, 3, 3))
    images = pixels.view(-1, 1, 3, 3)
    logits = predict(model, images)
    labels = logits.argmax(1)
    exact = (logits[:, 0] - logits[:, 1]).abs() / (weights[0] - weights[1]).norm(p=dual)
    aim = Criterion(labels)
    found = min_radius_on_ray(model, ray(model, images, aim, norm=norm), aim, eps=1.0, tolerance=1e-8)
    assert (found.double() - exact).abs().max() <= 1e-6
    # FGSM is optimal there: just below nothing is fooled, just above all are.
    for row in range(len(images)):
        one = (images[row : row + 1], labels[row : row + 1])
        below, above = (
            predict(model, fgsm(model, *one, eps=float(exact[row]) * (1 + d), norm=norm)).argmax(1) != one[1]
            for d in (-1e-4, 1e-4)
        )
        assert (bool(below), bool(above)) == (False, True)


def test_pgd_comes_to_the_least_radius_of_a_linear_network() -> None:
    weights, bias, pixels = two_classes()
    model = linear(weights, bias, (1, 3, 3))
    images = pixels.view(-1, 1, 3, 3)
    logits = predict(model, images)
    exact = (logits[:, 0] - logits[:, 1]).abs() / (weights[0] - weights[1]).norm(p=1)
    found = min_radius_pgd(model, images, logits.argmax(1), eps=0.5, steps=20, rounds=16)
    assert (found >= exact - 1e-6).all()
    assert (found <= exact * 1.02 + 1e-4).all()


def test_the_least_radius_fools_and_nothing_on_the_grid_before_it_does() -> None:
    pixels, labels = (t[:80] for t in digits())
    model, aim = reader(), Criterion(labels)
    along = ray(model, pixels, aim)
    least = min_radius_on_ray(model, along, aim, eps=1.0, grid=16, tolerance=1e-4)
    found = torch.isfinite(least)
    assert found.float().mean() > 0.8
    assert aim.take(found).reached(predict(model, along.take(found).at(least[found]))).all()
    for k in range(1, 17):
        here = (k / 16) ** 2
        before = found & (least > here)
        assert not aim.take(before).reached(predict(model, along.take(before).at(here))).any()


def test_an_image_that_is_wrong_as_it_stands_has_radius_zero() -> None:
    pixels = digits()[0][:20]
    wrong = (predict(reader(), pixels).argmax(1) + 1) % 10
    aim = Criterion(wrong)
    assert (min_radius_on_ray(reader(), ray(reader(), pixels, aim), aim) == 0).all()
    assert (min_radius_pgd(reader(), pixels, wrong, rounds=1, steps=1) == 0).all()


def test_who_is_never_fooled_has_an_infinite_radius() -> None:
    constant = linear(torch.zeros(2, 4), torch.tensor([1.0, 0.0]), (1, 2, 2))
    pixels, labels = torch.full((3, 1, 2, 2), 0.5), torch.tensor([0, 0, 0])
    aim = Criterion(labels)
    assert (min_radius_on_ray(constant, ray(constant, pixels, aim), aim) == torch.inf).all()
    assert (min_radius_pgd(constant, pixels, labels, rounds=2, steps=2) == torch.inf).all()


def test_pgd_needs_no_larger_radius_than_one_step() -> None:
    pixels, labels = (t[:60] for t in digits())
    aim = Criterion(labels)
    one = min_radius_on_ray(reader(), ray(reader(), pixels, aim), aim)
    many = min_radius_pgd(reader(), pixels, labels, steps=20, rounds=10)
    assert (many <= one * 1.05 + 2e-3).float().mean() > 0.95
    assert many.median() < one.median()


def test_radii_that_are_known_shorten_the_search_and_do_not_change_what_it_finds() -> None:
    weights, bias, pixels = two_classes()
    model = linear(weights, bias, (1, 3, 3))
    images = pixels.view(-1, 1, 3, 3)
    logits = predict(model, images)
    exact = (logits[:, 0] - logits[:, 1]).abs() / (weights[0] - weights[1]).norm(p=1)
    found = min_radius_pgd(
        model, images, logits.argmax(1), steps=20, rounds=6, low=0.9 * exact, high=1.5 * exact
    )
    assert (found >= exact - 1e-6).all()
    assert (found <= exact * 1.02 + 1e-4).all()
    # What is known to fool is never lost, and who is not known to fall is searched up to eps.
    none = min_radius_pgd(
        model, images, logits.argmax(1), steps=2, rounds=0, low=1.1 * exact, high=1.2 * exact
    )
    assert (none <= 1.2 * exact).all()
    open_ = torch.full_like(exact, torch.inf)
    far = min_radius_pgd(
        model, images, logits.argmax(1), eps=0.5, steps=20, rounds=12, low=0.5 * exact, high=open_
    )
    assert (far <= exact * 1.02 + 1e-4).all()
