"""Which pixels does an answer hang on? Gradients, integrated gradients, SmoothGrad, occlusion, Grad-CAM.

captum is right for some of these and is what the tests compare with. Ours take the same targets (units too),
run all images, steps and windows through one batch whose size memory decides, and leave the global generator be.
"""

from collections.abc import Callable
from math import ceil

import torch
import torch.nn.functional as F
from torch import Tensor

from probe.errors import UserError
from probe.methods.attribution.relu_rules import as_python, backpropagate, gradient, listening
from probe.model.batching import in_batches
from probe.model.layers import Layer
from probe.model.model import Model
from probe.model.observer import recording
from probe.model.targets import Targets, expanded, scores

Baseline = Tensor | float
"""What "nothing there" is, in [0, 1]: a number, or a tensor that broadcasts to the pixels."""


def gradient_input(model: Model, pixels: Tensor, targets: Targets, *, baseline: Baseline = 0.0) -> Tensor:
    """Gradient times the distance of each pixel from the baseline: (n, c, h, w) in units of the score.

    For a linear network it is exact. Shrikumar et al. 2017, section 2.
    """
    return backpropagate(model, pixels, targets) * (pixels - baseline)


def integrated_gradients(
    model: Model, pixels: Tensor, targets: Targets, *, baseline: Baseline = 0.0, steps: int = 32
) -> Tensor:
    """The gradient averaged on the straight way from the baseline, times that way: (n, c, h, w), in units of the score.

    steps: points of a Gauss-Legendre rule. The sum over a picture is the score minus that of the baseline;
    `completeness_error` says how nearly. Sundararajan et al. 2017, equation 1.
    """
    if steps < 1:
        raise UserError(f"steps must be at least 1, got {steps}")
    pixels, targets = expanded(model, pixels, targets)
    nodes, weights = _gauss_legendre(steps, pixels)
    way = pixels - baseline

    def point(image: Tensor, step: Tensor) -> Tensor:
        return pixels[image] - way[image] * (1 - nodes[step])[:, None, None, None]

    return way * _mean_gradient(model, pixels, targets, point, weights)


def _gauss_legendre(steps: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Points in (0, 1) and their weights, which add up to 1."""
    import numpy as np

    nodes, weights = np.polynomial.legendre.leggauss(steps)
    return torch.from_numpy((nodes + 1) / 2).to(like), torch.from_numpy(weights / 2).to(like)


def completeness_error(
    model: Model, pixels: Tensor, targets: Targets, attribution: Tensor, *, baseline: Baseline = 0.0
) -> Tensor:
    """How far the sum of an attribution is from score minus baseline score, as a share of that difference: (n,).

    Sundararajan et al. 2017, proposition 1.
    """
    pixels, targets = expanded(model, pixels, targets)
    empty = torch.zeros_like(pixels) + baseline
    change = _scores(model, pixels, targets) - _scores(model, empty, targets)
    missing = (attribution.flatten(1).sum(1) - change).abs()
    return missing / change.abs().clamp(min=torch.finfo(change.dtype).tiny)


def smoothgrad(
    model: Model, pixels: Tensor, targets: Targets, *, seed: int, samples: int = 16, noise: float = 0.15
) -> Tensor:
    """The gradient averaged over noisy copies of each image: (n, c, h, w), in units of the score per pixel value.

    noise: its standard deviation as a share of the image's own range, max minus min. seed: decides the noise, the same
    for every image, whichever images stand beside it. Smilkov et al. 2017, section 3.
    """
    if samples < 1 or not 0 <= noise <= 1:
        raise UserError(f"samples must be at least 1 and noise lie in [0, 1], got {samples} and {noise:g}")
    pixels, targets = expanded(model, pixels, targets)
    spread = noise * (pixels.flatten(1).amax(1) - pixels.flatten(1).amin(1))
    shape = pixels.shape[1:]

    drawn = torch.stack([_normal(shape, seed + i) for i in range(samples)]).to(pixels)

    def noisy(image: Tensor, sample: Tensor) -> Tensor:
        return pixels[image] + spread[image][:, None, None, None] * drawn[sample]

    weights = torch.full((samples,), 1 / samples, device=pixels.device, dtype=pixels.dtype)
    return _mean_gradient(model, pixels, targets, noisy, weights)


def _normal(shape: torch.Size, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _mean_gradient(
    model: Model,
    pixels: Tensor,
    targets: Targets,
    point: Callable[[Tensor, Tensor], Tensor],
    weights: Tensor,
) -> Tensor:
    """The gradients at `point(image, step)` (b, c, h, w), added up over the steps with `weights`: (n, c, h, w).

    All pairs of image and step go through one batch; what has been added up is all that is kept.
    """
    steps, total = len(weights), torch.zeros_like(pixels)

    def some(pairs: Tensor) -> Tensor:
        image, step = pairs // steps, pairs % steps
        found, _ = gradient(model, point(image, step), targets[image])
        first, last = int(image[0]), int(image[-1])
        # A product with a matrix of weights: unlike index_add_ it gives the same bytes on every run.
        places = torch.arange(first, last + 1, device=image.device)
        share = (image == places[:, None]) * weights[step]
        total[first : last + 1] += (share @ found.flatten(1)).view(-1, *pixels.shape[1:])
        return pairs

    with torch.inference_mode(False):
        pairs = torch.arange(len(pixels) * steps, device=pixels.device)
        in_batches(some, pairs, batch=model.batch(gradient=True))
    return total


def occlusion(
    model: Model,
    pixels: Tensor,
    targets: Targets,
    *,
    window: int = 0,
    stride: int = 0,
    fill: Baseline | None = None,
) -> Tensor:
    """How far the score falls when a square is covered: (n, h, w), for each pixel the mean over the squares on it.

    window: side of the square in pixels (0: a sixth of the image). stride: step between squares (0: half the
    window). fill: what covers (None: the mean colour that the model is normalised by).
    Raises UserError for a window larger than the image or a stride that leaves gaps.

    Zeiler and Fergus 2014, section 4.2.
    """
    pixels, targets = expanded(model, pixels, targets)
    height, width = pixels.shape[2:]
    window, stride, rows, columns = occlusion_grid(height, width, window=window, stride=stride)
    cover = _cover(model, fill, pixels)
    row = torch.arange(height, device=pixels.device)[:, None]
    column = torch.arange(width, device=pixels.device)
    squares = rows * columns

    def some(pairs: Tensor) -> Tensor:
        image, square = pairs // squares, pairs % squares
        top = (square // columns * stride)[:, None, None]
        left = (square % columns * stride)[:, None, None]
        inside = (row >= top) & (row < top + window) & (column >= left) & (column < left + window)
        return scores(model, torch.where(inside[:, None], cover, pixels[image]), targets[image])

    with torch.no_grad(), as_python():
        whole = _scores(model, pixels, targets)
        pairs = torch.arange(len(pixels) * squares, device=pixels.device)
        covered = in_batches(some, pairs, batch=model.batch()).view(-1, rows, columns)
        drops = (whole[:, None, None] - covered)[:, None]
        square = torch.ones(1, 1, window, window, device=pixels.device, dtype=drops.dtype)
        added = F.conv_transpose2d(drops, square, stride=stride)
        times = F.conv_transpose2d(torch.ones_like(drops[:1]), square, stride=stride)
        return (added / times)[:, 0, :height, :width]


def occlusion_grid(height: int, width: int, *, window: int = 0, stride: int = 0) -> tuple[int, int, int, int]:
    """Window and stride of occlusion with their defaults filled in, and how many rows and columns of squares they make.

    >>> occlusion_grid(227, 227)
    (38, 19, 11, 11)
    """
    window = window or max(1, round(min(height, width) / 6))
    stride = stride or max(1, window // 2)
    if not 1 <= window <= min(height, width):
        raise UserError(f"window must lie in [1, {min(height, width)}], the side of the image, got {window}")
    if not 1 <= stride <= window:
        raise UserError(f"stride must lie in [1, {window}], else some pixels are never covered, got {stride}")
    rows, columns = (ceil((side - window) / stride) + 1 for side in (height, width))
    return window, stride, rows, columns


def _cover(model: Model, fill: Baseline | None, pixels: Tensor) -> Tensor:
    if fill is None:
        fill = torch.tensor(model.card.input.mean, dtype=pixels.dtype).clamp(0, 1).view(1, -1, 1, 1)
    return torch.as_tensor(fill, dtype=pixels.dtype, device=pixels.device)


@torch.no_grad()
def _scores(model: Model, pixels: Tensor, targets: Targets) -> Tensor:
    """(n,) scores of any number of images."""

    def some(rows: Tensor) -> Tensor:
        return scores(model, pixels[rows], targets[rows])

    with as_python():
        return in_batches(some, torch.arange(len(pixels), device=pixels.device), batch=model.batch())


def gradcam(model: Model, pixels: Tensor, targets: Targets, *, layer: str = "") -> Tensor:
    """Where a layer's channels that raise the score are active: (n, h, w), 0 and up, resized to the pixels.

    layer: address of a layer with maps (empty: `gradcam_layer`). Raises UserError for a layer without maps.
    Selvaraju et al. 2017, equations 1 and 2.
    """
    pixels, targets = expanded(model, pixels, targets)
    found = model.layers.find(layer) if layer else gradcam_layer(model)
    if not found.spatial:
        raise UserError(
            f"layer {found.address} has no maps, and Grad-CAM needs them: name a convolution, or no layer to have one chosen"
        )

    def some(rows: Tensor) -> Tensor:
        with (
            listening(pixels[rows]) as leaf,
            as_python(),
            recording(model.network, [found.address]) as recorded,
        ):
            score = scores(model, leaf, targets[rows])
            if found.address not in recorded:
                raise UserError(f"layer {found.address} comes after what is asked for: name an earlier one")
            maps = recorded[found.address]
            (slope,) = torch.autograd.grad(score.sum(), maps, allow_unused=True)
        if slope is None:
            raise UserError(f"what is asked for does not depend on layer {found.address}: name another")
        cam = (slope.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True).clamp(min=0).detach()
        return F.interpolate(cam, size=pixels.shape[2:], mode="bilinear", align_corners=False)[:, 0]

    with torch.inference_mode(False):
        rows = torch.arange(len(pixels), device=pixels.device)
        return in_batches(some, rows, batch=model.batch(gradient=True))


def gradcam_layer(model: Model) -> Layer:
    """The last layer with maps of at least 4 x 4 that is not a pooling: where Grad-CAM looks unless told otherwise."""
    for layer in reversed(model.layers.maps):
        if min(layer.shape[1:]) >= 4 and not any(
            kind in layer.kind for kind in ("Pool", "Dropout", "Identity")
        ):
            return layer
    raise UserError(f"{model.name} has no layer with maps of 4 x 4 or more, and Grad-CAM needs one")


def guided_gradcam(model: Model, pixels: Tensor, targets: Targets, *, layer: str = "") -> Tensor:
    """Guided backprop where Grad-CAM points: (n, c, h, w). Selvaraju et al. 2017, section 3.2."""
    coarse = gradcam(model, pixels, targets, layer=layer)
    return backpropagate(model, pixels, targets, rule="guided") * coarse[:, None]
