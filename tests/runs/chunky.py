"""An analysis in chunks for tests of engines: groups that depend on each other, and traps that end a worker."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import torch
from pydantic import Field

from probe.analyses.analysis import Analysis
from probe.analyses.job import Job, joined
from probe.data.images import Images
from probe.errors import UserError
from probe.exhibits.exhibits import Table
from probe.exhibits.result import Number, Result
from probe.model.model import Model

Arrays = dict[str, np.ndarray]


class Chunky(Analysis):
    """Do chunks that are computed elsewhere have the same bytes?"""

    name = "chunky"
    title = "Sums of random numbers and logits"
    source = "tests"

    count: int = Field(6, description="chunks of each group")
    traps: str = Field(
        "", description="folder with files kill-N: the worker of chunk N of the second group is killed"
    )
    seconds: float = Field(0, description="time that each chunk takes")

    def run(self, model: Model, images: Images, job: Job) -> Result:
        start = job.seed()
        before = float(torch.rand(1))  # as a network that draws does

        def first(item: int, rng: torch.Generator) -> Arrays:
            time.sleep(self.seconds)
            return {"value": torch.rand(2, generator=rng).numpy() + start + item, "passes": np.array([1, 2])}

        chunks = job.chunks("first", range(self.count), first)
        passes = sum(int(chunk.pop("passes").sum()) for chunk in chunks)
        table = joined(chunks)["value"]
        between = float(torch.rand(1))

        def second(rows: torch.Tensor, rng: torch.Generator) -> Arrays:
            self._trap(int(rows[0]))
            time.sleep(self.seconds)
            logits = model.logits(images.select(rows).pixels(model.device))
            return {"value": logits.numpy() + table.sum() + between + float(torch.rand(1))}

        values = joined(job.chunks("second", torch.arange(self.count).split(1), second))["value"]
        rows = [[float(v)] for v in (before, between, passes, *table.ravel(), *values.ravel())]
        return Result(
            exhibits=[Table(title="Sums", caption="Sums.", columns=["sum"], rows=rows)],
            numbers={"sum": Number(value=float(values.sum()))},
        )

    def _trap(self, item: int) -> None:
        """Do once what a file of `traps` says."""
        for what in ("kill", "always", "user", "bug"):
            path = Path(self.traps or "/nowhere", f"{what}-{item}")
            if not path.exists():
                continue
            if what in ("kill", "always"):
                if what == "kill":
                    path.unlink()
                os.kill(os.getpid(), signal.SIGKILL)
            raise UserError("what a user can correct") if what == "user" else ZeroDivisionError("a bug")


class Payload(Analysis):
    """Does the memory of a driver depend on the number of chunks?"""

    name = "payload"
    title = "40 MB in chunks"
    source = "tests"

    count: int = Field(20, description="chunks")

    def run(self, model: Model, images: Images, job: Job) -> Result:
        def compute(item: int, rng: torch.Generator) -> Arrays:
            return {"value": np.zeros(5_000_000 // self.count)}

        total = sum(len(chunk["value"]) for chunk in job.chunks("payload", range(self.count), compute))
        return Result(exhibits=[], numbers={"values": Number(value=total)})
