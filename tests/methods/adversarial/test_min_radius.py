"""Minimal radii are exact on networks where they are known."""

import pytest
import torch
from torch import Tensor

from probe.methods.adversarial.criteria import Criterion, predict
from probe.methods.adversarial.gradient_attacks import FGSM, PGD, ray
from probe.methods.adversarial.min_radius import Bracket, PGDRadiusSearch, min_radius_on_ray
from probe.methods.adversarial.norms import Norm
from tests.methods.adversarial.victims import digits, linear, reader


def two_classes(values: int = 9) -> tuple[Tensor, Tensor, Tensor]:
    """Weights, bias and pixels near 0.5, with small margins, so that the bounds of [0, 1] are far."""
    draw = torch.Generator().manual_seed(4)
    weights = torch.randn(2, values, generator=draw, dtype=torch.float64)
    pixels = 0.5 + 0.02 * torch.randn(16, values, generator=draw, dtype=torch.float64)
    bias = torch.tensor([0.0, float(((weights[0] - weights[1]) * 0.5).sum())], dtype=torch.float64)
    return weights, bias, pixels


@pytest.mark.parametrize(("norm", "dual"), [("linf", 1), ("l2", 2)])
def test_the_minimal_radius_of_a_linear_network_is_its_margin_over_the_dual_norm(
    norm: Norm, dual: int
) -> None:
    weights, bias, pixels = two_classes()
    model = linear(weights, bias, (1, 3, 3))
    images = pixels.view(-1, 1, 3, 3)
    logits = predict(model, images)
    labels = logits.argmax(1)
    exact = (logits[:, 0] - logits[:, 1]).abs() / (weights[0] - weights[1]).norm(p=dual)
    criterion = Criterion(labels)
    radii = min_radius_on_ray(
        model, ray(model, images, criterion, norm=norm), criterion, eps=1.0, tolerance=1e-8
    )
    assert (radii.double() - exact).abs().max() <= 1e-6
    # FGSM is optimal there: just below nothing is fooled, just above all are.
    for row in range(len(images)):
        image = (images[row : row + 1], labels[row : row + 1])
        below, above = (
            predict(model, FGSM(eps=float(exact[row]) * (1 + d), norm=norm)(model, *image).pixels).argmax(1)
            != image[1]
            for d in (-1e-4, 1e-4)
        )
        assert (bool(below), bool(above)) == (False, True)


def test_pgd_comes_to_the_minimal_radius_of_a_linear_network() -> None:
    weights, bias, pixels = two_classes()
    model = linear(weights, bias, (1, 3, 3))
    images = pixels.view(-1, 1, 3, 3)
    logits = predict(model, images)
    exact = (logits[:, 0] - logits[:, 1]).abs() / (weights[0] - weights[1]).norm(p=1)
    radii = PGDRadiusSearch(PGD(eps=0.5, steps=20), rounds=16)(model, images, logits.argmax(1))
    assert (radii >= exact - 1e-6).all()
    assert (radii <= exact * 1.02 + 1e-4).all()


def test_the_minimal_radius_succeeds_and_no_smaller_one_on_the_grid_does() -> None:
    pixels, labels = (t[:80] for t in digits())
    model, criterion = reader(), Criterion(labels)
    rays = ray(model, pixels, criterion)
    minimal = min_radius_on_ray(model, rays, criterion, eps=1.0, grid=16, tolerance=1e-4)
    radii = torch.isfinite(minimal)
    assert radii.float().mean() > 0.8
    assert criterion.take(radii).is_adversarial(predict(model, rays.take(radii).at(minimal[radii]))).all()
    for k in range(1, 17):
        here = (k / 16) ** 2
        before = radii & (minimal > here)
        assert not criterion.take(before).is_adversarial(predict(model, rays.take(before).at(here))).any()


def test_a_misclassified_image_has_radius_zero() -> None:
    pixels = digits()[0][:20]
    wrong = (predict(reader(), pixels).argmax(1) + 1) % 10
    criterion = Criterion(wrong)
    assert (min_radius_on_ray(reader(), ray(reader(), pixels, criterion), criterion) == 0).all()
    assert (PGDRadiusSearch(PGD(eps=1, steps=1), rounds=1)(reader(), pixels, wrong) == 0).all()


def test_an_image_that_is_never_fooled_has_an_infinite_radius() -> None:
    constant = linear(torch.zeros(2, 4), torch.tensor([1.0, 0.0]), (1, 2, 2))
    pixels, labels = torch.full((3, 1, 2, 2), 0.5), torch.tensor([0, 0, 0])
    criterion = Criterion(labels)
    assert (min_radius_on_ray(constant, ray(constant, pixels, criterion), criterion) == torch.inf).all()
    assert (PGDRadiusSearch(PGD(eps=1, steps=2), rounds=2)(constant, pixels, labels) == torch.inf).all()


def test_pgd_needs_no_larger_radius_than_one_step() -> None:
    pixels, labels = (t[:60] for t in digits())
    criterion = Criterion(labels)
    one = min_radius_on_ray(reader(), ray(reader(), pixels, criterion), criterion)
    many = PGDRadiusSearch(PGD(eps=1, steps=20), rounds=10)(reader(), pixels, labels)
    assert (many <= one * 1.05 + 2e-3).float().mean() > 0.95
    assert many.median() < one.median()


def test_a_bracket_shortens_the_search_and_does_not_change_its_result() -> None:
    weights, bias, pixels = two_classes()
    model = linear(weights, bias, (1, 3, 3))
    images = pixels.view(-1, 1, 3, 3)
    logits = predict(model, images)
    exact = (logits[:, 0] - logits[:, 1]).abs() / (weights[0] - weights[1]).norm(p=1)
    search = PGDRadiusSearch(PGD(eps=1, steps=20), rounds=6)
    radii = search(model, images, logits.argmax(1), bracket=Bracket(0.9 * exact, 1.5 * exact))
    assert (radii >= exact - 1e-6).all()
    assert (radii <= exact * 1.02 + 1e-4).all()
    # A known success is never lost, and an image without one is searched up to eps.
    search = PGDRadiusSearch(PGD(eps=1, steps=2), rounds=0)
    none = search(model, images, logits.argmax(1), bracket=Bracket(1.1 * exact, 1.2 * exact))
    assert (none <= 1.2 * exact).all()
    unknown = torch.full_like(exact, torch.inf)
    search = PGDRadiusSearch(PGD(eps=0.5, steps=20), rounds=12)
    far = search(model, images, logits.argmax(1), bracket=Bracket(0.5 * exact, unknown))
    assert (far <= exact * 1.02 + 1e-4).all()
