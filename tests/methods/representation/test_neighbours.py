"""Nearest neighbours are exact, and fractions of them are counted correctly."""

import pytest
import torch
from scipy.spatial.distance import cdist

from probe.errors import UserError
from probe.methods.representation import neighbours
from probe.methods.representation.neighbours import (
    chance_level,
    nearest_neighbours,
    neighbourhood_overlap,
    same_class_fraction,
)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("chunk", [2**25, 700])
def test_the_nearest_are_those_of_all_pairs_in_float64(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_CHUNK", chunk)
    points = random(120, 30) + 50  # far from the origin, where a product of matrices rounds most
    positions, distances = nearest_neighbours(points, 7)
    all_pairs = torch.from_numpy(cdist(points.double(), points.double()))
    all_pairs.fill_diagonal_(torch.inf)
    expected = all_pairs.sort(1)
    assert torch.equal(positions, expected.indices[:, :7])
    torch.testing.assert_close(distances.double(), expected.values[:, :7], rtol=1e-5, atol=1e-5)


def test_queries_may_be_among_the_points() -> None:
    points = random(40, 5)
    positions, distances = nearest_neighbours(points, 2, points[:3])
    assert positions[:, 0].tolist() == [0, 1, 2]
    assert distances[:, 0].tolist() == [0, 0, 0]


def test_a_copy_is_a_neighbour_but_no_point_is_its_own() -> None:
    points = random(6, 3)
    points[4] = points[1]
    positions, distances = nearest_neighbours(points, 5)
    assert positions[1, 0] == 4
    assert positions[4, 0] == 1
    assert distances[1, 0] == 0
    assert not bool((positions == torch.arange(6)[:, None]).any())


def test_more_neighbours_than_images_are_refused_in_one_line() -> None:
    with pytest.raises(UserError, match="5 nearest neighbours need at least 6 images, got 5"):
        nearest_neighbours(random(5, 2), 5)


def test_the_fraction_of_the_same_class_agrees_with_a_count_by_hand() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    positions = torch.tensor([[1, 2], [0, 3], [3, 0], [0, 1]])
    assert same_class_fraction(positions, labels).tolist() == [0.5, 0.5, 0.5, 0.0]
    assert same_class_fraction(positions[:2], labels, torch.tensor([1, 1])).tolist() == [0.5, 0.5]
    assert chance_level(labels) == pytest.approx(1 / 3)


def test_the_overlap_of_neighbourhoods_does_not_depend_on_their_order() -> None:
    before = torch.tensor([[1, 2], [0, 2], [0, 3], [1, 2]])
    assert neighbourhood_overlap(before, before.flip(1)) == 1
    assert neighbourhood_overlap(before, torch.tensor([[2, 3], [2, 0], [1, 3], [0, 0]])) == pytest.approx(
        4 / 8
    )
