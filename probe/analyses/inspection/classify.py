"""How accurate is the network, which classes does it confuse, and is it well calibrated?"""

from collections.abc import Iterable

import numpy as np
from pydantic import Field

from probe.analyses.analysis import Analysis
from probe.analyses.image_chunks import over_images
from probe.analyses.inspection import classify_exhibits as show
from probe.analyses.inspection import classify_unlabelled as unlabelled
from probe.analyses.inspection.classify_captions import WarningFindings, prediction_warnings
from probe.analyses.job import Arrays, Job
from probe.data.images import Batch, Images
from probe.exhibits.result import Number, Result, proportion
from probe.methods.inspection.predictions import (
    TOP_K,
    Predictions,
    gather_predictions,
    raw_predictions,
    reliability,
)
from probe.model.model import Model


class Classify(Analysis):
    """How accurate is the network, which classes does it confuse, and is it well calibrated?"""

    name = "classify"
    title = "Classification"
    source = "Guo et al. 2017, arXiv 1706.04599 (calibration); Wilson 1927 (intervals)"
    headlines = ("accuracy", "expected_calibration_error")
    failures = "misclassified images"

    bins: int = Field(15, ge=2, le=100, description="number of bins in the reliability diagram")
    examples: int = Field(
        20,
        ge=1,
        le=200,
        description="number of images to show: the most confident misclassifications, or predictions if there are no "
        "labels",
    )

    def run(self, model: Model, images: Images, job: Job) -> Result:
        predictions = _predictions(model, images, job)
        warnings = prediction_warnings(_warning_findings(predictions, model))
        if predictions.labels is None:
            return self._unlabelled(predictions, model, images, warnings)
        bins = reliability(predictions.confidence, predictions.correct, self.bins)
        return Result(
            exhibits=[
                show.confusion(predictions, model.classes, images),
                *show.class_accuracy(predictions, model.classes),
                *show.misclassified_images(predictions, model, images, limit=self.examples),
                show.calibration(bins, predictions),
                show.confidence_histogram(predictions, self.bins),
            ],
            numbers=_numbers(predictions, bins.calibration_error, classes=len(model.classes)),
            warnings=warnings,
        )

    def _unlabelled(
        self, predictions: Predictions, model: Model, images: Images, warnings: list[str]
    ) -> Result:
        predicted = Number(
            value=len(np.unique(predictions.classes)),
            label="classes that are predicted",
            n=len(images),
            format="{:.0f}",
        )
        return Result(
            exhibits=[
                unlabelled.prediction_grid(predictions, model, images, limit=self.examples),
                unlabelled.predicted_classes(predictions, model.classes),
                unlabelled.prediction_table(predictions, model, images),
            ],
            numbers={"mean_confidence": _mean_confidence(predictions), "predicted_classes": predicted},
            warnings=warnings,
        )


def _predictions(model: Model, images: Images, job: Job) -> Predictions:
    def compute(batches: Iterable[Batch], _: int) -> Arrays:
        return raw_predictions(model, batches)

    return gather_predictions(over_images(job, "classify", model, images, compute), model, images)


def _numbers(predictions: Predictions, calibration_error: float, *, classes: int) -> dict[str, Number]:
    n = len(predictions)
    numbers = {"accuracy": proportion(int(predictions.correct.sum()), n, label="accuracy")}
    if classes > TOP_K:
        hits = int(predictions.correct_top_k.sum())
        numbers["accuracy_top5"] = proportion(hits, n, label="top-5 accuracy")
    numbers["expected_calibration_error"] = Number(
        value=calibration_error, label="expected calibration error", n=n, format="{:.3f}"
    )
    numbers["mean_confidence"] = _mean_confidence(predictions)
    return numbers


def _mean_confidence(predictions: Predictions) -> Number:
    value = float(predictions.confidence.mean())
    return Number(value=value, label="mean confidence", n=len(predictions), format="{:.1%}")


def _warning_findings(predictions: Predictions, model: Model) -> WarningFindings:
    counts = np.bincount(predictions.classes, minlength=len(model.classes))
    mode = int(counts.argmax())
    labels = predictions.labels
    return WarningFindings(
        n=len(predictions),
        classes=len(model.classes),
        softmax_outputs=predictions.softmax_outputs,
        mode=model.classes[mode],
        mode_fraction=float(counts[mode] / len(predictions)),
        mode_true_fraction=None if labels is None else float((labels == mode).mean()),
    )
