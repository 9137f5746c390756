"""Are movements, turns and spectra what their definitions say?"""

import numpy as np
import pytest
import torch

from probe.data.images import Images
from probe.methods.adversarial.activation_shift import along, class_means, movement, spectrum, turned
from probe.methods.adversarial.criteria import predict
from tests.methods.adversarial.victims import digits, linear, reader


def test_a_linear_layer_moves_by_what_its_weights_make_of_the_change() -> None:
    draw = torch.Generator().manual_seed(0)
    weights = torch.randn(3, 4, generator=draw, dtype=torch.float64)
    model = linear(weights, torch.zeros(3, dtype=torch.float64), (1, 2, 2))
    before, after = torch.rand(2, 5, 1, 2, 2, generator=draw, dtype=torch.float64)
    found = movement(model, before, after, ["1"])["1"]
    a, b = (before.flatten(1) @ weights.T).numpy(), (after.flatten(1) @ weights.T).numpy()
    assert found.distance.numpy() == pytest.approx(np.linalg.norm(b - a, axis=1) / np.linalg.norm(a, axis=1))
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert found.cosine.numpy() == pytest.approx(cosine)


def test_what_is_not_moved_does_not_move() -> None:
    pixels = digits()[0][:5]
    for found in movement(reader(), pixels, pixels, along(reader().layers, 5)).values():
        assert found.distance.abs().max() == 0
        assert (found.cosine - 1).abs().max() < 1e-6


def test_the_layers_reach_from_the_first_to_the_answer() -> None:
    addresses = along(reader().layers, 4)
    assert addresses[0] == "0"
    assert addresses[-1] == reader().layers[-1].address
    assert len(addresses) == 4


def test_class_means_are_the_means_of_what_is_answered_so() -> None:
    pixels, _ = digits()
    said = predict(reader(), pixels).argmax(1)
    last = reader().layers[-1].address
    means, count = class_means(reader(), Images.from_tensor(pixels).batches(77), [last])
    logits = predict(reader(), pixels)
    for c in range(10):
        assert count[c] == (said == c).sum()
        assert torch.allclose(means[last][c], logits[said == c].mean(0), atol=1e-4)


def test_an_image_of_the_new_class_has_turned_and_one_of_the_old_has_not() -> None:
    pixels, _ = digits()
    said = predict(reader(), pixels).argmax(1)
    last = reader().layers[-1].address
    means, _ = class_means(reader(), Images.from_tensor(pixels).batches(200), [last])
    old, new = torch.full((600,), 3), torch.full((600,), 7)
    found = turned(reader(), pixels, old, new, means)[last]
    assert found[said == 7].float().mean() > 0.95
    assert found[said == 3].float().mean() < 0.1


def test_a_wave_has_all_its_energy_at_its_frequency() -> None:
    wave = torch.sin(2 * torch.pi * torch.arange(32) * 8 / 32).view(1, 1, 1, 32).expand(1, 1, 32, 32)
    frequency, shares = spectrum(wave)
    assert shares.sum() == pytest.approx(1)
    assert frequency[shares.argmax()] == pytest.approx(0.25)
    assert shares.max() == pytest.approx(1)


def test_white_noise_fills_the_rings_by_their_area() -> None:
    noise = torch.randn(200, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    frequency, shares = spectrum(noise)
    inner = (frequency > 0.05) & (frequency < 0.5)
    slope = shares[inner] / frequency[inner]
    assert slope == pytest.approx(np.full(len(slope), slope.mean()), rel=0.35)
    assert shares[0] == pytest.approx(0, abs=1e-9)
