"""How far can a map in the plane be believed? What it keeps of the neighbours and distances of the space it shows."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from probe.methods.representation.embedding import Space
from probe.methods.representation.neighbours import kept, nearest

ROWS = 2000  # points whose ranks are worked out
_PAIRS = 100_000
_CHUNK = 2**23  # ranks that are held at once


def quality(
    space: Space, places: Tensor, labels: Tensor | None, *, k: int, rng: torch.Generator
) -> dict[str, float]:
    """All of them by name (that of classes where there are labels), for a map (n, 2) of `space`; ranks are asked of at most 2,000 points, drawn by `rng`."""
    n = len(space.points)
    trust, continuity = trust_and_continuity(space.points, places, k, torch.randperm(n, generator=rng)[:ROWS])
    near = nearest(places, k)[0]
    found = {
        "neighbours kept": kept(space.index[:, :k], near),
        "trustworthiness": trust,
        "continuity": continuity,
        "distances": distance_correlation(space.points, places, rng),
    }
    return found if labels is None else {**found, "class of neighbours": knn_accuracy(near, labels)}


def trust_and_continuity(points: Tensor, places: Tensor, k: int, rows: Tensor) -> tuple[float, float]:
    """Trustworthiness (no strangers among the `k` neighbours in the map) and continuity (no neighbour lost).

    points: (n, d). places: (n, 2). rows: (m,) the points that are asked; their ranks are taken among all n.
    Both are 1 for a map that keeps every neighbourhood and about 0.5 for chance; k must be below n / 2.

    Venna and Kaski 2006, equations 1 and 2.
    """
    n = len(points)
    if not 1 <= k < n / 2:
        raise ValueError(f"k must lie in [1, n / 2), got {k} for {n} points")
    strange = lost = 0.0
    for part in rows.split(max(1, _CHUNK // n)):
        above, below = _ranks(points, part), _ranks(places, part)
        strange += float(((above - k) * ((below <= k) & (above > k))).sum())
        lost += float(((below - k) * ((above <= k) & (below > k))).sum())
    most = len(rows) * k * (2 * n - 3 * k - 1) / 2
    return 1 - strange / most, 1 - lost / most


def distance_correlation(points: Tensor, places: Tensor, rng: torch.Generator) -> float:
    """Spearman's correlation of the distances of 100,000 random pairs in the space and in the map."""
    from scipy.stats import spearmanr

    a = torch.randint(len(points), (_PAIRS,), generator=rng)
    b = (a + torch.randint(1, len(points), (_PAIRS,), generator=rng)) % len(points)
    above, below = ((p[a] - p[b]).norm(dim=1).numpy() for p in (points, places))
    return float(spearmanr(above, below).statistic)


def knn_accuracy(index: Tensor, labels: Tensor, asked: Tensor | None = None) -> float:
    """How often the most frequent class among a point's neighbours (index (m, k)) is its own; ties go to the nearest."""
    found = labels[index]
    votes = (found[:, :, None] == found[:, None, :]).sum(2)
    winner = found.gather(1, votes.argmax(1, keepdim=True))[:, 0]
    return float((winner == (labels if asked is None else asked)).float().mean())


def stability(maps: Sequence[np.ndarray]) -> float:
    """How alike maps of the same points are when turned, moved and scaled onto each other: 1 is the same.

    One minus the Procrustes disparity, mean over the pairs. Gower 1975.
    """
    from scipy.spatial import procrustes

    pairs = [(a, b) for i, a in enumerate(maps) for b in maps[i + 1 :]]
    return 1 - float(np.mean([procrustes(a, b)[2] for a, b in pairs]))


def _ranks(points: Tensor, rows: Tensor) -> Tensor:
    """(m, n): 0 for the point itself, 1 for its nearest neighbour, and so on."""
    asked = points[rows]
    near = (points * points).sum(1) - 2 * asked @ points.T
    near[torch.arange(len(rows)), rows] = -torch.inf
    order = near.argsort(dim=1, stable=True)
    ranks = torch.empty_like(order)
    return ranks.scatter_(1, order, torch.arange(len(points)).expand_as(order))
