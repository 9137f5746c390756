"""Gradient methods give what their papers state: on linear networks exactly, else what captum gives."""

import torch
from torch import Tensor, nn

from probe.methods.attribution.gradients import (
    GradientInput,
    IntegratedGradients,
    SmoothGrad,
    completeness_error,
)
from probe.methods.attribution.relu_rules import backpropagate
from probe.model.model import Model
from tests.methods.attribution.networks import LABELS, images, linear, model_of, small_convnet


def test_a_linear_network_is_attributed_exactly():
    model, weights = linear()
    pixels = images()
    exact = weights[LABELS] * (pixels - 0.2)
    torch.testing.assert_close(GradientInput(baseline=0.2)(model, pixels, LABELS), exact)
    torch.testing.assert_close(IntegratedGradients(baseline=0.2, steps=1)(model, pixels, LABELS), exact)
    torch.testing.assert_close(SmoothGrad(samples=3)(model, pixels, LABELS, seed=0), weights[LABELS])


def test_integrated_gradients_sum_to_the_difference_of_scores():
    network = small_convnet(nn.Tanh)
    network[2] = nn.AvgPool2d(2)
    model = model_of(network)
    errors = [
        completeness_error(
            model, images(), LABELS, IntegratedGradients(steps=steps)(model, images(), LABELS)
        ).max()
        for steps in (1, 8, 64)
    ]
    assert errors[0] > 0.1 > errors[1] > errors[2]
    assert errors[2] < 1e-9


def test_the_completeness_error_is_the_fraction_that_is_missing():
    model, _ = linear()
    attribution = GradientInput()(model, images(), LABELS)
    assert completeness_error(model, images(), LABELS, attribution).max() < 1e-12
    half = completeness_error(model, images(), LABELS, attribution / 2)
    torch.testing.assert_close(half, torch.full((4,), 0.5, dtype=torch.float64))


def test_integrated_gradients_agree_with_captum():
    from captum import attr

    model = model_of(small_convnet())
    pixels = images().requires_grad_()
    wanted = attr.IntegratedGradients(model.logits).attribute(
        pixels, baselines=torch.full_like(pixels, 0.1), target=LABELS, n_steps=20
    )
    found = IntegratedGradients(baseline=0.1, steps=20)(model, images(), LABELS)
    torch.testing.assert_close(found, wanted.detach(), rtol=0, atol=1e-8)  # its alphas are float32


def test_the_gradient_and_gradient_times_input_agree_with_captum():
    from captum.attr import InputXGradient, Saliency

    model = model_of(small_convnet())
    pixels = images().requires_grad_()
    wanted = Saliency(model.logits).attribute(pixels, target=LABELS, abs=False)
    torch.testing.assert_close(backpropagate(model, images(), LABELS), wanted.detach())
    wanted = InputXGradient(model.logits).attribute(pixels, target=LABELS)
    torch.testing.assert_close(GradientInput()(model, images(), LABELS), wanted.detach())


def test_smoothgrad_without_noise_or_on_one_colour_is_the_gradient():
    model = model_of(small_convnet())
    wanted = backpropagate(model, images(), LABELS)
    torch.testing.assert_close(SmoothGrad(noise=0)(model, images(), LABELS, seed=1), wanted)
    grey = torch.full_like(images(), 0.5)
    torch.testing.assert_close(SmoothGrad()(model, grey, LABELS, seed=1), backpropagate(model, grey, LABELS))


def test_smoothgrad_is_the_mean_over_noise_of_the_stated_fraction_of_the_range():
    class Square(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x**3).flatten(1).sum(1, keepdim=True)

    model = model_of(Square(), classes=1)
    pixels = images(2) * 0.5
    spread = 0.2 * (pixels.flatten(1).amax(1) - pixels.flatten(1).amin(1)).view(-1, 1, 1, 1)
    std = torch.tensor([0.25, 0.5], dtype=torch.float64).view(1, 2, 1, 1)
    z = model.normalise(pixels)
    expected = 3 * (z**2 + (spread / std) ** 2) / std  # E[3 (z + e)^2]
    found = SmoothGrad(samples=400, noise=0.2)(model, pixels, torch.zeros(2).long(), seed=5)
    assert (found.mean((2, 3)) / expected.mean((2, 3)) - 1).abs().max() < 0.02


def test_smoothgrad_depends_on_its_seed_alone_and_not_on_the_batch(monkeypatch):
    model = model_of(small_convnet())
    state = torch.get_rng_state()
    first = SmoothGrad(samples=5)(model, images(), LABELS, seed=1)
    monkeypatch.setattr(Model, "batch", lambda self, *, gradient=False: 3)
    torch.testing.assert_close(SmoothGrad(samples=5)(model, images(), LABELS, seed=1), first)
    assert not torch.allclose(SmoothGrad(samples=5)(model, images(), LABELS, seed=2), first)
    assert torch.equal(state, torch.get_rng_state())
