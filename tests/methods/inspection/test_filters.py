"""Are smooth, noisy, dead and doubled filters told apart, in networks of every build?"""

import numpy as np
import pytest
import torch
from torch import nn

from probe.methods.inspection.filters import colourful, filters, shape
from probe.zoo import build
from tests.conftest import model_of


def normal(*size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=size).astype(np.float32)


def test_random_filters_are_noise_by_chance_alone():
    found = shape(normal(2000, 3, 7, 7))
    assert abs(found.smooth.mean()) < 0.01
    # Two standard errors of a normal distribution leave 2.3 % outside on one side.
    assert found.noisy.mean() == pytest.approx(0.977, abs=0.015)
    assert not found.dead.any()
    assert not found.alike.any()


def test_flat_filters_are_as_smooth_as_can_be_and_chequered_ones_the_opposite():
    chequers = np.indices((5, 5)).sum(0) % 2 * 2.0 - 1
    found = shape(np.stack([np.ones((5, 5)), chequers])[:, None])
    np.testing.assert_allclose(found.smooth, [1, -1])
    assert found.noisy.tolist() == [False, True]


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
    assert shape(weights).smooth[0] == pytest.approx((a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum()))


def test_dead_and_doubled_filters_are_found():
    weights = normal(40, 3, 5, 5)
    weights[7] = 2.5 * weights[3]
    weights[9] = -weights[4]
    weights[11] *= 0.001
    weights[12] = 0
    found = shape(weights)
    assert np.flatnonzero(found.dead).tolist() == [11, 12]
    assert np.flatnonzero(found.alike).tolist() == [3, 7]


def test_a_single_weight_a_map_has_no_smoothness():
    assert np.isnan(shape(normal(6, 4, 1, 1)).smooth).all()


def test_colour_is_what_the_channels_do_not_share():
    grey = np.repeat(normal(1, 1, 3, 3), 3, axis=1)
    opponent = np.concatenate([grey[:, :1], -grey[:, :1], 0 * grey[:, :1]], axis=1)
    np.testing.assert_allclose(colourful(np.concatenate([grey, opponent, 0 * grey])), [0, 1, 0], atol=1e-6)


def test_the_rows_of_a_dense_layer_are_folded_back_to_what_was_flattened():
    model = model_of(
        nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(3 * 4 * 2, 5), nn.ReLU(), nn.Linear(5, 4)),
        (3, 8, 4),
        4,
    )
    (found,) = filters(model)
    assert (found.address, found.dense, found.sees_image) == ("2", True, False)
    pixels = torch.rand(1, 3, 8, 4)
    maps = model.features(pixels, "0")["0"][0].numpy()
    answer = (found.weights * maps).sum((1, 2, 3)) + model.network[2].bias.numpy()  # type: ignore[index]
    np.testing.assert_allclose(answer, model.features(pixels, "2")["2"][0].numpy(), rtol=1e-4, atol=1e-5)


def test_a_dense_network_on_pixels_has_templates():
    (found,) = filters(model_of(nn.Sequential(nn.Flatten(), nn.Linear(2 * 4 * 3, 3)), (2, 4, 3), 3))
    assert found.weights.shape == (3, 2, 4, 3)
    assert found.sees_image


@pytest.mark.parametrize(
    ("name", "shape", "count"),
    [
        ("mobilenet-cifar", (3, 32, 32), None),
        ("resnet20", (3, 32, 32), 19),
        ("dense-baseline", (1, 32, 32), None),
    ],
)
def test_blocks_groups_and_single_weights_are_all_found(
    name: str, shape: tuple[int, int, int], count: int | None
):
    with torch.random.fork_rng():
        model = model_of(build(name), shape, 10)
    found = filters(model)
    convolutions = [m for m in model.network.modules() if isinstance(m, nn.Conv2d)]
    assert sum(not one.dense for one in found) == (count or len(convolutions))
    assert [one.groups for one in found if not one.dense] == [m.groups for m in convolutions]
    assert found[0].sees_image
    assert not any(one.sees_image for one in found[1:])
