"""Exact nearest neighbours, and how many of them are of the same class."""

import torch
from torch import Tensor

from probe.errors import UserError

_CHUNK = 2**25  # distances that are held at once
_SPARE = 8  # candidates beyond k, because the fast matrix product rounds


def nearest_neighbours(points: Tensor, k: int, queries: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The `k` nearest of `points` (n, d) by Euclidean distance, nearest first.

    queries: (m, d); by default the points themselves, of which none is its own neighbour (a copy at distance 0 may
    be one). Candidates come from one matrix product, their order and distances from the differences themselves.
    Returns positions (m, k) int64 and distances (m, k). Raises UserError where there are too few points.
    """
    exclude_self = queries is None
    available = len(points) - exclude_self
    if not 1 <= k <= available:
        raise UserError(f"{k} nearest neighbours need at least {k + exclude_self} images, got {len(points)}")
    mean = points.mean(0)
    points = points - mean  # small numbers lose less to rounding
    queries = points if queries is None else queries - mean
    squares = (points * points).sum(1)
    n_candidates = min(k + _SPARE, available)
    rows = max(1, _CHUNK // max(len(points), n_candidates * points.shape[1]))
    positions, distances = [], []
    for start in range(0, len(queries), rows):
        chunk = queries[start : start + rows]
        approximate = squares - 2 * chunk @ points.T  # the square of the query itself changes no order
        if exclude_self:
            own = torch.arange(len(chunk), device=chunk.device)
            approximate[own, start + own] = torch.inf
        candidates = approximate.topk(n_candidates, largest=False).indices
        exact = torch.linalg.vector_norm(points[candidates] - chunk[:, None], dim=2)
        exact, order = exact.sort(dim=1, stable=True)
        positions.append(candidates.gather(1, order[:, :k]))
        distances.append(exact[:, :k])
    return torch.cat(positions), torch.cat(distances)


def same_class_fraction(neighbours: Tensor, labels: Tensor, query_labels: Tensor | None = None) -> Tensor:
    """The fraction of each point's neighbours that are of its own class: (m,) in [0, 1].

    neighbours: (m, k) positions in `labels` (n,). query_labels: (m,) classes of the queries, by default `labels`.
    """
    labels = labels.to(neighbours.device)
    own = labels if query_labels is None else query_labels.to(neighbours.device)
    return (labels[neighbours] == own[:, None]).float().mean(1)


def chance_level(labels: Tensor) -> float:
    """Expected fraction of the same class among neighbours drawn at random."""
    counts = labels.bincount().double()
    n = counts.sum()
    return float((counts * (counts - 1)).sum() / (n * (n - 1)))


def neighbourhood_overlap(before: Tensor, after: Tensor) -> float:
    """Mean fraction of the neighbours `before` (n, k) that are also among the neighbours `after` (n, k)."""
    # Positions offset by row * n, so that one sorted search serves all rows.
    rows = torch.arange(len(before), device=before.device)[:, None] * len(before)
    return float(torch.isin(before + rows, after + rows).float().mean())
