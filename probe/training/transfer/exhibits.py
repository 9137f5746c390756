"""Exhibits of a transfer: test accuracy of the strategies, their learning curves, and linear probes."""

from dataclasses import dataclass

import numpy as np

from probe.exhibits.exhibits import Cell, Chart, Line, Table
from probe.exhibits.result import Number, Result, proportion
from probe.exhibits.wording import counted, listed, sentences, snake_case
from probe.statistics import wilson_interval
from probe.training.transfer.progress import TransferResult


@dataclass(frozen=True)
class StrategyFindings:
    """The best strategy of transfer beside training from scratch.

    best, scratch: test accuracies on `test_images`. gap: best - scratch in percentage points, to one decimal.
    significant: whether their 95% intervals do not overlap.
    """

    best_name: str
    best: float
    scratch: float
    gap: float
    significant: bool
    train_images: int
    test_images: int
    backbone: str


@dataclass(frozen=True)
class ProbeFindings:
    """Test accuracies of linear probes on the pixels, on the best layer and on the last layer of `model`."""

    model: str
    best_layer: str
    best: float
    pixels: float
    last: float


def strategies_caption(f: StrategyFindings) -> str:
    result = (
        f"With {counted(f.train_images, 'training image')}, the best strategy ({f.best_name}) has a test accuracy of "
        f"{f.best:.1%} on {counted(f.test_images)}"
    )
    return sentences(
        f.gap == 0 and f"{result}, the same as training from scratch: pretraining gains nothing here.",
        f.gap < 0 and f"{result}; training from scratch has {f.scratch:.1%}: pretraining does not help here.",
        f.gap > 0
        and f"{result}; training from scratch has {f.scratch:.1%}, {f.gap:.1f} percentage points less"
        + ("." if f.significant else "; the difference is not significant."),
        f"The backbone is {f.backbone}. Error bars: 95% intervals.",
    )


def saved_caption(name: str, accuracy: float, n: int, most_accurate: str) -> str:
    """accuracy: of the strategy `name`, whose network is saved, on n test images. most_accurate: of all strategies."""
    return sentences(
        f"The saved network is the most accurate one ({name}), with an accuracy of {accuracy:.1%} on {counted(n, 'test image')}."
        if name == most_accurate
        else f"The saved network ({name}) has an accuracy of {accuracy:.1%} on {counted(n, 'test image')}. It is the second best: the "
        f"architecture cannot include the hidden layer of the best one ({most_accurate}).",
        "It was chosen on these test images: its accuracy on others may be a little lower.",
    )


def curves_caption(first_epoch: dict[str, float]) -> str:
    """first_epoch: the test accuracy of each strategy after its first epoch."""
    return sentences(
        "Test accuracy after the first epoch: "
        + listed([f"{accuracy:.0%} ({name})" for name, accuracy in first_epoch.items()])
        + ".",
        "Fine-tuning starts from the head trained on the frozen backbone.",
    )


def probes_caption(f: ProbeFindings) -> str:
    return sentences(
        f"A linear classifier on the features of {f.best_layer} of {f.model} has the highest test accuracy, {f.best:.1%}.",
        f"On the pixels it has {f.pixels:.1%}, on the last layer {f.last:.1%}.",
    )


def transfer_result(result: TransferResult, backbone: str) -> Result:
    """The exhibits and numbers of a transfer. backbone: the model that it started from."""
    n = len(result.test)
    numbers = {
        f"test_accuracy_{snake_case(strategy.name)}": proportion(
            round(strategy.test_accuracy * n), n, label=f"test accuracy, {strategy.name}"
        )
        for strategy in result.strategies
    }
    gain = result.best_transfer.test_accuracy - result.scratch.test_accuracy
    numbers["gain_over_scratch"] = Number(
        value=100 * gain, label="gain over training from scratch, percentage points", format="{:.1f}"
    )
    return Result(
        exhibits=[
            strategy_accuracies(result, backbone),
            strategy_table(result),
            strategy_curves(result),
            probe_accuracies(result, backbone),
        ],
        numbers=numbers,
    )


def strategy_table(result: TransferResult) -> Table:
    """What each strategy trains, and its test accuracy."""
    rows: list[list[Cell]] = [
        [
            strategy.name,
            strategy.trainable_parameters,
            len(strategy.epochs) or None,
            strategy.test_accuracy,
            "yes" if strategy is result.saved else "",
        ]
        for strategy in result.strategies
    ]
    n = len(result.test)
    most_accurate = max(result.strategies, key=lambda strategy: strategy.test_accuracy)
    return Table(
        title="Strategies",
        caption=saved_caption(result.saved.name, result.saved.test_accuracy, n, most_accurate.name),
        columns=["strategy", "trained parameters", "epochs on images", "test accuracy", "saved"],
        rows=rows,
        formats={"trained parameters": "{:,}", "test accuracy": "{:.1%}"},
        facts={"test_images": n},
    )


def strategy_accuracies(result: TransferResult, backbone: str) -> Chart:
    """The test accuracy of each strategy with its 95% interval."""
    n = len(result.test)
    intervals = [wilson_interval(strategy.test_accuracy * n, n) for strategy in result.strategies]
    return Chart(
        title="Four transfer strategies",
        caption=strategies_caption(strategy_findings(result, backbone)),
        lines=[
            Line(
                name="test accuracy",
                x=np.arange(len(result.strategies)),
                y=np.array([strategy.test_accuracy for strategy in result.strategies]),
                low=np.array([low for low, _ in intervals]),
                high=np.array([high for _, high in intervals]),
            )
        ],
        x_label="",
        y_label="test accuracy",
        kind="bar",
        y_range=(0, 1),
        ticks=[strategy.name for strategy in result.strategies],
    )


def strategy_findings(result: TransferResult, backbone: str) -> StrategyFindings:
    best, scratch, n = result.best_transfer, result.scratch, len(result.test)
    low, _ = wilson_interval(best.test_accuracy * n, n)
    _, high = wilson_interval(scratch.test_accuracy * n, n)
    return StrategyFindings(
        best_name=best.name,
        best=best.test_accuracy,
        scratch=scratch.test_accuracy,
        gap=round(100 * (best.test_accuracy - scratch.test_accuracy), 1),
        significant=low >= high,
        train_images=len(result.train),
        test_images=n,
        backbone=backbone,
    )


def strategy_curves(result: TransferResult) -> Chart:
    """The test accuracy after each epoch of the strategies that train on images."""
    strategies = [strategy for strategy in result.strategies if strategy.epochs]
    return Chart(
        title="Learning curves of the strategies that train on images",
        caption=curves_caption({strategy.name: strategy.epochs[0].test_accuracy for strategy in strategies}),
        lines=[
            Line(
                name=strategy.name,
                x=np.array([epoch.epoch for epoch in strategy.epochs]),
                y=np.array([epoch.test_accuracy for epoch in strategy.epochs]),
            )
            for strategy in strategies
        ],
        x_label="epoch",
        y_label="test accuracy",
        y_range=(0, 1),
    )


def probe_accuracies(result: TransferResult, backbone: str) -> Chart:
    """The test accuracy of a linear probe on the pixels and on layers from first to last."""
    names, accuracies = list(result.probes), np.array(list(result.probes.values()))
    best = int(accuracies[1:].argmax()) + 1
    findings = ProbeFindings(
        model=backbone,
        best_layer=names[best],
        best=accuracies[best],
        pixels=accuracies[0],
        last=accuracies[-1],
    )
    return Chart(
        title="Linear probes",
        caption=probes_caption(findings),
        lines=[Line(name="test accuracy", x=np.arange(len(names)), y=accuracies)],
        x_label="input of the linear classifier",
        y_label="test accuracy",
        kind="bar",
        y_range=(0, 1),
        ticks=names,
    )
