"""Learning curves and confusion matrix of a finished training."""

from dataclasses import dataclass

import numpy as np
import torch

from probe.data.images import Images
from probe.exhibits.exhibits import Chart, Line, Matrix
from probe.exhibits.wording import counted, sentences
from probe.model.model import Model
from probe.training.history import History


@dataclass(frozen=True)
class LearningCurveFindings:
    """The end of a training. train_accuracy: mean over the last epoch, on augmented images."""

    epochs: int
    steps: int
    test_accuracy: float
    train_accuracy: float


@dataclass(frozen=True)
class ConfusionFindings:
    """Of `n` images of `split`, `correct` were classified correctly.

    confused: images of class `true_class`, of which there are `class_size`, predicted as `predicted_class`: the most
    frequent confusion.
    """

    correct: int
    n: int
    split: str
    confused: int
    class_size: int
    true_class: str
    predicted_class: str


def learning_curve_caption(f: LearningCurveFindings) -> str:
    return sentences(
        f"Test accuracy is {f.test_accuracy:.2%} after {counted(f.epochs, 'epoch')} ({counted(f.steps, 'step')}).",
        f"Training accuracy, measured on the augmented images of the last epoch, is {f.train_accuracy:.2%}.",
    )


def confusion_caption(f: ConfusionFindings) -> str:
    return sentences(
        f"{f.correct:,} of {counted(f.n)} of {f.split} are classified correctly.",
        f.confused > 0
        and f"The most frequent confusion: {f.confused:,} of {counted(f.class_size)} of class {f.true_class} "
        f"predicted as {f.predicted_class}.",
    )


@torch.inference_mode()
def confusion_counts(model: Model, images: Images) -> np.ndarray:
    """(classes, classes) counts: rows are the true classes of `images`, columns the predicted ones."""
    assert images.labels is not None
    classes = len(model.classes)
    cells = []
    for batch in images.batches(model.batch(), model.device):
        assert batch.labels is not None
        cells.append(batch.labels * classes + model.logits(batch.pixels).argmax(1))
    return torch.cat(cells).bincount(minlength=classes**2).view(classes, classes).cpu().numpy()


def learning_curves(history: History, name: str) -> Chart:
    """Error rate on training and test images after each epoch."""
    epochs = history.epochs
    x = np.array([epoch.epoch for epoch in epochs])
    last = epochs[-1]

    def line(title: str, accuracies: list[float]) -> Line:
        return Line(name=title, x=x, y=1 - np.array(accuracies, dtype=np.float32))

    lines = [
        line("training images, augmented", [e.accuracy for e in epochs]),
        line("test images", [e.test_accuracy for e in epochs]),
    ]
    if last.validation_accuracy is not None:
        lines.append(line("validation images", [e.validation_accuracy or 0.0 for e in epochs]))
    findings = LearningCurveFindings(last.epoch, last.steps, last.test_accuracy, last.accuracy)
    return Chart(
        title=f"Learning curves of {name}",
        caption=learning_curve_caption(findings),
        lines=lines,
        x_label="epoch",
        y_label="error rate",
        y_log=all(float(line.y.min()) > 0 for line in lines),
    )


def confusion_matrix(counts: np.ndarray, classes: tuple[str, ...], split: str) -> Matrix:
    """The confusion matrix, each row as fractions of the images of its class."""
    fractions = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    wrong = counts * (1 - np.eye(len(counts), dtype=counts.dtype))
    row, column = np.unravel_index(int(wrong.argmax()), wrong.shape)
    findings = ConfusionFindings(
        correct=int(counts.trace()),
        n=int(counts.sum()),
        split=split,
        confused=int(wrong[row, column]),
        class_size=int(counts[row].sum()),
        true_class=classes[row],
        predicted_class=classes[column],
    )
    return Matrix(
        title="Confusion matrix",
        caption=confusion_caption(findings),
        values=fractions.astype(np.float32),
        row_labels=list(classes),
        column_labels=list(classes),
        row_title="true class",
        column_title="predicted class",
        format="{:.0%}" if len(classes) <= 20 else "",
    )
