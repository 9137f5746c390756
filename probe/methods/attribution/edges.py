"""Edges of the image: the control of the tests of attribution methods."""

import torch
import torch.nn.functional as F
from torch import Tensor

from probe.methods.attribution.method import AttributionMethod
from probe.model.model import Model
from probe.model.targets import Targets


class Edges(AttributionMethod):
    """Sobel's gradient magnitude of the mean colour: a map that does not depend on any network.

    It has no name, so that no registry lists it: it attributes nothing.
    """

    title = "Edges only (no network)"
    source = "Sobel and Feldman 1968"
    kind = "magnitude"

    def attribute(self, model: Model, pixels: Tensor, targets: Targets, *, seed: int = 0) -> Tensor:
        """(n, h, w) in units of pixel value per pixel."""
        sobel = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]], device=pixels.device, dtype=pixels.dtype)
        kernels = torch.stack([sobel, sobel.T])[:, None] / 8
        padded = F.pad(pixels.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
        return F.conv2d(padded, kernels).norm(dim=1)

    def forward_passes(self, model: Model) -> int:
        return 0


EDGES = Edges()
