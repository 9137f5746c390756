"""Sample images, the same number of each class."""

import torch
from torch import Tensor


def stratified_sample(labels: Tensor | None, total: int, n: int, seed: int) -> Tensor:
    """`n` of `total` positions in random order: the same number of each class to within one, as far as each class has enough."""
    rng = torch.Generator().manual_seed(seed)
    order = torch.randperm(total, generator=rng)
    if labels is None:
        return order[:n]
    counts = labels.bincount()
    priority = torch.randperm(len(counts), generator=rng)
    # The k-th image of every class comes before the (k + 1)-th of any: sorted by rank, ties by priority.
    rank = torch.empty(total, dtype=torch.long)
    shuffled = labels[order]
    by_class = shuffled.argsort(stable=True)
    first = counts.cumsum(0) - counts
    rank[by_class] = torch.arange(total) - first[shuffled[by_class]]
    chosen = order[(rank * len(counts) + priority[shuffled]).argsort(stable=True)[:n]]
    return chosen[torch.randperm(n, generator=rng)]


def sample_note(labels: Tensor | None, chosen: Tensor, total: int, seed: int) -> str:
    """A sentence on how the positions `chosen` were sampled from `total` images with these `labels`."""
    balance = ""
    if labels is not None:
        available = labels.bincount()
        counts = labels[chosen].bincount(minlength=len(available))[available > 0]
        equal = {0: "the same number of each class, ", 1: "the same number of each class to within one, "}
        balance = equal.get(int(counts.max() - counts.min()), "as balanced over the classes as possible, ")
    return f"{len(chosen):,} of {total:,} images, {balance}sampled with seed {seed}."
