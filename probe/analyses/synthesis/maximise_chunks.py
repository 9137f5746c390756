"""The chunks of `maximise`: images that are optimised together, and passes over the data."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from functools import reduce

import numpy as np
import torch

from probe.analyses.image_chunks import over_images
from probe.analyses.job import Arrays, Job
from probe.data.images import Batch, Images
from probe.methods.synthesis.evaluation import Extremes, dataset_extremes
from probe.methods.synthesis.optimise import Optimised
from probe.model.model import Model

_FIELDS = ("pixels", "values", "history", "dead", "diverged")


def chunked_extremes(model: Model, images: Images, layer: str, job: Job) -> Extremes:
    """The smallest and largest value of each channel over the images, as `dataset_extremes`."""

    def compute(batches: Iterable[Batch], _: int) -> Arrays:
        extremes = dataset_extremes(model, batches, layer)
        return {"values": extremes.values.numpy(), "positions": extremes.positions.numpy()}

    parts = over_images(job, "extreme activations", model, images, compute, deepest=layer)
    extremes = [
        Extremes(torch.from_numpy(part["values"]), torch.from_numpy(part["positions"])) for part in parts
    ]
    return reduce(Extremes.joined, extremes)


def optimise_in_chunks(
    job: Job,
    name: str,
    parts: Sequence[slice],
    compute: Callable[[slice], tuple[Optimised, np.ndarray | None]],
) -> tuple[Optimised, list[np.ndarray]]:
    """compute(rows) for each of `parts`, as one; with the frames of each, if there are any.

    After an interruption here, and not on workers, the first images of all that were finished or reached by then, with
    the signal.
    """
    reached: dict[int, Arrays] = {}

    def chunk(rows: slice, _: torch.Generator) -> Arrays:
        optimised, frames = compute(rows)
        arrays = {field: getattr(optimised, field).cpu().numpy() for field in _FIELDS}
        if frames is not None:
            arrays["frames"] = frames
        reached[rows.start] = arrays
        if optimised.stopped is not None:
            raise optimised.stopped  # so that it is not stored as finished
        return arrays

    stopped = None
    try:
        chunks = job.chunks(name, parts, chunk)
    except KeyboardInterrupt as stop:
        chunks = [
            reached[rows.start] for rows in itertools.takewhile(lambda rows: rows.start in reached, parts)
        ]
        if not chunks:
            raise
        stopped = stop
    return _joined(chunks, stopped), [chunk["frames"] for chunk in chunks if "frames" in chunk]


def _joined(chunks: Sequence[Arrays], stopped: KeyboardInterrupt | None) -> Optimised:
    steps = min(len(chunk["history"]) for chunk in chunks)
    history = np.concatenate([chunk["history"][:steps] for chunk in chunks], 1)
    rows = {
        field: np.concatenate([chunk[field] for chunk in chunks]) for field in _FIELDS if field != "history"
    }
    tensors = {field: torch.from_numpy(array) for field, array in rows.items()}
    return Optimised(**tensors, history=torch.from_numpy(history), stopped=stopped)
