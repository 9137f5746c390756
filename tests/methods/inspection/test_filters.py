"""Tests of the statistics of filters and of the filter banks of networks of every kind."""

import numpy as np
import pytest
import torch
from torch import nn

from probe.methods.inspection.filters import chromatic_energy, filter_banks, filter_statistics
from probe.zoo import build
from tests.conftest import model_of


def normal(*size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=size).astype(np.float32)


def test_random_filters_are_noisy_at_the_expected_rate():
    statistics = filter_statistics(normal(2000, 3, 7, 7))
    assert abs(statistics.smoothness.mean()) < 0.01
    # Two standard errors of a normal distribution leave 2.3 % outside on one side.
    assert statistics.noisy.mean() == pytest.approx(0.977, abs=0.015)
    assert not statistics.dead.any()
    assert not statistics.duplicate.any()


def test_constant_filters_have_smoothness_one_and_chequered_ones_minus_one():
    chequers = np.indices((5, 5)).sum(0) % 2 * 2.0 - 1
    statistics = filter_statistics(np.stack([np.ones((5, 5)), chequers])[:, None])
    np.testing.assert_allclose(statistics.smoothness, [1, -1])
    assert statistics.noisy.tolist() == [False, True]


def test_smoothness_is_the_correlation_of_neighbours_written_out_slowly():
    weights = normal(1, 2, 3, 4)
    pairs = []
    for c in range(2):
        for y in range(3):
            for x in range(4):
                if x < 3:
                    pairs.append((weights[0, c, y, x], weights[0, c, y, x + 1]))
                if y < 2:
                    pairs.append((weights[0, c, y, x], weights[0, c, y + 1, x]))
    a, b = np.array(pairs, dtype=np.float64).T
    assert filter_statistics(weights).smoothness[0] == pytest.approx(
        (a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum())
    )


def test_dead_and_duplicate_filters_are_detected():
    weights = normal(40, 3, 5, 5)
    weights[7] = 2.5 * weights[3]
    weights[9] = -weights[4]
    weights[11] *= 0.001
    weights[12] = 0
    statistics = filter_statistics(weights)
    assert np.flatnonzero(statistics.dead).tolist() == [11, 12]
    assert np.flatnonzero(statistics.duplicate).tolist() == [3, 7]


def test_a_filter_of_one_weight_has_no_smoothness():
    assert np.isnan(filter_statistics(normal(6, 4, 1, 1)).smoothness).all()


def test_chromatic_energy_is_what_the_channels_do_not_share():
    grey = np.repeat(normal(1, 1, 3, 3), 3, axis=1)
    opponent = np.concatenate([grey[:, :1], -grey[:, :1], 0 * grey[:, :1]], axis=1)
    np.testing.assert_allclose(
        chromatic_energy(np.concatenate([grey, opponent, 0 * grey])), [0, 1, 0], atol=1e-6
    )


def test_the_rows_of_a_dense_layer_are_folded_back_to_the_maps_that_were_flattened():
    model = model_of(
        nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(3 * 4 * 2, 5), nn.ReLU(), nn.Linear(5, 4)),
        (3, 8, 4),
        4,
    )
    (bank,) = filter_banks(model)
    assert (bank.address, bank.dense, bank.reads_image) == ("2", True, False)
    pixels = torch.rand(1, 3, 8, 4)
    maps = model.features(pixels, "0")["0"][0].numpy()
    outputs = (bank.weights * maps).sum((1, 2, 3)) + model.network[2].bias.numpy()  # type: ignore[index]
    np.testing.assert_allclose(outputs, model.features(pixels, "2")["2"][0].numpy(), rtol=1e-4, atol=1e-5)


def test_a_dense_network_on_pixels_has_filters_that_read_the_image():
    (bank,) = filter_banks(model_of(nn.Sequential(nn.Flatten(), nn.Linear(2 * 4 * 3, 3)), (2, 4, 3), 3))
    assert bank.weights.shape == (3, 2, 4, 3)
    assert bank.reads_image


@pytest.mark.parametrize(
    ("name", "shape", "count"),
    [
        ("mobilenet-cifar", (3, 32, 32), None),
        ("resnet20", (3, 32, 32), 19),
        ("dense-baseline", (1, 32, 32), None),
    ],
)
def test_blocks_groups_and_single_weights_are_all_listed(
    name: str, shape: tuple[int, int, int], count: int | None
):
    with torch.random.fork_rng():
        model = model_of(build(name), shape, 10)
    banks = filter_banks(model)
    convolutions = [m for m in model.network.modules() if isinstance(m, nn.Conv2d)]
    assert sum(not bank.dense for bank in banks) == (count or len(convolutions))
    assert [bank.groups for bank in banks if not bank.dense] == [m.groups for m in convolutions]
    assert banks[0].reads_image
    assert not any(bank.reads_image for bank in banks[1:])
