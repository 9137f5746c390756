"""The tables of the robustness analysis, measured a chunk of images at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from probe.analyses.adversarial.robustness_plan import (
    ATTACKS,
    FEWEST_IMAGES,
    Spending,
    affordable_images,
)
from probe.analyses.job import Arrays, Job, joined
from probe.data.images import Images
from probe.methods.adversarial.budget import Budget
from probe.methods.adversarial.passes import Passes, count_passes
from probe.methods.adversarial.suite import AttackCurves, attack_curves
from probe.model.budget import forward_seconds
from probe.model.model import Model

FEW = 48
"""Images for searches that need hundreds of forward passes an image."""

_CHUNK_SECONDS = 10.0  # on one core
_FEWEST_ROWS = 4  # images of a chunk: fewer are slower
_PASSES = "passes"

T = TypeVar("T")
Item = TypeVar("Item")


@dataclass(frozen=True)
class LabelledImages:
    """The images that are attacked, their labels (n,) on the CPU, the model, and how many fit into a batch."""

    model: Model
    images: Images
    labels: Tensor
    batch: int

    def __len__(self) -> int:
        return len(self.images)

    def select(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pixels and labels on the device of the model, and ids, of the images `rows`."""
        pixels = self.images.select(rows).pixels(self.model.device)
        return pixels, self.labels[rows].to(self.model.device), rows

    def split(self, rows: Tensor, *, passes: float = 0) -> Sequence[Tensor]:
        """`rows` in equal parts, two at least: of a batch at most, of ten seconds where an image takes so many passes."""
        seconds = passes * forward_seconds(self.model)
        size = min(self.batch, max(_FEWEST_ROWS, int(_CHUNK_SECONDS / max(seconds, 1e-6))))
        parts = max(-(-len(rows) // size), min(2, len(rows) // _FEWEST_ROWS), 1)
        return rows.tensor_split(parts)

    def first(self, count: int) -> "LabelledImages":
        """The first images alone."""
        rows = torch.arange(count)
        return replace(self, images=self.images.select(rows), labels=self.labels[rows])


def as_arrays(table: Any) -> Arrays:
    """The columns of a dataclass of arrays, as chunks are stored."""
    return {field.name: getattr(table, field.name) for field in fields(table)}


def from_chunks(kind: type[T], chunks: Sequence[Arrays]) -> T:
    """The table that was stored with `as_arrays`, rows of several chunks after each other."""
    return kind(**joined(chunks))


def in_turn(labels: Tensor) -> Tensor:
    """The order (n,) in which every class has an image before one has a second, so that the first ones are a fair sample."""
    turn = torch.zeros_like(labels)
    for c in labels.unique().tolist():
        same = labels == c
        turn[same] = torch.arange(int(same.sum()))
    return turn.argsort(stable=True)


def run_chunks(
    job: Job,
    data: LabelledImages,
    spending: Spending,
    part: str,
    items: Sequence[Item],
    compute: Callable[[Item], Arrays],
    *,
    name: str = "",
) -> list[Arrays]:
    """The chunks of a part of the analysis; what they take is added to `spending`, also where they were stored before.

    name: of the chunks, where a part has several loops.
    """
    tasks = [Task(part, partial(compute, item)) for item in items]
    return run_tasks(job, data, spending, name or part, tasks)


@dataclass(frozen=True)
class Task:
    """A chunk of the part called `part`."""

    part: str
    compute: Callable[[], Arrays]


def run_tasks(
    job: Job, data: LabelledImages, spending: Spending, name: str, tasks: Sequence[Task]
) -> list[Arrays]:
    """The chunks of several parts that workers compute at the same time, as `run_chunks`."""

    def counted(task: Task, _: torch.Generator) -> Arrays:
        with count_passes(data.model) as passes:
            arrays = task.compute()
        return arrays | {_PASSES: np.array([[passes.forward, passes.backward]])}

    chunks = job.chunks(name, tasks, counted)
    for task, chunk in zip(tasks, chunks, strict=True):
        forward, backward = chunk.pop(_PASSES).sum(0).tolist()
        spending.add(task.part, Passes(forward, backward))
    return chunks


@dataclass(frozen=True)
class Adversarials:
    """Images with the smallest change that is known to fool them. rows: (m,) of the curves. pixels: (m, c, h, w)."""

    rows: np.ndarray
    pixels: np.ndarray

    def of(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Those of `rows` that are held, and their pixels; of several entries of a row the last."""
        position = {int(row): k for k, row in enumerate(self.rows)}
        held = np.array([row for row in rows if int(row) in position], dtype=np.int64)
        return held, self.pixels[[position[int(row)] for row in held]]


def measure_curves(
    job: Job, data: LabelledImages, budget: Budget, spending: Spending, *, keep: int, limit: int
) -> tuple[AttackCurves, Adversarials]:
    """Every attack on the images, and the adversarial versions of the `keep` least robust images of every chunk.

    limit: how many images; 0 for as many as the budget allows, by what the first ones take.
    """

    def compute(rows: Tensor) -> Arrays:
        curves, pixels = attack_curves(data.model, *data.select(rows), budget)
        radii = np.where(curves.correct & np.isfinite(curves.min_eps), curves.min_eps, np.inf)
        fragile = np.argsort(radii, kind="stable")[:keep]
        return as_arrays(curves) | {
            "fragile_rows": rows.numpy()[fragile],
            "fragile_pixels": pixels[torch.from_numpy(fragile).to(pixels.device)].cpu().numpy(),
        }

    first = min(len(data), limit or FEWEST_IMAGES, FEWEST_IMAGES)
    chunks = run_chunks(
        job, data, spending, ATTACKS, data.split(torch.arange(first)), compute, name="attacks"
    )
    count = limit or min(len(data), affordable_images(spending, first))
    if count > first:
        items = data.split(torch.arange(first, count), passes=spending.spent[ATTACKS].cost / first)
        chunks += run_chunks(job, data, spending, ATTACKS, items, compute, name="attacks, more images")
    table = joined(chunks)
    fragile = Adversarials(table.pop("fragile_rows"), table.pop("fragile_pixels"))
    return AttackCurves(**table), fragile


def first_images(data: LabelledImages) -> Tensor:
    """The positions of the first `FEW` images."""
    return torch.arange(min(FEW, len(data)))
