"""What is shown of a finished training: learning curves and the confusion matrix."""

import numpy as np
import torch

from probe.data.images import Images
from probe.exhibits.exhibits import Chart, Line, Matrix
from probe.model.model import Model
from probe.training.history import History


@torch.inference_mode()
def confusion(model: Model, images: Images) -> np.ndarray:
    """(classes, classes) counts: rows are the true classes of `images`, columns the model's answers."""
    assert images.labels is not None
    classes = len(model.classes)
    cells = []
    for batch in images.batches(model.batch(), model.device):
        assert batch.labels is not None
        cells.append(batch.labels * classes + model.logits(batch.pixels).argmax(1))
    return torch.cat(cells).bincount(minlength=classes**2).view(classes, classes).cpu().numpy()


def learning_curves(history: History, name: str) -> Chart:
    """Error on training and test images after each epoch."""
    epochs = history.epochs
    x = np.array([epoch.epoch for epoch in epochs])
    last = epochs[-1]

    def line(title: str, values: list[float]) -> Line:
        return Line(name=title, x=x, y=1 - np.array(values, dtype=np.float32))

    lines = [
        line("training images, as varied", [e.accuracy for e in epochs]),
        line("test images", [e.test_accuracy for e in epochs]),
    ]
    if last.validation_accuracy is not None:
        lines.append(line("held-out images", [e.validation_accuracy or 0.0 for e in epochs]))
    return Chart(
        title=f"Learning curves of {name}",
        caption=f"After {last.epoch} epochs ({last.steps:,} steps) {last.test_accuracy:.2%} of the test images "
        f"are answered rightly; training images, as the augmentation varied them, {last.accuracy:.2%}.",
        lines=lines,
        x_label="epoch",
        y_label="share answered wrongly",
        y_log=all(float(one.y.min()) > 0 for one in lines),
    )


def confusion_matrix(counts: np.ndarray, classes: tuple[str, ...], split: str) -> Matrix:
    """Shares of the answers for the images of each class, with the pair that is confused most named."""
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    wrong = counts * (1 - np.eye(len(counts), dtype=counts.dtype))
    row, column = np.unravel_index(int(wrong.argmax()), wrong.shape)
    caption = f"{counts.trace():,} of {counts.sum():,} images of {split} are answered rightly."
    if wrong.max() > 0:
        caption += (
            f" The commonest mistake: {wrong[row, column]:,} of {counts[row].sum():,} images of "
            f"{classes[row]} are taken for {classes[column]}."
        )
    return Matrix(
        title="Confusion matrix",
        caption=caption,
        values=shares.astype(np.float32),
        row_labels=list(classes),
        column_labels=list(classes),
        row_title="true class",
        column_title="answer",
        format="{:.0%}" if len(classes) <= 20 else "",
    )
