"""GradientSHAP: the mean gradient at random points between an image and reference images, times their difference."""

from typing import Self

import torch
from pydantic import Field
from torch import Tensor

from probe.methods.attribution.gradients import SAMPLES
from probe.methods.attribution.method import GRADIENT_COST, Precision
from probe.methods.attribution.references import ReferenceMethod
from probe.methods.attribution.scores import gradient_and_scores
from probe.model.batching import in_batches
from probe.model.model import Model
from probe.model.targets import Targets, expanded


class GradientShap(ReferenceMethod):
    """The gradient at random points between the image and reference images, times their difference."""

    name = "gradient-shap"
    title = "GradientSHAP"
    source = "Lundberg and Lee 2017; Erion et al. 2019, arXiv 1906.10670 (expected gradients)"
    kind = "signed"

    samples: int = Field(
        0, ge=0, le=10_000, description="number of random points (0: 4 to 16, fewer for expensive models)"
    )

    def attribute(self, model: Model, pixels: Tensor, targets: Targets, *, seed: int = 0) -> Tensor:
        """(n, c, h, w) in units of the score; the mean sums to its difference from the mean score of the references.

        The references are 16 images of the data set, or smooth random colours drawn by `seed`, which decides the points
        too: they are the same for every image. Erion et al. 2019, section 2.2.
        """
        pixels, targets = expanded(model, pixels, targets)
        references = self.references(pixels, seed)
        samples = self.resolved(model).samples
        rng = torch.Generator().manual_seed(seed)
        # Every reference as often as the others, each point in a stratum of its own: less noise for the same samples.
        order = torch.randperm(len(references), generator=rng).repeat(-(-samples // len(references)))[
            :samples
        ]
        strata = (torch.randperm(samples, generator=rng) + torch.rand(samples, generator=rng)) / samples
        reference, share = order.to(pixels.device), strata.to(pixels)
        total = torch.zeros_like(pixels)

        def add(pairs: Tensor) -> Tensor:
            image, sample = pairs // samples, pairs % samples
            difference = pixels[image] - references[reference[sample]]
            point = pixels[image] - (1 - share[sample])[:, None, None, None] * difference
            gradients, _ = gradient_and_scores(model, point, targets[image])
            first, last = int(image[0]), int(image[-1])
            rows = torch.arange(first, last + 1, device=image.device)
            weight = (image == rows[:, None]).to(gradients) / samples
            parts = weight @ (gradients * difference).flatten(1)
            total[first : last + 1] += parts.view(-1, *pixels.shape[1:])
            return pairs

        with torch.inference_mode(False):
            pairs = torch.arange(len(pixels) * samples, device=pixels.device)
            in_batches(add, pairs, batch=model.batch(gradient=True))
        return total

    def resolved(self, model: Model, precision: Precision = "fine") -> Self:
        return self.model_copy(update={"samples": self.samples or SAMPLES[precision]})

    def forward_passes(self, model: Model) -> int:
        return GRADIENT_COST * self.resolved(model).samples
