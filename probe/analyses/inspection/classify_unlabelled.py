"""Exhibits of `classify` for images without labels, with their captions."""

from dataclasses import dataclass

import numpy as np

from probe.analyses.inspection.classify_exhibits import prediction_label
from probe.data.images import Images
from probe.exhibits.exhibits import Chart, ImageGrid, Line, Table, facts_of
from probe.exhibits.tiles import to_images
from probe.exhibits.wording import sentences
from probe.methods.inspection.predictions import Predictions
from probe.model.model import Model

_MAX_TICKS = 20
_MAX_BARS = 40
_MAX_ROWS = 500


@dataclass(frozen=True, kw_only=True)
class PredictedClassFindings:
    """The predicted classes of n images.

    predicted, shown, classes: how many classes are predicted, shown, known to the model. mode, mode_count: the most
    frequent prediction.
    """

    n: int
    predicted: int
    shown: int
    classes: int
    mode: str
    mode_count: int


def predicted_classes_caption(f: PredictedClassFindings) -> str:
    if f.predicted == 1:
        return (
            f"Every image is classified as {f.mode}." if f.n > 1 else f"The image is classified as {f.mode}."
        )
    predicted = f"All {f.classes:,}" if f.predicted == f.classes else f"{f.predicted:,} of {f.classes:,}"
    return sentences(
        f"{predicted} classes are predicted, most often {f.mode}: {f.mode_count:,} of {f.n:,} images.",
        f.shown < f.predicted and f"The {f.shown:,} most frequent are shown.",
    )


@dataclass(frozen=True, kw_only=True)
class PredictionTableFindings:
    """below_half: how many of n predictions have a confidence below 0.5. listed: how many are in the table."""

    n: int
    below_half: int
    listed: int
    half: float = 0.5


def prediction_table_caption(f: PredictionTableFindings) -> str:
    which = f"{f.below_half:,} of {f.n:,} predictions {'has' if f.below_half == 1 else 'have'}"
    if f.n == 1 or not f.below_half:
        which = "The prediction has" if f.below_half else "No prediction has"
    return sentences(
        f"{which} a confidence below {f.half}.",
        f.listed < f.n and f"The first {f.listed:,} images are listed.",
    )


@dataclass(frozen=True, kw_only=True)
class PredictionGridFindings:
    """The first `shown` of `n` images; the least confident prediction among them."""

    n: int
    shown: int
    lowest_prediction: str
    min_confidence: float


def prediction_grid_caption(f: PredictionGridFindings) -> str:
    first = f"The first {f.shown:,}" if f.shown > 1 else "The first"
    which = f"All {f.n:,} images" if f.shown == f.n else f"{first} of {f.n:,} images"
    return sentences(
        f"{'The image' if f.n == 1 else which} with the predicted class and its confidence.",
        f.shown > 1 and f"The least confident prediction is {f.lowest_prediction} ({f.min_confidence:.0%}).",
    )


def prediction_grid(predictions: Predictions, model: Model, images: Images, *, limit: int) -> ImageGrid:
    """The first `limit` images with their predictions, for images without labels."""
    shown = np.arange(min(limit, len(images)))
    lowest = int(predictions.confidence[shown].argmin())
    findings = PredictionGridFindings(
        n=len(images),
        shown=len(shown),
        lowest_prediction=model.classes[predictions.classes[lowest]],
        min_confidence=float(predictions.confidence[lowest]),
    )
    return ImageGrid(
        title="Predictions",
        caption=prediction_grid_caption(findings),
        facts=facts_of(findings),
        images=to_images(images.select(shown).pixels()),
        labels=[prediction_label(predictions, model, int(i)) for i in shown],
    )


def predicted_classes(predictions: Predictions, classes: tuple[str, ...]) -> Chart:
    """How often each class is predicted, or of the most frequent where there are more than 20 classes."""
    counts = np.bincount(predictions.classes, minlength=len(classes))
    order = np.argsort(-counts, kind="stable")
    many = len(counts) > _MAX_TICKS
    order = order[counts[order] > 0][:_MAX_BARS] if many else np.arange(len(counts))
    predicted = int((counts > 0).sum())
    mode = int(counts.argmax())
    findings = PredictedClassFindings(
        n=len(predictions),
        predicted=predicted,
        shown=len(order),
        classes=len(classes),
        mode=classes[mode],
        mode_count=int(counts[mode]),
    )
    return Chart(
        title="Predicted classes",
        caption=predicted_classes_caption(findings),
        facts=facts_of(findings),
        lines=[Line(name="predictions", x=np.arange(len(order)), y=counts[order])],
        x_label="class",
        y_label="images",
        kind="bar",
        ticks=[classes[c] for c in order],
    )


def prediction_table(predictions: Predictions, model: Model, images: Images) -> Table:
    """The two most probable classes of each of the first 500 images."""
    findings = PredictionTableFindings(
        n=len(predictions),
        below_half=int((predictions.confidence < 0.5).sum()),
        listed=min(len(predictions), _MAX_ROWS),
    )
    second = min(1, predictions.top_classes.shape[1] - 1)
    rows = zip(predictions.top_classes[:_MAX_ROWS], predictions.top_probabilities[:_MAX_ROWS], strict=True)
    return Table(
        title="Prediction for each image",
        caption=prediction_table_caption(findings),
        facts=facts_of(findings),
        columns=["image", "predicted class", "confidence", "second class", "its probability"],
        rows=[
            [
                images.ids[i],
                model.classes[classes[0]],
                float(probabilities[0]),
                model.classes[classes[second]],
                float(probabilities[second]),
            ]
            for i, (classes, probabilities) in enumerate(rows)
        ],
        formats={"confidence": "{:.3f}", "its probability": "{:.3f}"},
    )
