"""How did the training of one network go beside that of others?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from probe.analyses.analysis import Analysis, Job
from probe.data.images import Images
from probe.exhibits.exhibits import Cell, Chart, Exhibit, Line, Table
from probe.exhibits.result import Number, Result
from probe.params import Fraction
from probe.subject.subject import Subject
from probe.training.history import FILE, History, read_history


@dataclass(frozen=True)
class Trained:
    """A subject and the history of its training, where it has one."""

    subject: Subject
    history: History | None

    @property
    def name(self) -> str:
        return self.subject.name


def reached(history: History, accuracy: float) -> int | None:
    """Steps after which the test accuracy was first at least `accuracy`; None where it never was."""
    return next((epoch.steps for epoch in history.epochs if epoch.test_accuracy >= accuracy), None)


def common_level(histories: Sequence[History]) -> float:
    """The highest test accuracy that all of them reached at some epoch."""
    return min(max(epoch.test_accuracy for epoch in history.epochs) for history in histories)


class Training(Analysis):
    """How did the training of this network go, beside that of others?"""

    name = "training"
    title = "Training histories"
    source = "LeCun et al. 1998; Ioffe & Szegedy 2015, arXiv 1502.03167; He et al. 2016, arXiv 1512.03385"
    needs_images = 0

    level: Fraction = Field(
        0,
        ge=0,
        le=1,
        description="test accuracy whose steps are counted (0: the highest that all subjects reached)",
    )

    def run(self, subject: Subject, images: Images, job: Job) -> Result:
        trained = [_trained(one) for one in (subject, *job.others)]
        known = [one for one in trained if one.history is not None]
        warnings = [
            f"{one.name} has no {FILE}, so nothing is known of the course of its training."
            for one in trained
            if one.history is None
        ]
        if not known:
            return Result(exhibits=[_table(trained, None)], warnings=warnings)
        histories = [one.history for one in known if one.history is not None]
        level = self.level or common_level(histories)
        numbers = {
            f"final test accuracy of {one.name}": Number(
                value=one.history.epochs[-1].test_accuracy, format="{:.2%}"
            )
            for one in known
            if one.history is not None
        }
        for one in known:
            if one.history is not None and (steps := reached(one.history, level)) is not None:
                what = f"steps of {one.name} to {level:.2%}"
                numbers[what] = Number(value=steps, format="{:,.0f}")
        if len({one.subject.card.training.get("data_sha256") for one in known}) > 1:
            warnings.append("The subjects were trained on different images: their accuracies do not compare.")
        exhibits: list[Exhibit] = [_accuracies(known, level), _losses(known), _table(trained, level)]
        return Result(exhibits=exhibits, numbers=numbers, warnings=warnings)


def _trained(subject: Subject) -> Trained:
    folder = subject.folder
    found = folder is not None and (folder / FILE).exists()
    return Trained(subject, read_history(folder) if found and folder is not None else None)


def _accuracies(known: Sequence[Trained], level: float) -> Chart:
    lines, said, steps = [], [], {}
    for one in known:
        assert one.history is not None
        epochs = one.history.epochs
        x, y = [epoch.steps for epoch in epochs], [1 - epoch.test_accuracy for epoch in epochs]
        lines.append(Line(name=one.name, x=np.array(x), y=np.array(y)))
        said.append(f"{one.name} {epochs[-1].test_accuracy:.2%}")
        steps[one.name] = reached(one.history, level)
    caption = f"Test accuracy at the end: {', '.join(said)}."
    counted = {name: count for name, count in steps.items() if count is not None}
    if len(counted) > 1:
        first, last = min(counted, key=counted.__getitem__), max(counted, key=counted.__getitem__)
        caption += f" {level:.2%} was reached by {first} after {counted[first]:,} steps"
        caption += (
            f", by {last} after {counted[last]:,}, {counted[last] / counted[first]:.1f} times as many."
            if counted[last] > counted[first]
            else ", as by all others."
        )
    never = [name for name, count in steps.items() if count is None]
    if never:
        caption += f" {' and '.join(never)} never reached {level:.2%}."
    caption += " Measured after each epoch."
    return Chart(
        title="Errors over the training",
        caption=caption,
        lines=lines,
        x_label="steps",
        y_label="share of test images answered wrongly",
        y_log=all(float(line.y.min()) > 0 for line in lines),
    )


def _losses(known: Sequence[Trained]) -> Chart:
    lines = []
    for one in known:
        assert one.history is not None
        steps = one.history.steps
        lines.append(Line(name=one.name, x=np.array(steps.step), y=np.array(steps.loss)))
    least = min(known, key=lambda one: one.history.epochs[-1].loss if one.history else np.inf)
    assert least.history is not None
    return Chart(
        title="Loss of the steps",
        caption=f"{least.name} ends with the lowest training loss, {least.history.epochs[-1].loss:.4f} as the "
        "mean of its last epoch. Each point is the mean over a few steps.",
        lines=lines,
        x_label="steps",
        y_label="training loss",
        y_log=all(float(line.y.min()) > 0 for line in lines),
    )


def _table(trained: Sequence[Trained], level: float | None) -> Table:
    columns = ["subject", "parameters", "epochs", "steps", "training", "test", "gap"]
    columns += ["seconds", *([f"to {level:.2%}"] if level is not None else [])]
    rows: list[list[Cell]] = []
    for one in trained:
        if one.history is None:
            rows.append([one.name, one.subject.parameters, *[None] * (len(columns) - 2)])
            continue
        last = one.history.epochs[-1]
        learnt, test = one.subject.card.results.get("train_accuracy", last.accuracy), last.test_accuracy
        row: list[Cell] = [one.name, one.subject.parameters, last.epoch, last.steps]
        row += [learnt, test, learnt - test, sum(epoch.seconds for epoch in one.history.epochs)]
        rows.append(row + ([reached(one.history, level)] if level is not None else []))
    finals = {one.name: one.history.epochs[-1] for one in trained if one.history is not None}
    caption = "None of the subjects has a history of its training."
    if finals:
        name, last = max(finals.items(), key=lambda item: item[1].test_accuracy)
        caption = (
            f"{name} has the highest test accuracy, {last.test_accuracy:.2%}, after {last.steps:,} steps. "
            "Training accuracy is of the finished network; the gap is what it does not carry over. The last "
            f"column counts the steps to a test accuracy of {level:.2%}."
        )
    share = "{:.2%}"
    formats = {"parameters": "{:,}", "steps": "{:,}", "seconds": "{:,.0f}"}
    formats |= {"training": share, "test": share, "gap": share, columns[-1]: "{:,.0f}"}
    return Table(
        title="The trainings in figures", caption=caption, columns=columns, rows=rows, formats=formats
    )
