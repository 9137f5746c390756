"""Tests of the presets of activation maximisation."""

import torch

from probe.methods.synthesis.objectives import LOGITS, PIXELS
from probe.methods.synthesis.presets import BlurredPixels, blurred, class_objective, simonyan_objective

PIXEL_VALUES = torch.rand(3, 2, 9, 8, generator=torch.Generator().manual_seed(0))
LOGIT_VALUES = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
READ = {PIXELS: PIXEL_VALUES, LOGITS: LOGIT_VALUES}
CLASSES = torch.tensor([0, 3, 1])


def test_class_images_maximise_what_is_stated():
    own = LOGIT_VALUES[torch.arange(3), CLASSES]
    log_probability = own - LOGIT_VALUES.logsumexp(1)
    right = PIXEL_VALUES[:, :, :-1, 1:] - PIXEL_VALUES[:, :, :-1, :-1]
    down = PIXEL_VALUES[:, :, 1:, :-1] - PIXEL_VALUES[:, :, :-1, :-1]
    variation = (right**2 + down**2).mean((1, 2, 3))
    torch.testing.assert_close(
        class_objective(CLASSES).value(READ), log_probability + 0.2 * own - 100 * variation
    )
    grey = ((PIXEL_VALUES - 0.5) ** 2).mean((1, 2, 3))
    torch.testing.assert_close(simonyan_objective(CLASSES, decay=3).value(READ), own - 3 * grey)


def test_a_blur_is_a_gaussian_average_that_keeps_flat_images():
    flat = torch.full((1, 2, 9, 8), 0.3)
    torch.testing.assert_close(blurred(flat, 1.0), flat)
    dot = torch.zeros(1, 1, 11, 11)
    dot[0, 0, 5, 5] = 1
    spread = blurred(dot, 1.0)[0, 0]
    torch.testing.assert_close(spread.sum(), torch.tensor(1.0))
    distance = (torch.arange(11) - 5).float()
    variance = (spread.sum(0) * distance**2).sum()
    torch.testing.assert_close(variance, torch.tensor(1.0), rtol=0.05, atol=0)


def test_pixels_decay_at_each_step_and_are_blurred_at_every_fourth():
    pixels = BlurredPixels((2, 9, 8), torch.full((2, 1, 1), 0.5), decay=0.1)
    once = pixels.project(PIXEL_VALUES)
    torch.testing.assert_close(once, 0.5 + 0.9 * (PIXEL_VALUES - 0.5))
    for _ in range(2):
        once = pixels.project(once)
    fourth = pixels.project(once)
    torch.testing.assert_close(fourth, blurred(0.5 + 0.9 * (once - 0.5), 1.0))
