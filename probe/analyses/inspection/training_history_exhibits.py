"""Exhibits of `training-history`: errors, steps to an accuracy, losses and a summary of several trainings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from probe.analyses.inspection import training_history_captions as captions
from probe.exhibits.exhibits import Cell, Chart, Line, Table, facts_of
from probe.model.model import Model
from probe.training.history import History

StepsByAccuracy = Mapping[float, int | None]
"""Steps to each test accuracy; None where it is never reached."""


@dataclass(frozen=True)
class TrainedModel:
    """A model and the history of its training."""

    model: Model
    history: History

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def schedule(self) -> str:
        """Learning-rate schedule; empty where the card does not say."""
        return str(self.model.card.training.get("config", {}).get("schedule", ""))

    @property
    def final_accuracy(self) -> float:
        """Test accuracy of the finished network where its card has it, else after the last epoch."""
        stored = self.model.card.results.get("test_accuracy")
        return stored if isinstance(stored, float) else self.history.epochs[-1].test_accuracy

    @property
    def final_loss(self) -> float:
        """Training loss, mean over the last epoch."""
        return self.history.epochs[-1].loss


def error_chart(trained: Sequence[TrainedModel]) -> Chart:
    """Test error over the steps of training."""
    lines = []
    for entry in trained:
        epochs = entry.history.epochs
        x, y = [epoch.steps for epoch in epochs], [1 - epoch.test_accuracy for epoch in epochs]
        lines.append(Line(name=entry.name, x=np.array(x), y=np.array(y)))
    return Chart(
        title="Test error during training",
        caption=captions.errors_caption([(entry.name, entry.final_accuracy) for entry in trained]),
        lines=lines,
        x_label="steps",
        y_label="test error",
        y_log=all(float(line.y.min()) > 0 for line in lines),
    )


def steps_findings(
    trained: Sequence[TrainedModel], steps: Sequence[StepsByAccuracy], target_accuracy: float
) -> captions.StepsFindings:
    """steps: for each model, at all accuracies of the table."""
    return captions.StepsFindings(
        names=[entry.name for entry in trained],
        steps=[by_accuracy[target_accuracy] for by_accuracy in steps],
        target_accuracy=target_accuracy,
        empty_cells=any(count is None for by_accuracy in steps for count in by_accuracy.values()),
        schedules=sorted({entry.schedule for entry in trained} - {"", "constant"}),
    )


def steps_table(steps: Sequence[StepsByAccuracy], findings: captions.StepsFindings) -> Table:
    """Steps of each model to each accuracy."""
    rows: list[list[Cell]] = [
        [f"{accuracy:.2%}", *(by_accuracy[accuracy] for by_accuracy in steps)]
        for accuracy in sorted(steps[0])
    ]
    return Table(
        title="Steps to reach an accuracy",
        caption=captions.steps_caption(findings),
        facts=facts_of(findings) | ({} if findings.ratio is None else {"ratio": findings.ratio}),
        columns=["test accuracy", *findings.names],
        rows=rows,
        formats=dict.fromkeys(findings.names, "{:,}"),
    )


def loss_chart(trained: Sequence[TrainedModel]) -> Chart:
    """Training loss over the steps of training."""
    lines = [
        Line(name=entry.name, x=np.array(entry.history.steps.step), y=np.array(entry.history.steps.loss))
        for entry in trained
    ]
    lowest = min(trained, key=lambda entry: entry.final_loss)
    findings = captions.LossFindings(
        name=lowest.name,
        loss=lowest.final_loss,
        models=len(trained),
        every=max(entry.history.steps.every for entry in trained),
    )
    return Chart(
        title="Training loss",
        caption=captions.loss_caption(findings),
        facts=facts_of(findings),
        lines=lines,
        x_label="steps",
        y_label="training loss",
        y_log=all(float(line.y.min()) > 0 for line in lines),
    )


def summary_table(trained: Sequence[TrainedModel], missing: Sequence[Model]) -> Table:
    """Parameters, length and accuracies of each training. missing: models without a history."""
    columns = [
        "model",
        "parameters",
        "epochs",
        "steps",
        "training accuracy",
        "test accuracy",
        "gap",
        "seconds",
    ]
    rows: list[list[Cell]] = []
    for entry in trained:
        last = entry.history.epochs[-1]
        training, test = entry.model.card.results.get("train_accuracy", last.accuracy), entry.final_accuracy
        seconds = sum(epoch.seconds for epoch in entry.history.epochs)
        row: list[Cell] = [entry.name, entry.model.parameters, last.epoch, last.steps]
        rows.append([*row, training, test, training - test, seconds])
    for model in missing:
        rows.append([model.name, model.parameters, *[None] * 6])
    best = max(trained, key=lambda entry: entry.final_accuracy, default=None)
    findings = None
    if best is not None:
        findings = captions.SummaryFindings(
            name=best.name,
            accuracy=best.final_accuracy,
            steps=best.history.epochs[-1].steps,
            models=len(trained),
        )
    formats = {"parameters": "{:,}", "steps": "{:,}", "seconds": "{:,.0f}"}
    formats |= dict.fromkeys(["training accuracy", "test accuracy", "gap"], "{:.2%}")
    return Table(
        title="Summary of the trainings",
        caption=captions.summary_caption(findings),
        columns=columns,
        rows=rows,
        formats=formats,
    )
