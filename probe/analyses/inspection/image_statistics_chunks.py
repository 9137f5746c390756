"""The passes of `image-statistics` over the images, in chunks over large sets."""

from collections.abc import Iterable
from dataclasses import fields
from functools import reduce
from math import prod
from operator import add

import torch
from torch import Tensor

from probe.analyses.image_chunks import Cost, over_batches
from probe.analyses.job import Arrays, Job
from probe.data.images import Batch, Images
from probe.methods.inspection.image_statistics import PixelSums, pixel_sums

_BATCH = 128  # images, at most
_SECONDS = 1e-7  # of the sums over one value of a pixel, on one core
_CLASS_SECONDS = 4e-9  # of a mean image
_BYTES = 2**28  # of the sums of all chunks, which are held in memory together
_MIN_CLASS_IMAGES = 5  # fewer make no mean image of a class


def sums_over(job: Job, images: Images) -> PixelSums:
    """The sums over all images from which their statistics follow."""
    shape = images.shape

    def compute(batches: Iterable[Batch], n: int) -> Arrays:
        sums = pixel_sums(batches, shape)
        return {field.name: torch.as_tensor(getattr(sums, field.name)).numpy() for field in fields(PixelSums)}

    parts = over_batches(job, "statistics", images, compute, _cost(shape, _SECONDS, results=2))
    return reduce(add, (_sums(part) for part in parts))


def class_means(job: Job, images: Images, max_classes: int) -> dict[int, Tensor]:
    """Mean image (c, h, w) of each of the first `max_classes` classes with at least five images.

    Empty without labels, and where only one class has as many: its mean is that of all images.
    """
    if images.labels is None or not max_classes:
        return {}
    counts = images.labels.bincount()
    classes = (counts >= _MIN_CLASS_IMAGES).nonzero()[:, 0][:max_classes].tolist()
    if len(classes) < 2:
        return {}
    shape = images.shape

    def compute(batches: Iterable[Batch], n: int) -> Arrays:
        sums = torch.zeros(len(classes), *shape, dtype=torch.double)
        for batch in batches:
            assert batch.labels is not None
            for row, c in enumerate(classes):
                sums[row] += batch.pixels[batch.labels == c].double().sum(0)
        return {"sums": sums.numpy()}

    parts = over_batches(job, "class means", images, compute, _cost(shape, _CLASS_SECONDS, len(classes)))
    sums = reduce(add, (torch.from_numpy(part["sums"]) for part in parts))
    return dict(zip(classes, sums / counts[classes][:, None, None, None], strict=True))


def _cost(shape: tuple[int, int, int], seconds: float, results: int) -> Cost:
    """seconds: for each value of a pixel. results: how many arrays of the size of an image a chunk returns."""
    values = prod(shape)
    most = min(256, max(1, _BYTES // (8 * values * results)))
    return Cost(seconds * values, batch=max(1, min(_BATCH, 2**22 // values)), most=most)


def _sums(arrays: Arrays) -> PixelSums:
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items() if name != "count"}
    return PixelSums(count=int(arrays["count"]), **tensors)
