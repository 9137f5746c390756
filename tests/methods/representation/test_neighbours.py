"""Are the nearest neighbours exact, and are shares of them counted right?"""

import pytest
import torch
from scipy.spatial.distance import cdist

from probe.errors import UserError
from probe.methods.representation import neighbours
from probe.methods.representation.neighbours import chance, kept, nearest, same_class


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("chunk", [2**25, 700])
def test_the_nearest_are_those_of_all_pairs_in_float64(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_CHUNK", chunk)
    points = draw(120, 30) + 50  # far from the origin, where a product of matrices rounds most
    index, distance = nearest(points, 7)
    every = torch.from_numpy(cdist(points.double(), points.double()))
    every.fill_diagonal_(torch.inf)
    wanted = every.sort(1)
    assert torch.equal(index, wanted.indices[:, :7])
    torch.testing.assert_close(distance.double(), wanted.values[:, :7], rtol=1e-5, atol=1e-5)


def test_queries_may_find_themselves_among_the_points() -> None:
    points = draw(40, 5)
    index, distance = nearest(points, 2, points[:3])
    assert index[:, 0].tolist() == [0, 1, 2]
    assert distance[:, 0].tolist() == [0, 0, 0]


def test_a_twin_is_a_neighbour_but_no_point_is_its_own() -> None:
    points = draw(6, 3)
    points[4] = points[1]
    index, distance = nearest(points, 5)
    assert index[1, 0] == 4
    assert index[4, 0] == 1
    assert distance[1, 0] == 0
    assert not bool((index == torch.arange(6)[:, None]).any())


def test_more_neighbours_than_images_are_refused_in_one_line() -> None:
    with pytest.raises(UserError, match="5 nearest neighbours need at least 6 images, got 5"):
        nearest(draw(5, 2), 5)


def test_shares_of_equal_class_are_counted_by_hand() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    index = torch.tensor([[1, 2], [0, 3], [3, 0], [0, 1]])
    assert same_class(index, labels).tolist() == [0.5, 0.5, 0.5, 0.0]
    assert same_class(index[:2], labels, torch.tensor([1, 1])).tolist() == [0.5, 0.5]
    assert chance(labels) == pytest.approx(1 / 3)


def test_the_share_of_neighbours_kept_does_not_depend_on_their_order() -> None:
    before = torch.tensor([[1, 2], [0, 2], [0, 3], [1, 2]])
    assert kept(before, before.flip(1)) == 1
    assert kept(before, torch.tensor([[2, 3], [2, 0], [1, 3], [0, 0]])) == pytest.approx(4 / 8)
