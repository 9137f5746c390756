"""Exhibits of `classify` for images with labels: confusions, accuracy by class, misclassified images, calibration."""

from dataclasses import replace

import numpy as np

from probe.analyses.inspection import classify_captions as captions
from probe.analyses.inspection.classify_captions import CONFIDENT
from probe.data.images import Images
from probe.data.thumbnails import thumbnails
from probe.exhibits.exhibits import (
    Array,
    CellImages,
    Chart,
    Exhibit,
    ImageGrid,
    Line,
    Matrix,
    Scale,
    Table,
    facts_of,
)
from probe.exhibits.tiles import to_images
from probe.methods.inspection.predictions import Predictions, Reliability, confusion_matrix
from probe.model.model import Model
from probe.statistics import wilson_interval

_MAX_MATRIX_CLASSES = 20
_MAX_BARS = 40
_MAX_PAIRS, _MAX_CONFIDENT_PAIRS = 25, 10
_MAX_CELL_IMAGES, _WRONG_IN_CELL, _CORRECT_IN_CELL = 200, 12, 4
_THUMBNAIL_SIDE = 64


def confusion(predictions: Predictions, classes: tuple[str, ...], images: Images) -> Exhibit:
    """The confusion matrix with images of its cells; where there are more than 20 classes, the pairs that are confused
    more than once.

    If there are none, the most confident misclassifications.
    """
    assert predictions.labels is not None
    counts = confusion_matrix(predictions.labels, predictions.classes, len(classes))
    errors = counts.copy()
    np.fill_diagonal(errors, 0)
    order = np.argsort(-errors, axis=None, kind="stable")[:_MAX_PAIRS]
    pairs = [divmod(int(flat), len(classes)) for flat in order if errors.flat[flat]]
    repeated = [pair for pair in pairs if errors[pair] > 1]
    class_sizes = counts.sum(1)
    true, predicted = pairs[0] if pairs else (0, 0)
    pair_count = int(errors[true, predicted])
    findings = captions.ConfusionFindings(
        n=len(predictions),
        misclassified=int(errors.sum()),
        true=classes[true],
        predicted=classes[predicted],
        pair_count=pair_count,
        class_size=int(class_sizes[true]),
        error_fraction=pair_count / max(1, int(errors.sum())),
        ties=int((errors == pair_count).sum()) - 1,
        empty_rows=not class_sizes.all(),
        repeated=int((errors > 1).sum()),
        listed=len(repeated),
    )
    if len(classes) <= _MAX_MATRIX_CLASSES:
        percentages = 100 * counts / np.where(class_sizes, class_sizes, np.nan)[:, None]
        return Matrix(
            title="Confusion matrix",
            caption=captions.confusion_matrix_caption(findings),
            facts=facts_of(findings),
            values=percentages.astype(np.float32),
            row_labels=list(classes),
            column_labels=list(classes),
            row_title="true class",
            column_title="predicted class",
            format="{:.0f}" if len(predictions) < 1000 else "{:.1f}",
            scale=Scale(low=0, high=100, kind="sequential", label="% of class"),
            cell_images=_cell_images(predictions, images, counts),
        )
    if pairs and not repeated:
        return _confident_confusions(predictions, classes, findings)
    return Table(
        title="Most confused classes",
        caption=captions.confused_classes_caption(findings),
        facts=facts_of(findings),
        columns=["true class", "predicted class", "count", "images of the class", "fraction"],
        rows=[
            [
                classes[t],
                classes[p],
                int(errors[t, p]),
                int(class_sizes[t]),
                float(errors[t, p] / class_sizes[t]),
            ]
            for t, p in repeated
        ],
        formats={"fraction": "{:.0%}"},
    )


def _cell_images(predictions: Predictions, images: Images, counts: Array) -> CellImages:
    """Images of the cells of a confusion matrix: the most confident misclassifications, and some correct predictions."""
    assert predictions.labels is not None
    cells = np.stack([predictions.labels, predictions.classes], 1)
    room = {True: np.full(len(counts), _CORRECT_IN_CELL), False: np.full(counts.size, _WRONG_IN_CELL)}
    chosen: list[int] = []
    for correct in (False, True):
        members = np.flatnonzero(predictions.correct == correct)
        for i in members[np.argsort(-predictions.confidence[members], kind="stable")].tolist():
            cell = cells[i, 0] if correct else cells[i, 0] * len(counts) + cells[i, 1]
            if room[correct][cell] and len(chosen) < _MAX_CELL_IMAGES:
                room[correct][cell] -= 1
                chosen.append(i)
    return CellImages(
        images=thumbnails(images.select(chosen), _THUMBNAIL_SIDE),
        cells=cells[chosen],
        labels=[f"{images.ids[i]} ({predictions.confidence[i]:.2f})" for i in chosen],
        counts=counts,
    )


def _confident_confusions(
    predictions: Predictions, classes: tuple[str, ...], findings: captions.ConfusionFindings
) -> Table:
    """The most confident misclassifications, of which none is of the same two classes as another."""
    assert predictions.labels is not None
    wrong = np.flatnonzero(~predictions.correct)
    order = wrong[np.argsort(-predictions.confidence[wrong], kind="stable")][:_MAX_CONFIDENT_PAIRS]
    findings = replace(findings, listed=len(order))
    return Table(
        title="Most confidently confused classes",
        caption=captions.confused_classes_caption(findings),
        facts=facts_of(findings),
        columns=["true class", "predicted class", "confidence"],
        rows=[
            [
                classes[predictions.labels[i]],
                classes[predictions.classes[i]],
                float(predictions.confidence[i]),
            ]
            for i in order
        ],
        formats={"confidence": "{:.2f}"},
    )


def class_accuracy(predictions: Predictions, classes: tuple[str, ...]) -> list[Exhibit]:
    """Accuracy by class as a chart, or of the least accurate classes where there are more than 40.

    Empty where there are fewer than five images a class, or images of one class only.
    """
    assert predictions.labels is not None
    n = np.bincount(predictions.labels, minlength=len(classes))
    hits = np.bincount(predictions.labels, weights=predictions.correct, minlength=len(classes))
    present = np.flatnonzero(n)
    if len(predictions) < 5 * len(present) or len(present) < 2:
        return []
    accuracy = hits[present] / n[present]
    low, high = np.array([wilson_interval(hits[c], int(n[c])) for c in present]).T
    chart = len(present) <= _MAX_BARS
    rows = np.arange(len(present)) if chart else np.argsort(accuracy, kind="stable")[:_MAX_BARS]
    findings = captions.ClassAccuracyFindings(
        worst=classes[present[accuracy.argmin()]],
        worst_accuracy=float(accuracy.min()),
        best=classes[present[accuracy.argmax()]],
        best_accuracy=float(accuracy.max()),
        fewest_images=int(n[present].min()),
        most_images=int(n[present].max()),
        listed=len(rows),
        classes=len(present),
    )
    if chart:
        bars = Line(name="accuracy", x=np.arange(len(present)), y=accuracy, low=low, high=high)
        return [
            Chart(
                title="Accuracy by class",
                caption=captions.class_accuracy_caption(findings),
                facts=facts_of(findings),
                lines=[bars],
                x_label="class",
                y_label="accuracy",
                kind="bar",
                y_range=(0, 1),
                ticks=[classes[c] for c in present],
            )
        ]
    return [
        Table(
            title="Least accurate classes",
            caption=captions.class_accuracy_caption(findings),
            facts=facts_of(findings),
            columns=["class", "accuracy", "from", "to", "images"],
            rows=[
                [classes[present[r]], float(accuracy[r]), float(low[r]), float(high[r]), int(n[present[r]])]
                for r in rows
            ],
            formats={"accuracy": "{:.1%}", "from": "{:.1%}", "to": "{:.1%}"},
        )
    ]


def misclassified_images(
    predictions: Predictions, model: Model, images: Images, *, limit: int
) -> list[Exhibit]:
    """The `limit` most confident misclassified images; empty where every prediction is correct."""
    assert predictions.labels is not None
    wrong = np.flatnonzero(~predictions.correct)
    if not len(wrong):
        return []
    confidence = predictions.confidence
    shown = wrong[np.argsort(-confidence[wrong], kind="stable")][:limit]
    findings = captions.MisclassificationFindings(
        misclassified=len(wrong),
        shown=len(shown),
        confident=int((confidence[wrong] > CONFIDENT).sum()),
        min_confidence=float(confidence[shown[-1]]),
    )
    return [
        ImageGrid(
            title="Most confident misclassifications",
            caption=captions.misclassifications_caption(findings),
            facts=facts_of(findings),
            images=to_images(images.select(shown).pixels()),
            labels=[
                f"{model.classes[predictions.labels[i]]}\n\u2192 {prediction_label(predictions, model, int(i))}"
                for i in shown
            ],
            failures=True,
        )
    ]


def calibration_findings(bins: Reliability, predictions: Predictions) -> captions.CalibrationFindings:
    """Mean confidence beside accuracy; their difference is significant outside the accuracy's 95% interval."""
    low, high = wilson_interval(float(predictions.correct.sum()), len(predictions))
    mean_confidence = float(predictions.confidence.mean())
    return captions.CalibrationFindings(
        mean_confidence=mean_confidence,
        accuracy=float(predictions.correct.mean()),
        significant=not low <= mean_confidence <= high,
        calibration_error=bins.calibration_error,
        bins=len(bins.count),
        empty_bins=bool((bins.count == 0).any()),
    )


def calibration(bins: Reliability, predictions: Predictions) -> Chart:
    """Reliability diagram: accuracy against confidence in bins."""
    full = bins.count > 0
    hits = bins.accuracy[full] * bins.count[full]
    low, high = np.array([wilson_interval(h, int(n)) for h, n in zip(hits, bins.count[full], strict=True)]).T
    findings = calibration_findings(bins, predictions)
    return Chart(
        title="Calibration",
        caption=captions.calibration_caption(findings),
        facts=facts_of(findings),
        lines=[
            Line(name="network", x=bins.confidence[full], y=bins.accuracy[full], low=low, high=high),
            Line(name="perfect calibration", x=np.array([0.0, 1.0]), y=np.array([0.0, 1.0]), dashed=True),
        ],
        x_label="mean confidence of the bin",
        y_label="accuracy",
        y_range=(0, 1),
    )


def confidence_histogram(predictions: Predictions, bins: int) -> Chart:
    """Number of predictions in each bin of confidence, from the first that is not empty."""
    findings = captions.ConfidenceFindings(
        median_correct=_median(predictions.confidence[predictions.correct]),
        median_incorrect=_median(predictions.confidence[~predictions.correct]),
    )
    edges = np.linspace(0, 1, bins + 1)
    correct, incorrect = (
        np.histogram(predictions.confidence[rows].clip(0, 1), edges)[0]
        for rows in (predictions.correct, ~predictions.correct)
    )
    first = int(np.flatnonzero(correct + incorrect)[0])
    x = np.arange(bins - first)
    return Chart(
        title="Distribution of confidence",
        caption=captions.confidence_caption(findings),
        facts=facts_of(findings),
        lines=[
            Line(name="correct", x=x, y=correct[first:]),
            Line(name="incorrect", x=x, y=incorrect[first:]),
        ],
        x_label="confidence",
        y_label="predictions",
        kind="bar",
        ticks=[f"to {edge:.2f}" for edge in edges[first + 1 :]],
    )


def _median(values: Array) -> float | None:
    return float(np.median(values)) if len(values) else None


def prediction_label(predictions: Predictions, model: Model, position: int) -> str:
    """The predicted class of an image with its confidence."""
    return f"{model.classes[predictions.classes[position]]} ({predictions.confidence[position]:.0%})"
