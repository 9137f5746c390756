"""Which points lie nearest to each point, exactly, and how many of them are of its class?"""

import torch
from torch import Tensor

from probe.errors import UserError

_CHUNK = 2**25  # distances that are held at once
_SPARE = 8  # more candidates than asked for, because the fast product of matrices rounds


def nearest(points: Tensor, k: int, queries: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The `k` nearest of `points` (n, d) by Euclidean distance: positions (m, k), nearest first, and distances (m, k).

    queries: (m, d); without them the points ask for themselves, and none is its own neighbour (a twin at distance 0
    may be). Candidates come from one product of matrices, their distances and order from the differences themselves.
    Raises UserError where there are not enough points.
    """
    own = queries is None
    available = len(points) - own
    if not 1 <= k <= available:
        raise UserError(f"{k} nearest neighbours need at least {k + own} images, got {len(points)}")
    centre = points.mean(0)
    points = points - centre  # small numbers lose less to rounding
    asked = points if queries is None else queries - centre
    squares = (points * points).sum(1)
    candidates = min(k + _SPARE, available)
    rows = max(1, _CHUNK // max(len(points), candidates * points.shape[1]))
    index, distance = [], []
    for start in range(0, len(asked), rows):
        part = asked[start : start + rows]
        near = squares - 2 * part @ points.T  # the square of the query itself changes no order
        if own:
            here = torch.arange(len(part), device=part.device)
            near[here, start + here] = torch.inf
        found = near.topk(candidates, largest=False).indices
        exact = torch.linalg.vector_norm(points[found] - part[:, None], dim=2)
        exact, order = exact.sort(dim=1, stable=True)
        index.append(found.gather(1, order[:, :k]))
        distance.append(exact[:, :k])
    return torch.cat(index), torch.cat(distance)


def same_class(index: Tensor, labels: Tensor, asked: Tensor | None = None) -> Tensor:
    """The share of each point's neighbours that are of its own class: (m,) in [0, 1].

    index: (m, k) positions in `labels` (n,). asked: (m,) classes of those who asked, if not the points themselves.
    """
    labels = labels.to(index.device)
    own = labels if asked is None else asked.to(index.device)
    return (labels[index] == own[:, None]).float().mean(1)


def chance(labels: Tensor) -> float:
    """The share of equal class among neighbours that are drawn at random."""
    counts = labels.bincount().double()
    n = counts.sum()
    return float((counts * (counts - 1)).sum() / (n * (n - 1)))


def kept(before: Tensor, after: Tensor) -> float:
    """Of the neighbours `before` (n, k), the share that is still among the neighbours `after` (n, k)."""
    # A position of the set by n, so that one sorted search answers for all rows.
    rows = torch.arange(len(before), device=before.device)[:, None] * len(before)
    return float(torch.isin(before + rows, after + rows).float().mean())
