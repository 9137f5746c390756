"""Directions in weight space: normalisation, principal components."""

import pytest
import torch
from torch import nn

from probe.methods.landscape.directions import (
    count_zero_filters,
    difference,
    movable_weights,
    norm,
    normalise,
    principal_components,
    random_direction,
)


@pytest.fixture
def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_every_filter_has_the_norm_of_its_weights(network: nn.Module) -> None:
    weights = movable_weights(network)
    direction = random_direction(weights, rng())
    assert set(direction) == {"0.weight", "3.weight"}, "biases and batch norm stay"
    for name, d in direction.items():
        torch.testing.assert_close(d.flatten(1).norm(dim=1), weights[name].flatten(1).norm(dim=1))


def test_every_layer_has_the_norm_of_its_weights(network: nn.Module) -> None:
    weights = movable_weights(network)
    for name, d in random_direction(weights, rng(), normalisation="layer").items():
        torch.testing.assert_close(d.norm(), weights[name].norm())


def test_weight_normalisation_multiplies_by_the_weight(network: nn.Module) -> None:
    weights = movable_weights(network)
    plain = random_direction(weights, rng(), normalisation="none")
    scaled = random_direction(weights, rng(), normalisation="weight")
    for name in plain:
        assert torch.equal(scaled[name], plain[name] * weights[name])


def test_tensors_of_one_dimension_are_copies_of_the_weights_where_they_move(network: nn.Module) -> None:
    weights = movable_weights(network, statistics=True)
    direction = random_direction(weights, rng(), move_1d=True)
    assert torch.equal(direction["1.running_var"], weights["1.running_var"])
    assert torch.equal(direction["0.bias"], weights["0.bias"])


def test_a_filter_of_norm_zero_does_not_move_and_is_counted(network: nn.Module) -> None:
    weights = movable_weights(network)
    weights["0.weight"][2] = 0
    direction = random_direction(weights, rng())
    assert not direction["0.weight"][2].any()
    assert torch.isfinite(direction["0.weight"]).all()
    assert count_zero_filters(weights) == 1


def test_scaling_a_filter_and_its_batch_norm_scales_its_direction(network: nn.Module) -> None:
    """Filter normalisation is there for this: the network computes the same, and its surface is the same."""
    weights = movable_weights(network)
    before = random_direction(weights, rng())["0.weight"].clone()
    weights["0.weight"].mul_(7)
    torch.testing.assert_close(random_direction(weights, rng())["0.weight"], 7 * before)


def test_shared_weights_move_once() -> None:
    layer = nn.Linear(3, 3)
    assert list(movable_weights(nn.Sequential(layer, layer))) == ["0.weight", "0.bias"]


def test_principal_components_of_a_plane_keep_all_variance() -> None:
    a, b = ({"w": torch.randn(40, generator=rng(s))} for s in (1, 2))
    points = [{"w": s * a["w"] + t * b["w"] + 3} for s, t in ((1, 0), (0.5, 2), (-1, 1), (0, 0))]
    plane = principal_components(points)
    assert sum(plane.variance) == pytest.approx(1)
    assert plane.off_plane.max() < 1e-3
    first, second = plane.directions
    assert norm(first) == pytest.approx(1)
    assert float((first["w"] * second["w"]).sum()) == pytest.approx(0, abs=1e-5)
    for (x, y), point in zip(plane.coordinates.tolist(), points, strict=True):
        torch.testing.assert_close(
            points[-1]["w"] + x * first["w"] + y * second["w"], point["w"], atol=1e-4, rtol=0
        )


def test_principal_components_agree_with_the_svd_of_the_differences() -> None:
    points = [{"w": torch.randn(30, generator=rng(s))} for s in range(6)]
    plane = principal_components(points)
    matrix = torch.stack([p["w"] - points[-1]["w"] for p in points[:-1]]).double()
    _, values, vectors = torch.linalg.svd(matrix, full_matrices=False)
    share = values**2 / (values**2).sum()
    assert plane.variance == pytest.approx(share[:2].tolist(), rel=1e-5)
    for direction, vector in zip(plane.directions, vectors, strict=False):
        assert abs(float((direction["w"].double() * vector).sum())) == pytest.approx(1, rel=1e-5)


def test_a_straight_trajectory_has_one_direction_and_a_single_point_none() -> None:
    line = [{"w": t * torch.ones(5)} for t in (0.0, 0.3, 1.0)]
    plane = principal_components(line)
    assert plane.variance == pytest.approx((1, 0))
    assert norm(plane.directions[1]) == 0
    with pytest.raises(ValueError, match="at least two points"):
        principal_components(line[:1])
    with pytest.raises(ValueError, match="are equal"):
        principal_components([line[0], line[0]])


def test_a_difference_leads_to_the_target() -> None:
    one, two = {"w": torch.zeros(2, 2), "b": torch.zeros(2)}, {"w": torch.ones(2, 2), "b": torch.ones(2)}
    assert set(difference(one, two, move_1d=False)) == {"w"}
    assert torch.equal(difference(one, two)["b"], two["b"])


def test_no_normalisation_leaves_the_direction_as_it_is() -> None:
    d, w = {"w": torch.randn(2, 2)}, {"w": torch.ones(2, 2)}
    assert torch.equal(normalise(d, w, "none")["w"], d["w"])
