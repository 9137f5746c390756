"""Does what is saved with eight bits stay in its ball and keep its success?"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from probe.methods.adversarial.criteria import predict
from probe.methods.adversarial.gradient_attacks import fgsm
from probe.methods.adversarial.norms import Norm, perturbation_norm
from probe.methods.adversarial.quantisation import quantise_in_ball, through_jpeg, through_png
from tests.methods.adversarial.victims import digits, reader


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 999), levels=st.integers(0, 40))
def test_whole_grey_levels_inside_the_ball(norm: Norm, seed: int, levels: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (3, 3, 5, 5), generator=draw) / 255
    change = (torch.rand(3, 3, 5, 5, generator=draw) * 2 - 1) * levels / 255
    moved = (pixels + change).clamp(0, 1)
    eps = perturbation_norm(moved - pixels, norm) if norm != "linf" else torch.full((3,), levels / 255)
    made = quantise_in_ball(pixels, moved, eps, norm)
    assert (made * 255 - (made * 255).round()).abs().max() <= 1e-4
    assert (perturbation_norm(made - pixels, norm) <= eps + 1e-6).all()
    assert made.min() >= 0
    assert made.max() <= 1


def test_eight_levels_stay_eight_where_truncation_makes_nine() -> None:
    pixels = torch.arange(256).view(1, 1, 16, 16) / 255
    moved = (pixels - 8 / 255).clamp(0, 1)
    truncated = (moved * 255).to(torch.uint8) / 255
    assert (truncated - pixels).abs().max() * 255 > 8.5
    made = quantise_in_ball(pixels, moved, 8 / 255)
    assert (made - pixels).abs().max() * 255 <= 8 + 1e-4


def test_a_png_gives_back_what_was_saved_and_its_success() -> None:
    pixels, labels = (t[:60] for t in digits())
    pixels = (pixels * 255).round() / 255
    moved = fgsm(reader(), pixels, labels, eps=24 / 255)
    saved = quantise_in_ball(pixels, moved, 24 / 255)
    read = through_png(saved)
    assert torch.equal(read, saved)
    assert (perturbation_norm(read - pixels, "linf") <= 24 / 255 + 1e-6).all()
    said, reported = (predict(reader(), x).argmax(1) != labels for x in (read, saved))
    assert torch.equal(said, reported)
    assert reported.any()


def test_colour_survives_a_png_and_is_blurred_by_jpeg() -> None:
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (2, 3, 16, 16), generator=draw) / 255
    assert torch.equal(through_png(pixels), pixels)
    apart = [float((through_jpeg(pixels, q) - pixels).abs().mean()) for q in (95, 50, 10)]
    assert 0 < apart[0] < apart[1] < apart[2]


def test_images_between_the_levels_end_on_a_level() -> None:
    pixels = torch.full((1, 1, 2, 2), 100.4 / 255)
    made = quantise_in_ball(pixels, pixels + 0.1 / 255, 0.2 / 255)
    assert (made * 255).tolist() == [[[[100.0, 100.0], [100.0, 100.0]]]]
