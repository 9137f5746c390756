"""The predictions of a network for a set of images, their confusion matrix and their calibration."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from probe.data.images import Batch, Images
from probe.errors import UserError
from probe.model.model import Model

TOP_K = 5

Array = np.ndarray


@dataclass(frozen=True)
class Predictions:
    """The most probable classes of n images.

    top_classes, top_probabilities: (n, k), the most probable class first; k is 5, or fewer where there are fewer
    classes. labels: (n,) true classes, or None. softmax_outputs: whether the network gives probabilities itself.
    """

    top_classes: Array
    top_probabilities: Array
    labels: Array | None
    softmax_outputs: bool

    def __len__(self) -> int:
        return len(self.top_classes)

    @property
    def classes(self) -> Array:
        """(n,) predicted classes."""
        return self.top_classes[:, 0]

    @property
    def confidence(self) -> Array:
        """(n,) probabilities of the predicted classes."""
        return self.top_probabilities[:, 0]

    @property
    def correct(self) -> Array:
        """(n,) whether the predicted class is the true one. Raises ValueError without labels."""
        return self.classes == self._true_classes

    @property
    def correct_top_k(self) -> Array:
        """(n,) whether the true class is among the k most probable. Raises ValueError without labels."""
        return (self.top_classes == self._true_classes[:, None]).any(1)

    @property
    def _true_classes(self) -> Array:
        if self.labels is None:
            raise ValueError("the images have no labels: no prediction is known to be correct")
        return self.labels


def predict_images(model: Model, images: Images) -> Predictions:
    """The predictions of `model` for all of `images`, in one pass.

    Raises UserError where the logits are not finite.
    """
    batches = images.batches(model.batch(), model.device)
    return gather_predictions([raw_predictions(model, batches)], model, images)


def raw_predictions(model: Model, batches: Iterable[Batch]) -> dict[str, Array]:
    """The k most probable classes of each image, (n, k), with their logits and softmax.

    normalised, finite: (1,) whether all logits are probabilities, and whether all are finite.
    """
    k = min(TOP_K, len(model.classes))
    logits_parts: list[Tensor] = []
    softmax_parts: list[Tensor] = []
    class_parts: list[Tensor] = []
    normalised = torch.tensor(True, device=model.device)
    finite = torch.tensor(True, device=model.device)
    with torch.inference_mode():
        for batch in batches:
            logits = model.logits(batch.pixels).float()
            finite &= logits.isfinite().all()
            normalised &= are_probabilities(logits)
            # The softmax keeps the order, but far from the first class it rounds to zero and cannot be sorted.
            top = logits.topk(k, 1)
            class_parts.append(top.indices)
            logits_parts.append(top.values)
            softmax_parts.append(logits.softmax(1).gather(1, top.indices))
        return {
            "classes": torch.cat(class_parts).cpu().numpy(),
            "logits": torch.cat(logits_parts).cpu().numpy(),
            "softmax": torch.cat(softmax_parts).cpu().numpy(),
            "normalised": normalised.view(1).cpu().numpy(),
            "finite": finite.view(1).cpu().numpy(),
        }


def gather_predictions(parts: Sequence[dict[str, Array]], model: Model, images: Images) -> Predictions:
    """The predictions for `images` from `raw_predictions` of consecutive parts of them.

    Raises UserError where the logits are not finite.
    """
    table = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    if not table["finite"].all():
        raise UserError(f"{model.name} gives NaN or infinite logits for some images of {images.name}")
    normalised = bool(table["normalised"].all())
    return Predictions(
        top_classes=table["classes"],
        top_probabilities=table["logits" if normalised else "softmax"],
        labels=None if images.labels is None else images.labels.numpy(),
        softmax_outputs=normalised,
    )


def are_probabilities(logits: Tensor) -> Tensor:
    """Whether all rows of (n, classes) lie in [0, 1] and sum to 1, as after a softmax."""
    return (
        ((logits >= 0).all() & ((logits.sum(1) - 1).abs() < 1e-3).all())
        if logits.shape[1] > 1
        else torch.tensor(False)
    )


@dataclass(frozen=True)
class Reliability:
    """Predictions in bins of equal width by their confidence.

    count: (bins,). confidence, accuracy: (bins,) means over a bin, NaN where it is empty.
    calibration_error: the expected calibration error, the mean over all predictions of |accuracy - confidence| of
    their bin. Guo et al. 2017, equation 3.
    """

    count: Array
    confidence: Array
    accuracy: Array
    calibration_error: float


def reliability(confidence: Array, correct: Array, bins: int) -> Reliability:
    """Sort predictions into bins ((i - 1) / bins, i / bins] of confidence.

    confidence: (n,) in [0, 1]. correct: (n,) bool.
    """
    positions = np.clip(np.ceil(confidence.astype(np.float64) * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(positions, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean_confidence = np.bincount(positions, weights=confidence, minlength=bins) / count
        accuracy = np.bincount(positions, weights=correct, minlength=bins) / count
    error = float(np.nansum(count * np.abs(accuracy - mean_confidence)) / len(confidence))
    return Reliability(count, mean_confidence, accuracy, error)


def confusion_matrix(labels: Array, predicted: Array, classes: int) -> Array:
    """(classes, classes) counts: entry (i, j) is how many images of class i are predicted as class j."""
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)
