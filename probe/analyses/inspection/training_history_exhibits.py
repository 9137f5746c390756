"""The histories of several trainings, drawn and put in tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from probe.exhibits.exhibits import Cell, Chart, Line, Table
from probe.model.model import Model
from probe.training.history import History

Counts = Mapping[float, int | None]
"""Steps to each test accuracy; None where it was never reached."""


@dataclass(frozen=True)
class Trained:
    """A model and the history of its training."""

    model: Model
    history: History

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def schedule(self) -> str:
        """Course of the learning rate; empty where the card does not say."""
        return str(self.model.card.training.get("recipe", {}).get("schedule", ""))

    @property
    def final(self) -> float:
        """Test accuracy after the last epoch."""
        return self.history.epochs[-1].test_accuracy


def errors(trained: Sequence[Trained]) -> Chart:
    """The share of test images answered wrongly over the steps."""
    lines = []
    for one in trained:
        epochs = one.history.epochs
        x, y = [epoch.steps for epoch in epochs], [1 - epoch.test_accuracy for epoch in epochs]
        lines.append(Line(name=one.name, x=np.array(x), y=np.array(y)))
    said = ", ".join(f"{one.name} {one.final:.2%}" for one in trained)
    return Chart(
        title="Errors over the training",
        caption=f"Test accuracy at the end: {said}. Measured after each epoch.",
        lines=lines,
        x_label="steps",
        y_label="share of test images answered wrongly",
        y_log=all(float(line.y.min()) > 0 for line in lines),
    )


def steps(trained: Sequence[Trained], counted: Sequence[Counts], level: float) -> Table:
    """How many steps each takes to each accuracy; the caption speaks of `level`."""
    rows: list[list[Cell]] = [
        [f"{accuracy:.2%}", *(counts[accuracy] for counts in counted)] for accuracy in sorted(counted[0])
    ]
    names = [one.name for one in trained]
    gaps = any(count is None for counts in counted for count in counts.values())
    blank = " An empty cell: never reached." if gaps else ""
    falls = sorted({one.schedule for one in trained} - {"", "constant"})
    course = (
        f" The learning rate fell ({', '.join(falls)}), and accuracy comes late where it does: steps at a "
        "constant rate would tell more of the networks themselves."
        if falls and len(trained) > 1
        else ""
    )
    return Table(
        title="Steps to an accuracy",
        caption=f"{finding(names, [counts[level] for counts in counted], level)} Measured after each epoch.{blank}{course}",
        columns=["test accuracy", *names],
        rows=rows,
        formats=dict.fromkeys(names, "{:,}"),
    )


def finding(names: Sequence[str], taken: Sequence[int | None], level: float) -> str:
    """Who reaches `level` first, and by how much, in one or two sentences.

    >>> finding(["a", "b"], [400, 100], 0.6)
    'b reaches a test accuracy of 60.00% after 100 steps, a after 400: 4.0 times as many.'
    >>> finding(["a", "b"], [100, None], 0.6)
    'a reaches a test accuracy of 60.00% after 100 steps. b never reaches it.'
    """
    found = sorted((count, name) for name, count in zip(names, taken, strict=True) if count is not None)
    never = [name for name, count in zip(names, taken, strict=True) if count is None]
    if not found:
        return f"None reaches a test accuracy of {level:.2%}."
    (least, first), (most, last) = found[0], found[-1]
    said = f"{first} reaches a test accuracy of {level:.2%} after {least:,} steps"
    if len(found) > 1:
        said += (
            f", {last} after {most:,}: {most / least:.1f} times as many"
            if most > least
            else ", as do the others"
        )
    if len(found) == 2 and most == least:
        said = f"{first} and {last} reach a test accuracy of {level:.2%} after {least:,} steps"
    missing = f" {' and '.join(never)} never {'reaches' if len(never) == 1 else 'reach'} it." if never else ""
    return f"{said}.{missing}"


def losses(trained: Sequence[Trained]) -> Chart:
    """The training loss over the steps."""
    lines = [
        Line(name=one.name, x=np.array(one.history.steps.step), y=np.array(one.history.steps.loss))
        for one in trained
    ]
    least = min(trained, key=lambda one: one.history.epochs[-1].loss)
    lowest = f"{least.history.epochs[-1].loss:.4f} as the mean of its last epoch"
    every = max(one.history.steps.every for one in trained)
    return Chart(
        title="Loss of the steps",
        caption=(
            f"{least.name} ends with the lowest training loss, {lowest}."
            if len(trained) > 1
            else f"{least.name} ends with a training loss of {lowest}."
        )
        + (f" Each point is the mean over up to {every} steps." if every > 1 else ""),
        lines=lines,
        x_label="steps",
        y_label="training loss",
        y_log=all(float(line.y.min()) > 0 for line in lines),
    )


def figures(trained: Sequence[Trained], unknown: Sequence[Model]) -> Table:
    """Parameters, length and outcome of each training; `unknown` are models without a history."""
    columns = ["model", "parameters", "epochs", "steps", "training", "test", "gap", "seconds"]
    rows: list[list[Cell]] = []
    for one in trained:
        last = one.history.epochs[-1]
        learnt = one.model.card.results.get("train_accuracy", last.accuracy)
        row: list[Cell] = [one.name, one.model.parameters, last.epoch, last.steps]
        rows.append([*row, learnt, one.final, learnt - one.final, sum(e.seconds for e in one.history.epochs)])
    for one in unknown:
        rows.append([one.name, one.parameters, *[None] * 6])
    caption = "None of the models has a history of its training."
    if trained:
        best = max(trained, key=lambda one: one.final)
        caption = (
            f"{best.name} has the highest test accuracy, "
            if len(trained) > 1
            else f"{best.name} has a test accuracy of "
        )
        caption += (
            f"{best.final:.2%} after {best.history.epochs[-1].steps:,} steps. Training accuracy is of the finished "
            "network where its card has it, else the mean of its last epoch; the gap is what does not carry over."
        )
    share = "{:.2%}"
    formats = {"parameters": "{:,}", "steps": "{:,}", "seconds": "{:,.0f}"}
    formats |= {"training": share, "test": share, "gap": share}
    return Table(
        title="The trainings in figures", caption=caption, columns=columns, rows=rows, formats=formats
    )
