"""Passes over a set of images, cut into chunks where they take long: workers compute these, and a run stores them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch

from probe.analyses.job import Arrays, Job
from probe.data.file_store import FileStore
from probe.data.images import Batch, Images
from probe.model.budget import forward_seconds
from probe.model.model import Model

_SECONDS = 10.0  # of a chunk, on one core
_SHORT = 2.0  # seconds below which nothing is handed out or stored
_MOST = 256  # chunks: what they return is held in memory together
_CUDA_IMAGES = 1024  # of a chunk, at least
_SECONDS_PER_PIXEL = 1.2e-8  # of decoding a JPEG

Compute = Callable[[Iterable[Batch], int], Arrays]
"""compute(batches, n) for the batches of n consecutive images, whose positions are those in the whole set."""


@dataclass(frozen=True)
class Cost:
    """What a pass over images takes: seconds of an image on one core, images of a batch and of a part, parts at most."""

    seconds: float
    batch: int
    device: str | torch.device = "cpu"
    min_images: int = 1
    most: int = _MOST


def over_images(
    job: Job, name: str, model: Model, images: Images, compute: Compute, *, deepest: str = ""
) -> list[Arrays]:
    """compute(batches, n) for consecutive parts of `images`, whose cost is that of forward passes and of decoding.

    deepest: the layer at which the forward passes stop.
    """
    min_images = _CUDA_IMAGES if model.device.type == "cuda" else 1
    cost = Cost(forward_seconds(model, deepest), model.batch(), model.device, min_images)
    return over_batches(job, name, images, compute, cost)


def over_batches(job: Job, name: str, images: Images, compute: Compute, cost: Cost) -> list[Arrays]:
    """compute(batches, n) for consecutive parts of `images`: all at once, or in chunks where that takes longer.

    A part is made of whole batches, so that nothing that is computed batch by batch depends on the number of parts, and
    its size on the network and the images alone. cost: without decoding.
    """
    n, size = len(images), cost.batch
    seconds = cost.seconds + _decoding_seconds(images)

    def whole() -> Arrays:
        return compute(job.progress(images.batches(size, cost.device), name, -(-n // size)), n)

    if n * seconds < _SHORT:
        return [whole()]
    parts = chunk_rows(n, size, seconds, min_images=max(cost.min_images, -(-n // cost.most)))

    def chunk(rows: torch.Tensor, _: torch.Generator) -> Arrays:
        if len(rows) == n:
            return whole()
        return compute(_shifted(images.select(rows).batches(size, cost.device), int(rows[0])), len(rows))

    return job.chunks(name, parts, chunk)


def chunk_rows(n: int, batch: int, seconds: float, *, min_images: int = 1) -> list[torch.Tensor]:
    """The positions of `n` images in parts of whole batches: ten seconds each, and one part below twice as much.

    seconds: of one image on one core. min_images: of a part.

    >>> [len(rows) for rows in chunk_rows(700, batch=32, seconds=0.05)]
    [224, 224, 224, 28]
    >>> [len(rows) for rows in chunk_rows(300, batch=32, seconds=0.05)]
    [300]
    """
    size = max(int(_SECONDS / seconds), min_images, -(-n // _MOST))
    if n <= 2 * size:
        return [torch.arange(n)]
    return list(torch.arange(n).split(-(-size // batch) * batch))


def _decoding_seconds(images: Images) -> float:
    """Seconds in which one core decodes an image; 0 for images in memory."""
    if not isinstance(images.store, FileStore):
        return 0.0
    sizes = [images.store.sizes[row] for row in images.rows[:100].tolist()]
    return _SECONDS_PER_PIXEL * sum(height * width for height, width in sizes) / max(1, len(sizes))


def _shifted(batches: Iterator[Batch], start: int) -> Iterator[Batch]:
    """The batches of images from `start` on, with their positions in the whole set."""
    for batch in batches:
        yield Batch(batch.positions + start, batch.pixels, batch.labels)
