"""What is shown of a transfer: its four ways side by side, their courses, and the linear probes."""

import numpy as np

from probe.exhibits.exhibits import Chart, Exhibit, Line
from probe.statistics import wilson_interval
from probe.training.transfer.strategies import Strategy, Transferred


def exhibits(done: Transferred, trunk: str) -> dict[str, Exhibit]:
    """By the name of its file. trunk: the model that the transfer started from."""
    return {"ways": compared(done, trunk), "courses": courses(done), "probes": probed(done, trunk)}


def compared(done: Transferred, trunk: str) -> Chart:
    """The test accuracy of each way, with the gap to training from scratch in the caption."""
    ways, n = done.ways, len(done.test)
    bands = [wilson_interval(way.accuracy * n, n) for way in ways]
    return Chart(
        title="Four ways to the same classes",
        caption=f"{_gap(ways, len(done.train), n)} A head on features computed once took {ways[0].seconds:.1f} s; "
        f"with the frozen trunk of {trunk} in the loop, {ways[1].seconds:.1f} s. Whiskers: 95 %.",
        lines=[
            Line(
                name="test accuracy",
                x=np.arange(len(ways)),
                y=np.array([way.accuracy for way in ways]),
                low=np.array([low for low, _ in bands]),
                high=np.array([high for _, high in bands]),
            )
        ],
        x_label="",
        y_label="test accuracy",
        kind="bar",
        y_range=(0, 1),
        ticks=[way.name for way in ways],
    )


def _gap(ways: list[Strategy], few: int, n: int) -> str:
    best, scratch = max(ways[:-1], key=lambda way: way.accuracy), ways[-1]
    gap = round(100 * (best.accuracy - scratch.accuracy), 1)
    reached = f"With {few:,} training images {best.name} reaches {best.accuracy:.1%} of {n:,} test images"
    if gap == 0:
        return f"{reached}, as training from scratch does: the trunk gains nothing here."
    if gap < 0:
        return f"{reached}, training from scratch {scratch.accuracy:.1%}: here the trunk does not help."
    alike = wilson_interval(best.accuracy * n, n)[0] < wilson_interval(scratch.accuracy * n, n)[1]
    doubt = ", which so few test images cannot tell from chance" if alike else ""
    return f"{reached}, training from scratch {scratch.accuracy:.1%}: a gap of {gap:.1f} points{doubt}."


def courses(done: Transferred) -> Chart:
    """The test accuracy after each epoch of the ways that see the images."""
    ways = [way for way in done.ways if way.epochs]
    first = ", ".join(f"{way.name} {way.epochs[0].test_accuracy:.0%}" for way in ways)
    return Chart(
        title="Courses of the ways that see the images",
        caption=f"After the first epoch: {first}. Fine-tuning starts where the head on the frozen trunk ends.",
        lines=[
            Line(
                name=way.name,
                x=np.array([epoch.epoch for epoch in way.epochs]),
                y=np.array([epoch.test_accuracy for epoch in way.epochs]),
            )
            for way in ways
        ],
        x_label="epoch",
        y_label="test accuracy",
        y_range=(0, 1),
    )


def probed(done: Transferred, trunk: str) -> Chart:
    """The test accuracy of a linear classifier on the pixels and on layers from first to last."""
    names, values = list(done.probes), np.array(list(done.probes.values()))
    best = int(values[1:].argmax()) + 1
    return Chart(
        title="Linear probes",
        caption=f"A linear classifier on {names[best]} of {trunk} tells {values[best]:.1%} of the test images apart, "
        f"on the pixels {values[0]:.1%}, on the last layer {values[-1]:.1%}.",
        lines=[Line(name="test accuracy", x=np.arange(len(names)), y=values)],
        x_label="what the linear classifier reads",
        y_label="test accuracy",
        kind="bar",
        y_range=(0, 1),
        ticks=names,
    )
