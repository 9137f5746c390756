"""Lime, KernelSHAP, feature ablation and Shapley sampling by captum, over a square grid of regions."""

import random
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from probe.methods.attribution.captum_hooks import detached, quiet
from probe.methods.attribution.method import AttributionMethod, Precision
from probe.methods.attribution.scores import predict_scores, uncompiled
from probe.model.batching import out_of_memory
from probe.model.model import Model
from probe.model.targets import Targets, expanded, scores
from probe.params import Fraction

REGIONS: dict[Precision, int] = {"fine": 8, "medium": 7, "coarse": 5}
"""Regions along a side of the image, where no number is given."""

SAMPLES: dict[Precision, int] = {"fine": 256, "medium": 128, "coarse": 64}
"""Perturbed images that a surrogate model is fitted to, where no number is given."""

PERMUTATIONS: dict[Precision, int] = {"fine": 8, "medium": 4, "coarse": 2}
"""Of Shapley sampling, where none are given."""


def region_grid(height: int, width: int, regions: int) -> Tensor:
    """(h, w) the number of the region of each pixel, in reading order; `regions` along the shorter side.

    >>> region_grid(2, 4, 1).tolist()
    [[0, 0, 1, 1], [0, 0, 1, 1]]
    """
    side = min(height, width) / min(regions, height, width)
    rows, columns = max(1, round(height / side)), max(1, round(width / side))
    row = torch.arange(height) * rows // height
    column = torch.arange(width) * columns // width
    return row[:, None] * columns + column


class RegionMethod(AttributionMethod):
    """A method that removes regions of the image; a removed region has the mean colour of the normalisation."""

    kind = "signed"

    regions: int = Field(
        0,
        ge=0,
        le=64,
        description="number of square regions along a side of the image (0: 5 to 8, fewer for expensive models)",
    )
    fill: Fraction | None = Field(
        None,
        ge=0,
        le=1,
        description="value of removed pixels (default: the mean colour of the normalisation)",
    )

    @abstractmethod
    def captum(self, model: Model, score: Callable[[Tensor], Tensor], batch: int) -> Callable[..., Any]:
        """`attribute` of the method in captum. score: pixels -> (b,); batch: perturbed images in a forward pass."""

    def attribute(self, model: Model, pixels: Tensor, targets: Targets, *, seed: int = 0) -> Tensor:
        """(n, h, w) in units of the score: every pixel has the value of its region.

        seed: decides which regions are removed together, the same for every image, whichever images are in its batch.
        """
        pixels, targets = expanded(model, pixels, targets)
        resolved = self.resolved(model)
        predict_scores(model, pixels, targets)  # refused where they are not finite
        height, width = pixels.shape[2:]
        mask = region_grid(height, width, resolved.regions).to(pixels.device)[None, None]
        fill = self._fill(model, pixels)
        maps = []
        with torch.inference_mode(False), torch.no_grad(), uncompiled(), quiet():
            for i in range(len(pixels)):
                image = pixels[i : i + 1].clone()
                row = torch.tensor([i], device=pixels.device)

                def score(perturbed: Tensor, row: Tensor = row) -> Tensor:
                    return scores(model, perturbed, targets[row.expand(len(perturbed))])

                def compute(batch: int, image: Tensor = image, score: Any = score) -> Tensor:
                    with seeded(seed):
                        attribute = resolved.captum(model, score, batch)
                        return attribute(image, baselines=fill.expand_as(image), feature_mask=mask)

                maps.append(detached(_in_memory(compute, model.batch()))[0, 0])
        return torch.stack(maps).to(pixels)

    def resolved(self, model: Model, precision: Precision = "fine") -> Self:
        return self.model_copy(update={"regions": self.regions or REGIONS[precision]})

    def count(self, model: Model) -> int:
        """The number of regions."""
        _, height, width = model.shape
        return int(region_grid(height, width, self.resolved(model).regions).max()) + 1

    def _fill(self, model: Model, pixels: Tensor) -> Tensor:
        values = model.card.input.mean if self.fill is None else (self.fill,)
        return torch.tensor(values, dtype=pixels.dtype).clamp(0, 1).view(1, -1, 1, 1).to(pixels.device)


class FeatureAblation(RegionMethod):
    """The decrease of the score when one region is removed."""

    name = "feature-ablation"
    title = "Feature ablation"
    source = "Zeiler and Fergus 2014; captum"

    def captum(self, model: Model, score: Callable[[Tensor], Tensor], batch: int) -> Callable[..., Any]:
        from captum.attr import FeatureAblation as Ablation

        return _with(Ablation(score).attribute, perturbations_per_eval=batch)

    def forward_passes(self, model: Model) -> int:
        return 1 + self.count(model)


class ShapleySampling(RegionMethod):
    """The mean change of the score when a region is added to those before it, over random orders."""

    name = "shapley-sampling"
    title = "Shapley sampling"
    source = "Štrumbelj and Kononenko 2010; Castro et al. 2009"

    samples: int = Field(
        0, ge=0, le=10_000, description="number of random orders (0: 2 to 8, fewer for expensive models)"
    )

    def captum(self, model: Model, score: Callable[[Tensor], Tensor], batch: int) -> Callable[..., Any]:
        from captum.attr import ShapleyValueSampling

        return _with(
            ShapleyValueSampling(score).attribute, n_samples=self.samples, perturbations_per_eval=batch
        )

    def resolved(self, model: Model, precision: Precision = "fine") -> Self:
        samples = self.samples or PERMUTATIONS[precision]
        return super().resolved(model, precision).model_copy(update={"samples": samples})

    def forward_passes(self, model: Model) -> int:
        return 1 + self.resolved(model).samples * self.count(model)


class Surrogate(RegionMethod):
    """A linear model of the score, fitted to images from which random regions are removed."""

    samples: int = Field(
        0,
        ge=0,
        le=100_000,
        description="number of perturbed images (0: 64 to 256, fewer for expensive models)",
    )

    def resolved(self, model: Model, precision: Precision = "fine") -> Self:
        samples = self.samples or SAMPLES[precision]
        return super().resolved(model, precision).model_copy(update={"samples": samples})

    def forward_passes(self, model: Model) -> int:
        return 1 + self.resolved(model).samples


class Lime(Surrogate):
    """The coefficients of a sparse linear model of the score around the image, fitted to its regions."""

    name = "lime"
    title = "LIME"
    source = "Ribeiro et al. 2016, arXiv 1602.04938"

    alpha: float = Field(0.01, ge=0, le=100, description="weight of the L1 penalty of the linear model")

    def captum(self, model: Model, score: Callable[[Tensor], Tensor], batch: int) -> Callable[..., Any]:
        from captum._utils.models.linear_model import SkLearnLasso
        from captum.attr import Lime as CaptumLime

        surrogate = CaptumLime(score, interpretable_model=SkLearnLasso(alpha=self.alpha))
        return _with(surrogate.attribute, n_samples=self.samples, perturbations_per_eval=batch)


class KernelShap(Surrogate):
    """Shapley values of the regions, by a weighted linear model of the score."""

    name = "kernel-shap"
    title = "KernelSHAP"
    source = "Lundberg and Lee 2017, arXiv 1705.07874"

    def captum(self, model: Model, score: Callable[[Tensor], Tensor], batch: int) -> Callable[..., Any]:
        from captum.attr import KernelShap as CaptumKernelShap

        return _with(CaptumKernelShap(score).attribute, n_samples=self.samples, perturbations_per_eval=batch)


def _with(attribute: Callable[..., Any], **parameters: Any) -> Callable[..., Any]:
    return lambda *inputs, **more: attribute(*inputs, **more, **parameters)


def _in_memory(compute: Callable[[int], Tensor], batch: int) -> Tensor:
    """`compute` of a batch size, which is halved if memory runs out."""
    while True:
        try:
            return compute(batch)
        except (RuntimeError, MemoryError) as error:
            if batch == 1 or not out_of_memory(error):
                raise
        batch //= 2


_GLOBAL_GENERATORS = threading.RLock()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """The global generators, from which captum draws, start at `seed`; afterwards they are as before.

    One thread at a time: another one would draw from them, too.
    """
    with _GLOBAL_GENERATORS, torch.random.fork_rng():
        python, numpy = random.getstate(), np.random.get_state()
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        random.seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
