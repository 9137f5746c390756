"""Do maps keep what they should, are they measured right, and are wrong requests refused?"""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness
from sklearn.neighbors import KNeighborsClassifier

from probe.errors import UserError
from probe.methods.representation import embedding
from probe.methods.representation import embedding_quality as map_quality
from probe.methods.representation.embedding import Space


@pytest.fixture(scope="module")
def digits() -> tuple[torch.Tensor, torch.Tensor]:
    found: Any = load_digits(n_class=6)
    return torch.from_numpy(found.data[:400]).float(), torch.from_numpy(found.target[:400]).long()


@pytest.fixture(scope="module")
def known(digits: tuple[torch.Tensor, torch.Tensor]) -> Space:
    return embedding.space(digits[0], dims=20, neighbours=90, seed=0)


@pytest.fixture(scope="module")
def mapped(known: Space) -> embedding.Embedding:
    return embedding.tsne(known, perplexity=30, seed=0)


def test_the_space_is_that_of_principal_components(
    digits: tuple[torch.Tensor, torch.Tensor], known: Space
) -> None:
    oracle: Any = PCA(20)
    oracle.fit(digits[0].double().numpy())
    np.testing.assert_allclose(known.explained, oracle.explained_variance_ratio_.sum(), rtol=1e-4)
    theirs = oracle.transform(digits[0].double().numpy())
    np.testing.assert_allclose(known.points.abs().numpy(), np.abs(theirs), atol=2e-3)
    torch.testing.assert_close(known.project(digits[0]), known.points, atol=1e-4, rtol=1e-4)
    assert known.index.shape == (400, 90)


def test_lengths_do_not_matter_once_features_are_normalised(
    digits: tuple[torch.Tensor, torch.Tensor],
) -> None:
    stretched = digits[0] * torch.linspace(0.5, 3, 400)[:, None]
    one = embedding.space(digits[0], dims=5, normalise=True, neighbours=3, seed=0)
    two = embedding.space(stretched, dims=5, normalise=True, neighbours=3, seed=0)
    torch.testing.assert_close(one.points, two.points, atol=1e-5, rtol=1e-4)


def test_tsne_keeps_far_more_neighbours_than_two_components_do(
    digits: tuple[torch.Tensor, torch.Tensor], known: Space, mapped: embedding.Embedding
) -> None:
    draw = torch.Generator().manual_seed(0)
    good = map_quality.quality(known, mapped.tensor, digits[1], k=10, rng=draw)
    flat = map_quality.quality(known, embedding.pca(known).tensor, digits[1], k=10, rng=draw)
    assert good["neighbours kept"] > 0.5 > 0.4 > flat["neighbours kept"]
    assert good["class of neighbours"] > 0.95
    assert good["trustworthiness"] > 0.98 > flat["trustworthiness"]


def test_the_same_seed_gives_the_same_map(known: Space, mapped: embedding.Embedding) -> None:
    again = embedding.tsne(known, perplexity=30, seed=0)
    assert again.places.tobytes() == mapped.places.tobytes()
    first, second = (embedding.tsne(known, perplexity=10, seed=s, start="random").places for s in (1, 2))
    assert not np.allclose(first, second)


def test_progress_is_told_to_its_end(known: Space) -> None:
    seen: list[int] = []

    def progress(items, what, total):
        for item in items:
            yield item
            seen.append(item)

    embedding.tsne(known, perplexity=5, seed=0, progress=progress)
    assert len(seen) == 15


def test_images_placed_in_a_fixed_map_land_where_they_stand_in_it_and_do_not_move_it(
    known: Space, mapped: embedding.Embedding
) -> None:
    before = mapped.places.copy()
    for _ in range(2):
        places = embedding.transform(mapped, known.points[:30])
        away = np.linalg.norm(places - mapped.places[:30], axis=1)
        assert np.median(away) < 0.03 * np.ptp(mapped.places, axis=0).max()
    assert np.array_equal(mapped.places, before)
    with pytest.raises(ValueError, match="only a map by t-SNE"):
        embedding.transform(embedding.pca(known), known.points[:3])


def test_every_cell_of_the_grid_gets_one_image_and_a_grid_is_laid_out_as_itself() -> None:
    side = 6
    y, x = np.mgrid[side:0:-1, 0:side]
    places = np.stack([x.ravel(), y.ravel()], 1).astype(float)
    shuffled = np.random.default_rng(0).permutation(side * side)
    cells = embedding.grid(places[shuffled], side)
    assert np.array_equal(shuffled[cells].ravel(), np.arange(side * side))


@pytest.mark.parametrize(
    ("asked", "n", "found"),
    [((), 500, [30]), ((), 200, [5, 30, 50]), ((), 100, [5, 30]), ((), 13, [4]), ((7,), 100, [7])],
)
def test_perplexities_suit_the_number_of_images(asked: tuple[int, ...], n: int, found: list[float]) -> None:
    assert embedding.perplexities(asked, n) == found


def test_a_perplexity_too_large_for_the_images_is_refused_with_the_largest_that_is_not() -> None:
    with pytest.raises(UserError, match=r"perplexity 40 needs at least 121 images, got 100.*at most 33"):
        embedding.perplexities([5, 40], 100)


def test_images_that_are_all_alike_cannot_be_mapped() -> None:
    with pytest.raises(UserError, match="all 20 images have the same features"):
        embedding.space(torch.ones(20, 8) * 0.3, neighbours=3, seed=0)


@pytest.mark.parametrize("k", [3, 12])
def test_trustworthiness_is_scikit_learns_and_continuity_is_it_turned_round(k: int) -> None:
    oracle: Any = trustworthiness
    draw = torch.Generator().manual_seed(0)
    points, places = torch.randn(90, 6, generator=draw), torch.randn(90, 2, generator=draw)
    places[:, 0] += points[:, 0]
    trust, continuity = map_quality.trust_and_continuity(points, places, k, torch.arange(90))
    assert trust == pytest.approx(oracle(points.numpy(), places.numpy(), n_neighbors=k), abs=1e-6)
    assert continuity == pytest.approx(oracle(places.numpy(), points.numpy(), n_neighbors=k), abs=1e-6)
    parts = [map_quality.trust_and_continuity(points, places, k, rows) for rows in torch.arange(90).split(30)]
    assert np.mean([part[0] for part in parts]) == pytest.approx(trust)


def test_a_map_that_is_the_space_itself_is_perfect_in_every_figure() -> None:
    points = torch.randn(60, 2, generator=torch.Generator().manual_seed(3))
    known = embedding.space(points, dims=2, neighbours=10, seed=0)
    found = map_quality.quality(known, points * 3 + 1, None, k=10, rng=torch.Generator().manual_seed(0))
    assert "class of neighbours" not in found
    assert all(value == pytest.approx(1) for value in found.values())


def test_the_vote_of_neighbours_is_scikit_learns(
    digits: tuple[torch.Tensor, torch.Tensor], known: Space
) -> None:
    points, labels = known.points.numpy(), digits[1].numpy()
    right = 0
    for i in range(60):
        others = np.delete(np.arange(400), i)
        voter: Any = KNeighborsClassifier(5)
        vote = voter.fit(points[others], labels[others]).predict(points[i : i + 1])
        right += int(vote[0] == labels[i])
    assert map_quality.knn_accuracy(known.index[:60, :5], digits[1], digits[1][:60]) == pytest.approx(
        right / 60, abs=1 / 60
    )


def test_stability_is_one_for_a_map_turned_and_scaled_and_falls_with_noise() -> None:
    draw = np.random.default_rng(0)
    one = draw.normal(size=(50, 2))
    turned = 3 * one @ np.array([[0.6, -0.8], [0.8, 0.6]]) + 5
    assert map_quality.stability([one, turned]) == pytest.approx(1)
    assert map_quality.stability([one, draw.normal(size=(50, 2))]) < 0.4


@pytest.mark.slow
def test_umap_takes_our_neighbours_and_keeps_classes_together(
    digits: tuple[torch.Tensor, torch.Tensor], known: Space
) -> None:
    found = embedding.umap(known, neighbours=15, seed=0)
    again = embedding.umap(known, neighbours=15, seed=0)
    assert np.array_equal(found.places, again.places)
    figures = map_quality.quality(known, found.tensor, digits[1], k=10, rng=torch.Generator().manual_seed(0))
    assert figures["class of neighbours"] > 0.95
    assert figures["trustworthiness"] > 0.95
