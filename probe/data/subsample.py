"""Which of the images are taken, where not all are wanted?"""

import torch
from torch import Tensor


def stratified_sample(labels: Tensor | None, total: int, n: int, seed: int) -> Tensor:
    """`n` positions of `total`, shuffled: of each class the same number up to one, as far as there are any."""
    rng = torch.Generator().manual_seed(seed)
    order = torch.randperm(total, generator=rng)
    if labels is None:
        return order[:n]
    counts = labels.bincount()
    lucky = torch.randperm(len(counts), generator=rng)
    # The k-th image of a class is drawn before any class gives its (k + 1)-th: ranks decide, luck breaks ties.
    rank = torch.empty(total, dtype=torch.long)
    shuffled = labels[order]
    for label in range(len(counts)):
        rank[shuffled == label] = torch.arange(int(counts[label]))
    chosen = order[(rank * len(counts) + lucky[shuffled]).argsort(stable=True)[:n]]
    return chosen[torch.randperm(n, generator=rng)]


def sample_note(labels: Tensor | None, chosen: Tensor, total: int, seed: int) -> str:
    """The sentence that says how `chosen` were drawn from `total` images with these `labels`."""
    how = ""
    if labels is not None:
        there = labels.bincount()
        got = labels[chosen].bincount(minlength=len(there))[there > 0]
        even = {0: "the same number of each class, ", 1: "the same number of each class up to one, "}
        how = even.get(int(got.max() - got.min()), "as evenly over the classes as they allow, ")
    return f"{len(chosen):,} of {total:,} images, {how}drawn with seed {seed}."
