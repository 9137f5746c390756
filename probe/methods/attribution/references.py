"""References of Shapley-value methods: the images that stand for an absent input."""

from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from pydantic import PrivateAttr
from torch import Tensor

from probe.methods.attribution.method import AttributionMethod

REFERENCES = 16
"""Images that an input is compared with."""

_GRID = 4  # of the drawn references, in colours along a side


@dataclass(frozen=True, eq=False)
class _References:
    pixels: Tensor


class ReferenceMethod(AttributionMethod):
    """A method that compares each image with reference images.

    An analysis gives it images of its data set (`with_references`); called on tensors alone it draws its references by
    the seed: smooth random colours.
    """

    _references: _References | None = PrivateAttr(None)

    def with_references(self, pixels: Tensor) -> Self:
        """The method with the first 16 of `pixels` (n, c, h, w) as its references; unchanged without any."""
        if not len(pixels):
            return self
        method = self.model_copy()
        method._references = _References(pixels[:REFERENCES])
        return method

    def references(self, pixels: Tensor, seed: int) -> Tensor:
        """(up to 16, c, h, w), the same for every image of `pixels`."""
        if self._references is not None:
            return self._references.pixels.to(pixels)
        rng = torch.Generator().manual_seed(seed)
        colours = torch.rand(REFERENCES, pixels.shape[1], _GRID, _GRID, generator=rng)
        smooth = F.interpolate(colours, size=pixels.shape[2:], mode="bilinear", align_corners=False)
        return smooth.to(pixels)
