"""What does a network answer to many images, and is it as sure as it is right?"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from probe.data.images import Batch, Images
from probe.errors import UserError
from probe.model.model import Model

TOP = 5

Array = np.ndarray


@dataclass(frozen=True)
class Answers:
    """What a network said. said, sure: (n, k) its first classes and their probabilities, the likeliest first.

    right: (n,) whether the first is true; among: (n,) whether one of the first five is; both None without labels.
    already: whether what the network gives are probabilities, not logits.
    """

    said: Array
    sure: Array
    labels: Array | None
    already: bool

    @property
    def right(self) -> Array:
        return self.said[:, 0] == self.labels

    @property
    def among(self) -> Array:
        assert self.labels is not None
        return (self.said == self.labels[:, None]).any(1)


def answers(
    model: Model,
    images: Images,
    *,
    progress: Callable[[Iterator[Batch], int], Iterable[Batch]] = lambda batches, count: batches,
) -> Answers:
    """What `model` says to each of `images`, in one pass.

    progress: goes round the batches, of which it is told the number.
    Raises UserError where the network does not answer with finite numbers.
    """
    first = min(TOP, len(model.classes))
    outputs: list[Tensor] = []
    shares: list[Tensor] = []
    classes: list[Tensor] = []
    already = torch.tensor(True, device=model.device)
    finite = torch.tensor(True, device=model.device)
    size = model.batch()
    batches = -(-len(images) // size)
    with torch.inference_mode():
        for batch in progress(images.batches(size, model.device), batches):
            logits = model.logits(batch.pixels).float()
            finite &= logits.isfinite().all()
            already &= are_probabilities(logits)
            # The softmax keeps the order, but far from the first class it rounds to zero and cannot be sorted.
            best = logits.topk(first, 1)
            classes.append(best.indices)
            outputs.append(best.values)
            shares.append(logits.softmax(1).gather(1, best.indices))
    if not bool(finite):
        raise UserError(f"{model.name} answers some of {images.name} with NaN or infinite numbers")
    said = torch.cat(classes).cpu().numpy()
    sure = torch.cat(outputs if already else shares).cpu().numpy()
    labels = None if images.labels is None else images.labels.numpy()
    return Answers(said, sure, labels, bool(already))


def are_probabilities(logits: Tensor) -> Tensor:
    """Whether all rows of (n, classes) lie in [0, 1] and sum to 1, as after a softmax."""
    return (
        ((logits >= 0).all() & ((logits.sum(1) - 1).abs() < 1e-3).all())
        if logits.shape[1] > 1
        else torch.tensor(False)
    )


@dataclass(frozen=True)
class Reliability:
    """Answers sorted into bins by how sure they are. count, sure, right: (bins,), the last two means, nan where empty.

    error: the expected calibration error, the mean of |right - sure| over all answers. Guo et al. 2017, equation 3.
    """

    count: Array
    sure: Array
    right: Array
    error: float


def reliability(sure: Array, right: Array, bins: int) -> Reliability:
    """sure: (n,) probabilities in [0, 1] of the answers; right: (n,) bool. Bins are ((k - 1) / bins, k / bins]."""
    place = np.clip(np.ceil(sure.astype(np.float64) * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(place, weights=sure, minlength=bins) / count
        share = np.bincount(place, weights=right, minlength=bins) / count
    error = float(np.nansum(count * np.abs(share - mean)) / len(sure))
    return Reliability(count, mean, share, error)


def confusion(labels: Array, said: Array, classes: int) -> Array:
    """(classes, classes) counts: how often row was true and column was said."""
    return np.bincount(labels * classes + said, minlength=classes * classes).reshape(classes, classes)
