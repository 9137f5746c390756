"""The chunks of `maximise`: images that are optimised together, and passes over the data."""

import itertools
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from probe.analyses.image_chunks import over_images
from probe.analyses.job import Arrays, Job, joined
from probe.data.images import Batch, Images
from probe.methods.synthesis.evaluation import dataset_maxima
from probe.methods.synthesis.optimise import Optimised
from probe.model.model import Model

_FIELDS = ("pixels", "values", "history", "dead", "diverged")

Extremes = tuple[Tensor, Tensor]
"""(channels,) values, and (channels,) positions of the images that have them."""


def chunked_extremes(
    model: Model, images: Images, layer: str, job: Job, *, both: bool
) -> tuple[Extremes, Extremes]:
    """The largest and the smallest values over the images, as `dataset_maxima`; without `both` the largest twice."""
    signs = (True, False) if both else (True,)

    def compute(batches: Iterable[Batch], _: int, largest: bool) -> Arrays:
        values, positions = dataset_maxima(model, batches, layer, largest=largest)
        return {"values": values[None].numpy(), "positions": positions[None].numpy()}

    extremes = []
    for largest in signs:
        name = "largest activations" if largest else "smallest activations"
        table = joined(
            over_images(job, name, model, images, lambda b, n, which=largest: compute(b, n, which))
        )
        values, positions = torch.from_numpy(table["values"]), torch.from_numpy(table["positions"])
        best = (values if largest else -values).argmax(0, keepdim=True)
        extremes.append((values.gather(0, best)[0], positions.gather(0, best)[0]))
    return extremes[0], extremes[-1]


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
