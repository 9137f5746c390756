"""Gradient methods: gradient, gradient times input, integrated gradients and SmoothGrad.

captum computes some of these correctly and is what the tests compare with. Ours take the same targets (units too),
run all images, steps and samples through one batch whose size memory decides, and leave the global generator alone.
"""

from collections.abc import Callable
from typing import Self

import torch
from pydantic import Field
from torch import Tensor

from probe.methods.attribution.method import GRADIENT_COST, AttributionMethod, Precision
from probe.methods.attribution.relu_rules import backpropagate
from probe.methods.attribution.scores import gradient_and_scores, predict_scores
from probe.model.batching import in_batches
from probe.model.model import Model
from probe.model.targets import Targets, expanded
from probe.params import Fraction

STEPS: dict[Precision, int] = {"fine": 64, "medium": 32, "coarse": 8}
"""Of integrated gradients, where none are given."""

SAMPLES: dict[Precision, int] = {"fine": 16, "medium": 8, "coarse": 4}
"""Of SmoothGrad, where none are given."""


class Gradient(AttributionMethod):
    """The gradient of the score with respect to the pixels: change of the score per unit of pixel value."""

    name = "gradient"
    title = "Gradient"
    source = "Simonyan et al. 2014"
    kind = "magnitude"

    def attribute(self, model: Model, pixels: Tensor, targets: Targets, *, seed: int = 0) -> Tensor:
        """(n, c, h, w) in units of the score per pixel value."""
        return backpropagate(model, pixels, targets)


class GradientInput(AttributionMethod):
    """Gradient times the difference of each pixel from the baseline. Exact for a linear network."""

    name = "gradient-input"
    title = "Gradient × input"
    source = "Shrikumar et al. 2017"
    kind = "signed"

    baseline: Fraction = Field(0.0, ge=0, le=1, description="pixel value of the baseline")

    def attribute(self, model: Model, pixels: Tensor, targets: Targets, *, seed: int = 0) -> Tensor:
        """(n, c, h, w) in units of the score. Shrikumar et al. 2017, section 2."""
        return backpropagate(model, pixels, targets) * (pixels - self.baseline)


class IntegratedGradients(AttributionMethod):
    """The mean gradient on the straight line from the baseline to the image, times their difference."""

    name = "integrated-gradients"
    title = "Integrated gradients"
    source = "Sundararajan et al. 2017"
    kind = "signed"
    refined_by = "steps"

    steps: int = Field(
        0,
        ge=0,
        le=1000,
        description="number of points of the Gauss-Legendre quadrature (0: 8 to 64, fewer for expensive models)",
    )
    baseline: Fraction = Field(0.0, ge=0, le=1, description="pixel value of the baseline")

    def attribute(self, model: Model, pixels: Tensor, targets: Targets, *, seed: int = 0) -> Tensor:
        """(n, c, h, w) in units of the score.

        The sum over an image is its score minus that of the baseline, up to `completeness_error`.
        Sundararajan et al. 2017, equation 1.
        """
        pixels, targets = expanded(model, pixels, targets)
        nodes, weights = _gauss_legendre(self.resolved(model).steps, pixels)
        difference = pixels - self.baseline

        def interpolate(image: Tensor, step: Tensor) -> Tensor:
            return pixels[image] - difference[image] * (1 - nodes[step])[:, None, None, None]

        return difference * _mean_gradient(model, pixels, targets, interpolate, weights)

    def resolved(self, model: Model, precision: Precision = "fine") -> Self:
        return self.model_copy(update={"steps": self.steps or STEPS[precision]})

    def forward_passes(self, model: Model) -> int:
        return GRADIENT_COST * self.resolved(model).steps

    def completeness_error(
        self, model: Model, pixels: Tensor, targets: Targets, attribution: Tensor
    ) -> Tensor | None:
        return completeness_error(model, pixels, targets, attribution, baseline=self.baseline)


class SmoothGrad(AttributionMethod):
    """The gradient averaged over noisy copies of each image."""

    name = "smoothgrad"
    title = "SmoothGrad"
    source = "Smilkov et al. 2017"
    kind = "magnitude"

    samples: int = Field(
        0, ge=0, le=1000, description="number of noisy copies (0: 4 to 16, fewer for expensive models)"
    )
    noise: Fraction = Field(
        0.15, ge=0, le=1, description="standard deviation of the noise as a fraction of the image's range"
    )

    def attribute(self, model: Model, pixels: Tensor, targets: Targets, *, seed: int = 0) -> Tensor:
        """(n, c, h, w) in units of the score per pixel value.

        seed: decides the noise, which is the same for every image, whichever images are in its batch.
        Smilkov et al. 2017, section 3.
        """
        pixels, targets = expanded(model, pixels, targets)
        samples = self.resolved(model).samples
        spread = self.noise * (pixels.flatten(1).amax(1) - pixels.flatten(1).amin(1))
        noise = torch.stack([_normal(pixels.shape[1:], seed + i) for i in range(samples)]).to(pixels)

        def noisy(image: Tensor, sample: Tensor) -> Tensor:
            return pixels[image] + spread[image][:, None, None, None] * noise[sample]

        weights = torch.full((samples,), 1 / samples, device=pixels.device, dtype=pixels.dtype)
        return _mean_gradient(model, pixels, targets, noisy, weights)

    def resolved(self, model: Model, precision: Precision = "fine") -> Self:
        return self.model_copy(update={"samples": self.samples or SAMPLES[precision]})

    def forward_passes(self, model: Model) -> int:
        return GRADIENT_COST * self.resolved(model).samples


def completeness_error(
    model: Model, pixels: Tensor, targets: Targets, attribution: Tensor, *, baseline: float = 0.0
) -> Tensor:
    """How far the sum of an attribution is from score minus baseline score, as a fraction of that difference: (n,).

    Sundararajan et al. 2017, proposition 1.
    """
    pixels, targets = expanded(model, pixels, targets)
    absent = torch.full_like(pixels, baseline)
    difference = predict_scores(model, pixels, targets) - predict_scores(model, absent, targets)
    error = (attribution.flatten(1).sum(1) - difference).abs()
    return error / difference.abs().clamp(min=torch.finfo(difference.dtype).tiny)


def _gauss_legendre(steps: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Points in (0, 1) and their weights, which add up to 1."""
    import numpy as np

    nodes, weights = np.polynomial.legendre.leggauss(steps)
    return torch.from_numpy((nodes + 1) / 2).to(like), torch.from_numpy(weights / 2).to(like)


def _normal(shape: torch.Size, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _mean_gradient(
    model: Model,
    pixels: Tensor,
    targets: Targets,
    point: Callable[[Tensor, Tensor], Tensor],
    weights: Tensor,
) -> Tensor:
    """The gradients at `point(image, step)` (b, c, h, w), summed over the steps with `weights`: (n, c, h, w).

    All pairs of image and step go through one batch; nothing but the sum is stored.
    """
    steps, total = len(weights), torch.zeros_like(pixels)

    def add(pairs: Tensor) -> Tensor:
        image, step = pairs // steps, pairs % steps
        gradients, _ = gradient_and_scores(model, point(image, step), targets[image])
        first, last = int(image[0]), int(image[-1])
        # A product with a matrix of weights: unlike index_add_ it gives the same bytes on every run.
        rows = torch.arange(first, last + 1, device=image.device)
        weight = (image == rows[:, None]) * weights[step]
        total[first : last + 1] += (weight @ gradients.flatten(1)).view(-1, *pixels.shape[1:])
        return pairs

    with torch.inference_mode(False):
        pairs = torch.arange(len(pixels) * steps, device=pixels.device)
        in_batches(add, pairs, batch=model.batch(gradient=True))
    return total
