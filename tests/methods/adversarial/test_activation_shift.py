"""Activation shifts, nearest class means and spectra equal their definitions."""

import numpy as np
import pytest
import torch
import torchvision

from probe.data.images import Images
from probe.methods.adversarial.activation_shift import (
    activation_shifts,
    class_means,
    nearer_to_target,
    radial_spectrum,
    spread_layers,
)
from probe.methods.adversarial.criteria import predict
from probe.model.tracing import trace_layers
from tests.methods.adversarial.victims import digits, linear, reader


def test_the_shift_of_a_linear_layer_is_its_weights_times_the_change() -> None:
    rng = torch.Generator().manual_seed(0)
    weights = torch.randn(3, 4, generator=rng, dtype=torch.float64)
    model = linear(weights, torch.zeros(3, dtype=torch.float64), (1, 2, 2))
    before, after = torch.rand(2, 5, 1, 2, 2, generator=rng, dtype=torch.float64)
    shift = activation_shifts(model, before, after, ["1"])["1"]
    a, b = (before.flatten(1) @ weights.T).numpy(), (after.flatten(1) @ weights.T).numpy()
    assert shift.distance.numpy() == pytest.approx(np.linalg.norm(b - a, axis=1) / np.linalg.norm(a, axis=1))
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert shift.cosine.numpy() == pytest.approx(cosine)


def test_equal_images_have_no_shift() -> None:
    pixels = digits()[0][:5]
    for shift in activation_shifts(reader(), pixels, pixels, spread_layers(reader().layers, 5)).values():
        assert shift.distance.abs().max() == 0
        assert (shift.cosine - 1).abs().max() < 1e-6


def test_the_layers_reach_from_the_first_to_the_output() -> None:
    addresses = spread_layers(reader().layers, 4)
    assert addresses[0] == "2", "of the first convolution, its batch norm and its ReLU the last"
    assert addresses[-1] == reader().layers[-1].address
    assert len(addresses) == 4


def test_the_layers_of_a_network_of_blocks_are_the_outputs_of_its_blocks() -> None:
    network = torchvision.models.googlenet(weights=None, init_weights=False).eval()
    addresses = spread_layers(trace_layers(network, (3, 64, 64), "googlenet"), 30)
    assert [a for a in addresses[1:-1] if not a.endswith("/cat")] == []
    assert (addresses[0], addresses[-1]) == ("conv1/relu", "fc")


def test_class_means_are_the_means_by_predicted_class() -> None:
    pixels, _ = digits()
    prediction = predict(reader(), pixels).argmax(1)
    last = reader().layers[-1].address
    means, count = class_means(reader(), Images.from_tensor(pixels).batches(77), [last])
    logits = predict(reader(), pixels)
    for c in range(10):
        assert count[c] == (prediction == c).sum()
        assert torch.allclose(means[last][c], logits[prediction == c].mean(0), atol=1e-4)


def test_an_image_of_the_target_class_is_nearer_to_it() -> None:
    pixels, _ = digits()
    prediction = predict(reader(), pixels).argmax(1)
    last = reader().layers[-1].address
    means, _ = class_means(reader(), Images.from_tensor(pixels).batches(200), [last])
    old, new = torch.full((600,), 3), torch.full((600,), 7)
    nearer = nearer_to_target(reader(), pixels, old, new, means)[last]
    assert nearer[prediction == 7].float().mean() > 0.95
    assert nearer[prediction == 3].float().mean() < 0.1


def test_a_wave_has_all_its_energy_at_its_frequency() -> None:
    wave = torch.sin(2 * torch.pi * torch.arange(32) * 8 / 32).view(1, 1, 1, 32).expand(1, 1, 32, 32)
    frequency, energy = radial_spectrum(wave)
    assert energy.sum() == pytest.approx(1)
    assert frequency[energy.argmax()] == pytest.approx(0.25)
    assert energy.max() == pytest.approx(1)


def test_white_noise_fills_the_rings_by_their_area() -> None:
    noise = torch.randn(200, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    frequency, energy = radial_spectrum(noise)
    inner = (frequency > 0.05) & (frequency < 0.5)
    density = energy[inner] / frequency[inner]
    assert density == pytest.approx(np.full(len(density), density.mean()), rel=0.35)
    assert energy[0] == pytest.approx(0, abs=1e-9)
