"""What happened during a training? One line an epoch, and the loss of its steps."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from probe.errors import UserError

FILE = "history.json"
_POINTS = 1000


class Epoch(BaseModel):
    """One pass over the training images.

    loss, accuracy: means over its steps, on the images as they were varied. test_loss, test_accuracy: of the
    weights after it. validation_loss, validation_accuracy: where images were held out. lr: at its last step.
    rate: training images per second. device_idle: on CUDA, the share of the time in which it waited, over some steps. one_step, many_steps: in adversarial training, the accuracy on training
    images under one step and under ten.
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
    rate: float
    device_idle: float | None = None
    one_step: float | None = None
    many_steps: float | None = None


class Steps(BaseModel):
    """The loss of the steps, thinned: loss[i] is the mean over the `every` steps that end at step[i]."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    every: int
    step: list[int]
    loss: list[float]


class History(BaseModel):
    """All epochs of a training, and its steps."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: list[Epoch]
    steps: Steps


def thinned(losses: Sequence[float], points: int = _POINTS) -> Steps:
    """At most `points` means over equally many steps each; the last may rest on fewer."""
    every = max(1, -(-len(losses) // points))
    parts = [losses[start : start + every] for start in range(0, len(losses), every)]
    ends = [min((number + 1) * every, len(losses)) for number in range(len(parts))]
    means = [sum(part) / len(part) for part in parts]
    return Steps(every=every, step=ends, loss=[round(mean, 5) for mean in means])


def write_history(history: History, folder: Path) -> None:
    """history.json, and history.csv with a line an epoch, each whole or not at all."""
    rows = [epoch.model_dump() for epoch in history.epochs]
    known = [name for name in rows[0] if any(row[name] is not None for row in rows)]
    table = io.StringIO()
    writer = csv.DictWriter(table, known, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    _whole(folder / FILE, json.dumps(_compact(history.model_dump(exclude_none=True))))
    _whole(folder / "history.csv", table.getvalue())


def read_history(folder: Path) -> History:
    """The history in `folder`. Raises UserError where there is none, or it cannot be read."""
    path = folder / FILE
    try:
        return History.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{folder} holds no {FILE}: `probe train` writes one") from None
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise UserError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None


def _compact(values: dict[str, Any]) -> dict[str, Any]:
    for epoch in values["epochs"]:
        for name, value in epoch.items():
            if isinstance(value, float):
                epoch[name] = round(value, 7)
    return values


def _whole(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
