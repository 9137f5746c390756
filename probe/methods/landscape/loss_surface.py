"""The loss of a network at points of a plane in weight space, image by image."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from probe.methods.landscape.batch_norm import recalibrate
from probe.methods.landscape.perturbation import WeightPlane

Loss = Callable[[Tensor, Tensor], Tensor]
"""loss(logits (n, classes), labels (n,)) -> (n,), one number an image."""

Z = 1.959964  # quantile of the normal distribution for 95% intervals


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """(n,) in float32 at least, without weight decay."""
    return F.cross_entropy(
        logits if logits.dtype == torch.float64 else logits.float(), labels, reduction="none"
    )


@dataclass(frozen=True)
class PointLosses:
    """Losses and correct predictions of the first images of a fixed order, at one point: (n,) on the CPU."""

    losses: np.ndarray
    correct: np.ndarray


@dataclass(frozen=True)
class InputShifts:
    """Directions in the space of the inputs: for each what is added to each batch at 1, and the limits of the inputs."""

    directions: Sequence[Sequence[Tensor]]
    low: Tensor
    high: Tensor

    def at(self, inputs: Tensor, batch: int, coordinates: Sequence[float]) -> Tensor:
        """The inputs of a batch at a point."""
        for coordinate, direction in zip(coordinates, self.directions, strict=True):
            inputs = inputs + coordinate * direction[batch]
        return torch.minimum(torch.maximum(inputs, self.low), self.high)


class LossSurface:
    """The loss at points of a `WeightPlane` on images that stay on the device.

    inputs: normalised batches in the precision of the plane's network, in one fixed order for all points; labels: the
    classes of each batch. logits: from what the network returns to its logits. recalibrate: whether the statistics of
    batch norm are set anew at each point, from the same images.
    """

    def __init__(
        self,
        plane: WeightPlane,
        inputs: Sequence[Tensor],
        labels: Sequence[Tensor],
        *,
        logits: Callable[[object], Tensor] = lambda output: output,  # type: ignore[assignment]
        loss: Loss = cross_entropy,
        recalibrated: bool = False,
        shifts: "InputShifts | None" = None,
    ) -> None:
        """shifts: for a surface in the space of the inputs."""
        self.plane, self.inputs, self.labels = plane, inputs, labels
        self.loss, self.logits, self.recalibrated = loss, logits, recalibrated
        self.shifts = shifts

    @torch.no_grad()
    def at(
        self, coordinates: Sequence[float], *, enough: Callable[[np.ndarray], bool] | None = None
    ) -> PointLosses:
        """Move to a point and evaluate its images, batch by batch.

        enough(losses so far): called whenever the number of images has doubled since the last call; with True the rest
        is left out. Without it the device is waited for once a point.
        """
        self.plane.move_to(*coordinates)
        if self.recalibrated:
            recalibrate(self.plane.network, self.inputs)
        losses: list[Tensor] = []
        correct: list[Tensor] = []
        last = done = 0
        for number, (inputs, labels) in enumerate(zip(self.inputs, self.labels, strict=True)):
            logits = self.logits(
                self.plane.network(
                    inputs if self.shifts is None else self.shifts.at(inputs, number, coordinates)
                )
            )
            losses.append(self.loss(logits, labels))
            correct.append(logits.argmax(1) == labels)
            done += len(labels)
            if enough is not None and done >= max(MIN_IMAGES, 2 * last):
                last = done
                if enough(torch.cat(losses).double().cpu().numpy()):
                    break
        return PointLosses(torch.cat(losses).double().cpu().numpy(), torch.cat(correct).cpu().numpy())


MIN_IMAGES = 128
"""Of a point, before the number of images may be found to be enough."""


@dataclass(frozen=True)
class Estimate:
    """The mean loss on all images, from the first of them.

    error: half the width of its 95% interval for these images (0 where all were evaluated). spread: the same for other
    images of the same kind. used: the number of images evaluated.
    """

    loss: float
    error: float
    spread: float
    used: int


def estimate(losses: np.ndarray, anchor: np.ndarray) -> Estimate:
    """The mean over all images of a point, of which the first len(losses) were evaluated.

    anchor: (n,) losses of all images at another point. Their mean is known, so that what the losses have in common
    with them is no error: a control variate, with the coefficient of the regression, for a finite population. A loss
    that is not finite makes the estimate NaN or infinite.
    """
    used, n = len(losses), len(anchor)
    mean = float(losses.mean())
    if not np.isfinite(mean):
        return Estimate(mean, float("nan"), float("nan"), used)
    spread = Z * float(losses.std(ddof=1)) / used**0.5 if used > 1 else float("inf")
    if used == n:
        return Estimate(mean, 0.0, spread, used)
    known = anchor[:used]
    centred = known - known.mean()
    variance = float((centred**2).mean())
    coefficient = (
        float((centred * losses).mean()) / variance if np.isfinite(variance) and variance > 0 else 0.0
    )
    corrected = mean - coefficient * float(known.mean() - anchor.mean()) if coefficient else mean
    residuals = losses - mean - coefficient * centred
    deviation = float(np.sqrt((residuals**2).sum() / max(1, used - 2)))
    return Estimate(corrected, Z * deviation / used**0.5 * (1 - used / n) ** 0.5, spread, used)
