"""Whether the gradient predicts by how much the loss rises along it, over steps of several lengths."""

from dataclasses import dataclass

import torch
from torch import Tensor

from probe.methods.adversarial.criteria import Criterion, input_gradient, predict
from probe.model.model import Model

FRACTIONS = (1 / 64, 1 / 16, 1 / 4, 1.0)
"""Lengths of the steps, of eps."""

VERDICT_LENGTH = 1 / 510
"""Half a grey level: a gradient that does not hold so far says nothing of the images that files can store."""

_FACTOR = 4.0
_TOLERATED = 0.1


@dataclass(frozen=True)
class GradientQuality:
    """Steps along the sign of the gradient of the log-odds, clamped to [0, 1]; one row a length, one column an image.

    lengths: (lengths,) rising, in pixel units. predicted: (lengths, n) rise of the loss by the gradient. measured:
    (lengths, n) by the network. verdict_row: the position of the length of the verdict, half a grey level or a sixteenth of
    eps, whichever is less.
    """

    lengths: tuple[float, ...]
    predicted: Tensor
    measured: Tensor
    verdict_row: int

    @property
    def ratio(self) -> Tensor:
        """(lengths, n) measured over predicted rise; nan where the gradient is zero."""
        return torch.where(self.predicted > 0, self.measured / self.predicted, torch.nan)

    @property
    def outside(self) -> float:
        """Proportion of images of which the two differ by more than a factor of four at the length of the verdict."""
        ratio = self.ratio[self.verdict_row]
        wrong = ~((ratio >= 1 / _FACTOR) & (ratio <= _FACTOR)) & ~ratio.isnan()
        return float(wrong.float().mean())

    @property
    def fell(self) -> float:
        """Largest proportion of images whose loss falls along its gradient, over lengths up to a quarter of eps."""
        falls = (self.measured < 0) & (self.predicted > 0)
        return float(falls[:-1].float().mean(1).max())

    @property
    def predicts(self) -> bool:
        return self.outside <= _TOLERATED and self.fell <= _TOLERATED

    def figures(self) -> dict[str, float]:
        """What the verdict rests on."""
        ratio = self.ratio[self.verdict_row]
        known = ratio[~ratio.isnan()]
        return {
            "length": self.lengths[self.verdict_row],
            "ratio": float(known.median()) if len(known) else 0.0,
            "outside": self.outside,
            "fell": self.fell,
        }


def gradient_quality(model: Model, pixels: Tensor, labels: Tensor, eps: float) -> GradientQuality:
    """Steps of each length from the images: one gradient and a forward pass a length.

    pixels: (n, c, h, w) in [0, 1]. labels: (n,). eps: Linf radius of the attack, whose steps these are.
    """
    criterion = Criterion(labels)
    gradient, logits = input_gradient(model, pixels, criterion.loss)
    gradient, before = gradient.nan_to_num(), criterion.loss(logits)
    decisive = min(eps / 16, VERDICT_LENGTH)
    lengths = tuple(sorted({decisive, *(fraction * eps for fraction in FRACTIONS)}))
    predicted, measured = [], []
    for length in lengths:
        stepped = (pixels + length * gradient.sign()).clamp(0, 1)
        predicted.append((gradient * (stepped - pixels)).flatten(1).sum(1))
        measured.append(criterion.loss(predict(model, stepped)) - before)
    return GradientQuality(lengths, torch.stack(predicted), torch.stack(measured), lengths.index(decisive))
