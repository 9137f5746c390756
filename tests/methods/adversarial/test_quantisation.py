"""Perturbed images of eight bits stay in their ball and stay adversarial."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from probe.methods.adversarial.criteria import predict
from probe.methods.adversarial.gradient_attacks import FGSM
from probe.methods.adversarial.norms import Norm, perturbation_norm
from probe.methods.adversarial.quantisation import quantise_in_ball, through_jpeg, through_png
from tests.methods.adversarial.victims import digits, reader


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 999), levels=st.integers(0, 40))
def test_whole_grey_levels_inside_the_ball(norm: Norm, seed: int, levels: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (3, 3, 5, 5), generator=rng) / 255
    change = (torch.rand(3, 3, 5, 5, generator=rng) * 2 - 1) * levels / 255
    perturbed = (pixels + change).clamp(0, 1)
    eps = perturbation_norm(perturbed - pixels, norm) if norm != "linf" else torch.full((3,), levels / 255)
    quantised = quantise_in_ball(pixels, perturbed, eps, norm)
    assert (quantised * 255 - (quantised * 255).round()).abs().max() <= 1e-4
    assert (perturbation_norm(quantised - pixels, norm) <= eps + 1e-6).all()
    assert quantised.min() >= 0
    assert quantised.max() <= 1


def test_eight_levels_stay_eight_where_truncation_makes_nine() -> None:
    pixels = torch.arange(256).view(1, 1, 16, 16) / 255
    perturbed = (pixels - 8 / 255).clamp(0, 1)
    truncated = (perturbed * 255).to(torch.uint8) / 255
    assert (truncated - pixels).abs().max() * 255 > 8.5
    quantised = quantise_in_ball(pixels, perturbed, 8 / 255)
    assert (quantised - pixels).abs().max() * 255 <= 8 + 1e-4


def test_a_png_keeps_the_pixels_and_the_success() -> None:
    pixels, labels = (t[:60] for t in digits())
    pixels = (pixels * 255).round() / 255
    perturbed = FGSM(eps=24 / 255)(reader(), pixels, labels).pixels
    saved = quantise_in_ball(pixels, perturbed, 24 / 255)
    decoded = through_png(saved)
    assert torch.equal(decoded, saved)
    assert (perturbation_norm(decoded - pixels, "linf") <= 24 / 255 + 1e-6).all()
    still, before = (predict(reader(), x).argmax(1) != labels for x in (decoded, saved))
    assert torch.equal(still, before)
    assert before.any()


def test_colour_survives_a_png_and_is_blurred_by_jpeg() -> None:
    rng = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (2, 3, 16, 16), generator=rng) / 255
    assert torch.equal(through_png(pixels), pixels)
    difference = [float((through_jpeg(pixels, q) - pixels).abs().mean()) for q in (95, 50, 10)]
    assert 0 < difference[0] < difference[1] < difference[2]


def test_images_between_the_levels_end_on_a_level() -> None:
    pixels = torch.full((1, 1, 2, 2), 100.4 / 255)
    quantised = quantise_in_ball(pixels, pixels + 0.1 / 255, 0.2 / 255)
    assert (quantised * 255).tolist() == [[[[100.0, 100.0], [100.0, 100.0]]]]
