"""Occlusion: the fall of the score when a square of the image is covered."""

from math import ceil
from typing import Self

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from probe.errors import UserError
from probe.methods.attribution.method import AttributionMethod, Precision
from probe.methods.attribution.scores import predict_scores, uncompiled
from probe.model.batching import in_batches
from probe.model.model import Model
from probe.model.targets import Targets, expanded, scores
from probe.params import Fraction

WINDOWS: dict[Precision, int] = {"fine": 8, "medium": 6, "coarse": 3}
"""Windows along a side of the image, where no window is given."""


class Occlusion(AttributionMethod):
    """The decrease of the score when a square is covered, averaged over the squares that cover a pixel."""

    name = "occlusion"
    title = "Occlusion"
    source = "Zeiler and Fergus 2014"
    kind = "signed"

    window: int = Field(
        0,
        ge=0,
        le=1024,
        description="side of the square in pixels (0: an eighth of the image, up to a third for expensive models)",
    )
    stride: int = Field(
        0, ge=0, le=1024, description="distance between squares in pixels (0: half of the window)"
    )
    fill: Fraction | None = Field(
        None,
        ge=0,
        le=1,
        description="value of covered pixels (default: the mean colour of the normalisation)",
    )

    def attribute(self, model: Model, pixels: Tensor, targets: Targets, *, seed: int = 0) -> Tensor:
        """(n, h, w) in units of the score.

        Raises UserError for a window larger than the image or a stride that leaves gaps.
        Zeiler and Fergus 2014, section 4.2.
        """
        pixels, targets = expanded(model, pixels, targets)
        height, width = pixels.shape[2:]
        window, stride, rows, columns = occlusion_grid(height, width, window=self.window, stride=self.stride)
        cover = self._cover(model, pixels)
        row = torch.arange(height, device=pixels.device)[:, None]
        column = torch.arange(width, device=pixels.device)
        squares = rows * columns

        def covered_scores(pairs: Tensor) -> Tensor:
            image, square = pairs // squares, pairs % squares
            top = (square // columns * stride)[:, None, None]
            left = (square % columns * stride)[:, None, None]
            inside = (row >= top) & (row < top + window) & (column >= left) & (column < left + window)
            return scores(model, torch.where(inside[:, None], cover, pixels[image]), targets[image])

        with torch.no_grad(), uncompiled():
            whole = predict_scores(model, pixels, targets)
            pairs = torch.arange(len(pixels) * squares, device=pixels.device)
            covered = in_batches(covered_scores, pairs, batch=model.batch()).view(-1, rows, columns)
            falls = (whole[:, None, None] - covered)[:, None]
            rounding = 64 * torch.finfo(falls.dtype).eps * whole.abs()[:, None, None, None]
            falls = falls.masked_fill(falls.abs() <= rounding, 0.0)  # a score that does not change at all
            square = torch.ones(1, 1, window, window, device=pixels.device, dtype=falls.dtype)
            total = F.conv_transpose2d(falls, square, stride=stride)
            times = F.conv_transpose2d(torch.ones_like(falls[:1]), square, stride=stride)
            return (total / times)[:, 0, :height, :width]

    def resolved(self, model: Model, precision: Precision = "fine") -> Self:
        height, width = model.shape[1:]
        window = self.window or max(1, round(min(height, width) / WINDOWS[precision]))
        window, stride, _, _ = occlusion_grid(height, width, window=window, stride=self.stride)
        return self.model_copy(update={"window": window, "stride": stride})

    def forward_passes(self, model: Model) -> int:
        _, _, rows, columns = occlusion_grid(*model.shape[1:], window=self.window, stride=self.stride)
        return rows * columns

    def _cover(self, model: Model, pixels: Tensor) -> Tensor:
        if self.fill is not None:
            return torch.full((), self.fill, dtype=pixels.dtype, device=pixels.device)
        mean = torch.tensor(model.card.input.mean, dtype=pixels.dtype).clamp(0, 1).view(1, -1, 1, 1)
        return mean.to(pixels.device)


def occlusion_grid(height: int, width: int, *, window: int = 0, stride: int = 0) -> tuple[int, int, int, int]:
    """Window and stride of occlusion with their defaults filled in, and the rows and columns of squares.

    Raises UserError for a window larger than the image or a stride that leaves gaps.

    >>> occlusion_grid(227, 227)
    (28, 14, 16, 16)
    """
    window = window or max(1, round(min(height, width) / WINDOWS["fine"]))
    stride = stride or max(1, window // 2)
    if not 1 <= window <= min(height, width):
        raise UserError(f"window must lie in [1, {min(height, width)}], the side of the image, got {window}")
    if not 1 <= stride <= window:
        raise UserError(f"stride must lie in [1, {window}], else some pixels are never covered, got {stride}")
    rows, columns = (ceil((side - window) / stride) + 1 for side in (height, width))
    return window, stride, rows, columns
