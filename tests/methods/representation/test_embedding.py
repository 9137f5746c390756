"""Embeddings preserve neighbourhoods, their quality is measured correctly, and bad requests are refused."""

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
from probe.methods.representation.embedding import Embedding, FeatureSpace
from probe.methods.representation.embedding_quality import (
    embedding_quality,
    knn_accuracy,
    stability,
    trustworthiness_and_continuity,
)


@pytest.fixture(scope="module")
def digits() -> tuple[torch.Tensor, torch.Tensor]:
    dataset: Any = load_digits(n_class=6)
    return torch.from_numpy(dataset.data[:400]).float(), torch.from_numpy(dataset.target[:400]).long()


@pytest.fixture(scope="module")
def space(digits: tuple[torch.Tensor, torch.Tensor]) -> FeatureSpace:
    return embedding.feature_space(digits[0], n_components=20, neighbours=90, seed=0)


@pytest.fixture(scope="module")
def tsne(space: FeatureSpace) -> Embedding:
    return embedding.tsne(space, perplexity=30, seed=0)


def test_the_feature_space_is_that_of_scikit_learns_pca(
    digits: tuple[torch.Tensor, torch.Tensor], space: FeatureSpace
) -> None:
    reference: Any = PCA(20)
    reference.fit(digits[0].double().numpy())
    np.testing.assert_allclose(space.explained_variance, reference.explained_variance_ratio_.sum(), rtol=1e-4)
    theirs = reference.transform(digits[0].double().numpy())
    np.testing.assert_allclose(space.points.abs().numpy(), np.abs(theirs), atol=2e-3)
    torch.testing.assert_close(space.project(digits[0]), space.points, atol=1e-4, rtol=1e-4)
    assert space.neighbours.shape == (400, 90)


def test_the_length_of_normalised_features_does_not_matter(
    digits: tuple[torch.Tensor, torch.Tensor],
) -> None:
    stretched = digits[0] * torch.linspace(0.5, 3, 400)[:, None]
    plain = embedding.feature_space(digits[0], n_components=5, normalise=True, neighbours=3, seed=0)
    scaled = embedding.feature_space(stretched, n_components=5, normalise=True, neighbours=3, seed=0)
    torch.testing.assert_close(plain.points, scaled.points, atol=1e-5, rtol=1e-4)


def test_tsne_keeps_far_more_neighbours_than_two_components_do(
    digits: tuple[torch.Tensor, torch.Tensor], space: FeatureSpace, tsne: Embedding
) -> None:
    draw = torch.Generator().manual_seed(0)
    good = embedding_quality(space, tsne.tensor, digits[1], k=10, rng=draw)
    flat = embedding_quality(space, embedding.pca(space).tensor, digits[1], k=10, rng=draw)
    assert good.neighbourhood_overlap > 0.5 > 0.4 > flat.neighbourhood_overlap
    assert good.knn_accuracy is not None
    assert good.knn_accuracy > 0.95
    assert good.trustworthiness > 0.98 > flat.trustworthiness


def test_the_same_seed_gives_the_same_embedding(space: FeatureSpace, tsne: Embedding) -> None:
    again = embedding.tsne(space, perplexity=30, seed=0)
    assert again.coordinates.tobytes() == tsne.coordinates.tobytes()
    first, second = (
        embedding.tsne(space, perplexity=10, seed=s, initialisation="random").coordinates for s in (1, 2)
    )
    assert not np.allclose(first, second)


def test_progress_reaches_its_end(space: FeatureSpace) -> None:
    seen: list[int] = []

    def progress(items, what, total):
        for item in items:
            yield item
            seen.append(item)

    embedding.tsne(space, perplexity=5, seed=0, progress=progress)
    assert len(seen) == 15


def test_transforming_embedded_points_gives_their_coordinates_and_leaves_the_embedding_unchanged(
    space: FeatureSpace, tsne: Embedding
) -> None:
    before = tsne.coordinates.copy()
    for _ in range(2):
        again = embedding.transform(tsne, space.points[:30])
        distance = np.linalg.norm(again - tsne.coordinates[:30], axis=1)
        assert np.median(distance) < 0.03 * np.ptp(tsne.coordinates, axis=0).max()
    assert np.array_equal(tsne.coordinates, before)
    with pytest.raises(ValueError, match="only a t-SNE embedding"):
        embedding.transform(embedding.pca(space), space.points[:3])


def test_other_points_are_projected_by_pca_and_lie_between_their_neighbours_in_umap(
    space: FeatureSpace,
) -> None:
    points = (space.points[:20] + space.points[20:40]) / 2
    linear = embedding.pca(space)
    assert np.array_equal(embedding.place(linear, space, points), points[:, :2].numpy())
    rng = np.random.default_rng(0)
    other = Embedding(rng.standard_normal((len(space.points), 2)).astype(np.float32))
    same = embedding.place(other, space, space.points[:30], k=5)
    assert np.allclose(same, other.coordinates[:30], atol=1e-3), "a point of the space lies where it is"
    without = embedding.place(other, space, space.points[:30], k=5, without=torch.arange(30))
    for i in range(30):  # by hand, from the neighbours that the space knows
        weights = 1 / space.distances[i, :5].numpy()
        expected = (weights[:, None] * other.coordinates[space.neighbours[i, :5].numpy()]).sum(
            0
        ) / weights.sum()
        assert np.allclose(without[i], expected, atol=1e-4)


def test_points_on_a_grid_are_assigned_to_their_own_cells() -> None:
    side = 6
    y, x = np.mgrid[side:0:-1, 0:side]
    coordinates = np.stack([x.ravel(), y.ravel()], 1).astype(float)
    shuffled = np.random.default_rng(0).permutation(side * side)
    cells = embedding.assign_to_grid(coordinates[shuffled], side)
    assert np.array_equal(shuffled[cells].ravel(), np.arange(side * side))


@pytest.mark.parametrize(
    ("requested", "n", "perplexities"),
    [((), 500, [30]), ((), 200, [5, 30, 50]), ((), 100, [5, 30]), ((), 13, [4]), ((7,), 100, [7])],
)
def test_default_perplexities_suit_the_number_of_images(
    requested: tuple[int, ...], n: int, perplexities: list[float]
) -> None:
    assert embedding.choose_perplexities(requested, n) == perplexities


def test_a_perplexity_too_large_for_the_images_is_refused_with_the_largest_that_is_not() -> None:
    with pytest.raises(UserError, match=r"perplexity 40 needs at least 121 images, got 100.*at most 33"):
        embedding.choose_perplexities([5, 40], 100)


def test_images_with_equal_features_are_refused() -> None:
    with pytest.raises(UserError, match="all 20 images have the same features"):
        embedding.feature_space(torch.ones(20, 8) * 0.3, neighbours=3, seed=0)


@pytest.mark.parametrize("k", [3, 12])
def test_trustworthiness_is_that_of_scikit_learn_and_continuity_is_it_with_arguments_swapped(k: int) -> None:
    reference: Any = trustworthiness
    draw = torch.Generator().manual_seed(0)
    points, coordinates = torch.randn(90, 6, generator=draw), torch.randn(90, 2, generator=draw)
    coordinates[:, 0] += points[:, 0]
    trust, continuity = trustworthiness_and_continuity(points, coordinates, k, torch.arange(90))
    assert trust == pytest.approx(reference(points.numpy(), coordinates.numpy(), n_neighbors=k), abs=1e-6)
    assert continuity == pytest.approx(
        reference(coordinates.numpy(), points.numpy(), n_neighbors=k), abs=1e-6
    )
    parts = [
        trustworthiness_and_continuity(points, coordinates, k, rows) for rows in torch.arange(90).split(30)
    ]
    assert np.mean([part[0] for part in parts]) == pytest.approx(trust)


def test_an_embedding_equal_to_the_space_is_perfect_in_every_measure() -> None:
    points = torch.randn(60, 2, generator=torch.Generator().manual_seed(3))
    own_space = embedding.feature_space(points, n_components=2, neighbours=10, seed=0)
    quality = embedding_quality(own_space, points * 3 + 1, None, k=10, rng=torch.Generator().manual_seed(0))
    assert quality.knn_accuracy is None
    assert quality.neighbourhood_overlap == 1
    assert quality.trustworthiness == pytest.approx(1)
    assert quality.continuity == pytest.approx(1)
    assert quality.distance_correlation == pytest.approx(1)


def test_knn_accuracy_is_that_of_scikit_learn(
    digits: tuple[torch.Tensor, torch.Tensor], space: FeatureSpace
) -> None:
    points, labels = space.points.numpy(), digits[1].numpy()
    correct = 0
    for i in range(60):
        others = np.delete(np.arange(400), i)
        classifier: Any = KNeighborsClassifier(5)
        predicted = classifier.fit(points[others], labels[others]).predict(points[i : i + 1])
        correct += int(predicted[0] == labels[i])
    assert knn_accuracy(space.neighbours[:60, :5], digits[1], digits[1][:60]) == pytest.approx(
        correct / 60, abs=1 / 60
    )


def test_stability_is_one_after_rotation_and_scaling_and_falls_with_noise() -> None:
    draw = np.random.default_rng(0)
    points = draw.normal(size=(50, 2))
    rotated = 3 * points @ np.array([[0.6, -0.8], [0.8, 0.6]]) + 5
    assert stability([points, rotated]) == pytest.approx(1)
    assert stability([points, draw.normal(size=(50, 2))]) < 0.4


@pytest.mark.slow
def test_umap_takes_our_neighbours_and_keeps_classes_together(
    digits: tuple[torch.Tensor, torch.Tensor], space: FeatureSpace
) -> None:
    umap = embedding.umap(space, neighbours=15, seed=0)
    again = embedding.umap(space, neighbours=15, seed=0)
    assert np.array_equal(umap.coordinates, again.coordinates)
    quality = embedding_quality(space, umap.tensor, digits[1], k=10, rng=torch.Generator().manual_seed(0))
    assert quality.knn_accuracy is not None
    assert quality.knn_accuracy > 0.95
    assert quality.trustworthiness > 0.95
