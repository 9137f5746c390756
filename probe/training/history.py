"""Records of a training: a report within an epoch, one row per epoch, the loss of the steps."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from probe.atomic_files import write_whole
from probe.errors import UserError, first_line
from probe.regular_files import TEXT_LIMIT, read_bytes

FILE = "history.json"
_MAX_POINTS = 1000


@dataclass(frozen=True)
class StepReport:
    """The state of a training within an epoch. loss, accuracy: means over the epoch so far."""

    epoch: int
    step: int
    steps: int
    loss: float
    accuracy: float
    images_per_second: float


class Epoch(BaseModel):
    """One pass over the training images.

    steps: since the beginning of the training. loss, accuracy: means over the steps of the epoch, on augmented images.
    test_loss, test_accuracy: of the weights after the epoch. validation_loss, validation_accuracy: where images were
    held out. lr: at the last step. images_per_second: training images. device_idle: on CUDA, the fraction of time in
    which the device was idle, over some steps. fgsm_accuracy, pgd_accuracy: in adversarial training, the accuracy on
    some training images under one FGSM step and under ten PGD steps.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    epoch: int
    steps: int
    loss: float
    accuracy: float
    test_loss: float
    test_accuracy: float
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    lr: float
    seconds: float
    images_per_second: float
    device_idle: float | None = None
    fgsm_accuracy: float | None = None
    pgd_accuracy: float | None = None


class StepLosses(BaseModel):
    """The loss of the steps: loss[i] is the mean over the `every` steps that end at step[i]."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    every: int
    step: list[int]
    loss: list[float]


class History(BaseModel):
    """All epochs of a training, and the loss of its steps."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: list[Epoch]
    steps: StepLosses


def downsample(losses: Sequence[float], max_points: int = _MAX_POINTS) -> StepLosses:
    """At most `max_points` means, each over equally many steps; the last may be over fewer."""
    every = max(1, -(-len(losses) // max_points))
    windows = [losses[start : start + every] for start in range(0, len(losses), every)]
    ends = [min((index + 1) * every, len(losses)) for index in range(len(windows))]
    means = [sum(window) / len(window) for window in windows]
    return StepLosses(every=every, step=ends, loss=[round(mean, 5) for mean in means])


def write_history(history: History, folder: Path) -> None:
    """Write history.json, and history.csv with a row per epoch, each atomically."""
    rows = [epoch.model_dump() for epoch in history.epochs]
    columns = [name for name in rows[0] if any(row[name] is not None for row in rows)]
    table = io.StringIO()
    writer = csv.DictWriter(table, columns, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    _write_atomically(folder / FILE, json.dumps(_rounded(history.model_dump(exclude_none=True))))
    _write_atomically(folder / "history.csv", table.getvalue())


def read_history(folder: Path) -> History:
    """The history in `folder`. Raises UserError where there is none, or where it cannot be read."""
    path = folder / FILE
    try:
        return History.model_validate_json(read_bytes(path, limit=TEXT_LIMIT))
    except FileNotFoundError:
        raise UserError(f"{folder} contains no {FILE}: `probe train` writes one") from None
    except (OSError, ValidationError) as error:
        raise UserError(f"{path} cannot be read: {first_line(error)}") from None


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    for epoch in values["epochs"]:
        for name, value in epoch.items():
            if isinstance(value, float):
                epoch[name] = round(value, 7)
    return values


def _write_atomically(path: Path, text: str) -> None:
    write_whole(path, text.encode())
