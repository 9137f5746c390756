"""Measures of how well a two-dimensional embedding preserves neighbours and distances, and of its stability."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from probe.methods.representation.embedding import FeatureSpace
from probe.methods.representation.neighbours import nearest_neighbours, neighbourhood_overlap

MAX_RANKED_POINTS = 2000
_PAIRS = 100_000
_CHUNK = 2**23  # ranks that are held at once


@dataclass(frozen=True)
class EmbeddingQuality:
    """How well an embedding preserves the space that it shows. Every measure is 1 for a perfect embedding.

    neighbourhood_overlap: fraction of the k nearest neighbours that remain neighbours. trustworthiness, continuity:
    see `trustworthiness_and_continuity`. distance_correlation: Spearman's correlation of distances.
    knn_accuracy: accuracy of classifying a point by its neighbours in the embedding; None without labels.
    """

    neighbourhood_overlap: float
    trustworthiness: float
    continuity: float
    distance_correlation: float
    knn_accuracy: float | None = None


def embedding_quality(
    space: FeatureSpace, coordinates: Tensor, labels: Tensor | None, *, k: int, rng: torch.Generator
) -> EmbeddingQuality:
    """All measures for an embedding (n, 2) of `space` with neighbourhoods of `k` points.

    Trustworthiness and continuity are measured on at most 2,000 points, drawn with `rng`.
    """
    n = len(space.points)
    rows = torch.randperm(n, generator=rng)[:MAX_RANKED_POINTS]
    trustworthiness, continuity = trustworthiness_and_continuity(space.points, coordinates, k, rows)
    neighbours = nearest_neighbours(coordinates, k)[0]
    return EmbeddingQuality(
        neighbourhood_overlap=neighbourhood_overlap(space.neighbours[:, :k], neighbours),
        trustworthiness=trustworthiness,
        continuity=continuity,
        distance_correlation=distance_correlation(space.points, coordinates, rng),
        knn_accuracy=None if labels is None else knn_accuracy(neighbours, labels),
    )


def trustworthiness_and_continuity(
    points: Tensor, coordinates: Tensor, k: int, rows: Tensor
) -> tuple[float, float]:
    """Trustworthiness falls with false neighbours in the embedding, continuity with neighbours that are lost.

    points: (n, d). coordinates: (n, 2). rows: (m,) positions of the points that are rated, by ranks among all n.
    Both are 1 for an embedding that keeps every neighbourhood and about 0.5 at chance level.
    Raises ValueError unless k < n / 2.

    Venna and Kaski 2006, equations 1 and 2.
    """
    n = len(points)
    if not 1 <= k < n / 2:
        raise ValueError(f"k must lie in [1, n / 2), got {k} for {n} points")
    false_neighbours = lost_neighbours = 0.0
    for chunk in rows.split(max(1, _CHUNK // n)):
        before, after = _ranks(points, chunk), _ranks(coordinates, chunk)
        false_neighbours += float(((before - k) * ((after <= k) & (before > k))).sum())
        lost_neighbours += float(((after - k) * ((before <= k) & (after > k))).sum())
    largest = len(rows) * k * (2 * n - 3 * k - 1) / 2
    return 1 - false_neighbours / largest, 1 - lost_neighbours / largest


def distance_correlation(points: Tensor, coordinates: Tensor, rng: torch.Generator) -> float:
    """Spearman's correlation between the distances of 100,000 random pairs in the space and in the embedding."""
    from scipy.stats import spearmanr

    a = torch.randint(len(points), (_PAIRS,), generator=rng)
    b = (a + torch.randint(1, len(points), (_PAIRS,), generator=rng)) % len(points)
    before, after = ((p[a] - p[b]).norm(dim=1).numpy() for p in (points, coordinates))
    return float(spearmanr(before, after).statistic)


def knn_accuracy(neighbours: Tensor, labels: Tensor, query_labels: Tensor | None = None) -> float:
    """Accuracy of predicting the most frequent class among a point's neighbours; a tie goes to the nearest.

    neighbours: (m, k) positions in `labels` (n,), nearest first. query_labels: (m,), by default `labels`.
    """
    classes = labels[neighbours]
    votes = (classes[:, :, None] == classes[:, None, :]).sum(2)
    predicted = classes.gather(1, votes.argmax(1, keepdim=True))[:, 0]
    return float((predicted == (labels if query_labels is None else query_labels)).float().mean())


def stability(embeddings: Sequence[np.ndarray]) -> float:
    """Similarity of embeddings (n, 2) of the same points after rotation, shift and scaling: 1 where they are equal.

    One minus the Procrustes disparity, mean over the pairs. Gower 1975.
    """
    from scipy.spatial import procrustes

    pairs = [(a, b) for i, a in enumerate(embeddings) for b in embeddings[i + 1 :]]
    return 1 - float(np.mean([procrustes(a, b)[2] for a, b in pairs]))


def _ranks(points: Tensor, rows: Tensor) -> Tensor:
    """(m, n): 0 for the point itself, 1 for its nearest neighbour, and so on."""
    queries = points[rows]
    distances = (points * points).sum(1) - 2 * queries @ points.T
    distances[torch.arange(len(rows)), rows] = -torch.inf
    order = distances.argsort(dim=1, stable=True)
    ranks = torch.empty_like(order)
    return ranks.scatter_(1, order, torch.arange(len(points)).expand_as(order))
