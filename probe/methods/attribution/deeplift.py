"""DeepLIFT and DeepLIFT SHAP by captum, with a rule for max-pooling that adds up where windows overlap."""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from probe.methods.attribution.captum_hooks import detached, hookable, quiet, require_hooks
from probe.methods.attribution.gradients import completeness_error
from probe.methods.attribution.method import GRADIENT_COST, AttributionMethod
from probe.methods.attribution.references import REFERENCES, ReferenceMethod
from probe.methods.attribution.scores import differentiable, uncompiled
from probe.model.batching import in_batches
from probe.model.model import Model
from probe.model.targets import Targets, expanded, scores
from probe.params import Fraction

_RULES = {
    "Relu": nn.ReLU,
    "LeakyRelu": nn.LeakyReLU,
    "Elu": nn.ELU,
    "Sigmoid": nn.Sigmoid,
    "Tanh": nn.Tanh,
    "Softplus": nn.Softplus,
    "MaxPool2DWithIndices": nn.MaxPool2d,
}
_EPS = 1e-10  # of captum: smaller differences of inputs pass the plain gradient


class DeepLIFT(AttributionMethod):
    """The difference between the score and that of a baseline, distributed over the pixels by the rescale rule."""

    name = "deeplift"
    title = "DeepLIFT"
    source = "Shrikumar et al. 2017, arXiv 1704.02685"
    kind = "signed"

    baseline: Fraction = Field(0.0, ge=0, le=1, description="pixel value of the baseline")

    def attribute(self, model: Model, pixels: Tensor, targets: Targets, *, seed: int = 0) -> Tensor:
        """(n, c, h, w) in units of the score; sums to its difference from the baseline's score.

        Raises UserError where captum's hooks would miss a non-linearity: one that is a function, a module that is
        called twice, or one without a rule. Shrikumar et al. 2017, section 3.5.
        """
        pixels, targets = expanded(model, pixels, targets)
        rescale = _Rescale(model, pixels, targets, "DeepLIFT")

        def of_rows(rows: Tensor) -> Tensor:
            image = pixels[rows]
            return rescale(image, torch.full_like(image, self.baseline), targets[rows])

        with torch.inference_mode(False):
            rows = torch.arange(len(pixels), device=pixels.device)
            return in_batches(of_rows, rows, batch=max(1, model.batch(gradient=True) // 2))

    def forward_passes(self, model: Model) -> int:
        return 2 * GRADIENT_COST

    def completeness_error(
        self, model: Model, pixels: Tensor, targets: Targets, attribution: Tensor
    ) -> Tensor | None:
        return completeness_error(model, pixels, targets, attribution, baseline=self.baseline)


class DeepLIFTShap(ReferenceMethod):
    """The mean of DeepLIFT over reference images as baselines: an estimate of SHAP values."""

    name = "deeplift-shap"
    title = "DeepLIFT SHAP"
    source = "Lundberg and Lee 2017, arXiv 1705.07874"
    kind = "signed"

    def attribute(self, model: Model, pixels: Tensor, targets: Targets, *, seed: int = 0) -> Tensor:
        """(n, c, h, w) in units of the score; sums to its difference from the mean score of the references.

        The references are 16 images of the data set, or smooth random colours drawn by `seed`.
        Raises UserError as DeepLIFT does. Lundberg and Lee 2017, section 4.2.
        """
        pixels, targets = expanded(model, pixels, targets)
        rescale = _Rescale(model, pixels, targets, "DeepLIFT SHAP")
        references = self.references(pixels, seed)
        count, total = len(references), torch.zeros_like(pixels)

        def add(pairs: Tensor) -> Tensor:
            image, reference = pairs // count, pairs % count
            parts = rescale(pixels[image], references[reference], targets[image])
            first, last = int(image[0]), int(image[-1])
            rows = torch.arange(first, last + 1, device=image.device)
            weight = (image == rows[:, None]).to(parts) / count
            total[first : last + 1] += (weight @ parts.flatten(1)).view(-1, *pixels.shape[1:])
            return pairs

        with torch.inference_mode(False):
            pairs = torch.arange(len(pixels) * count, device=pixels.device)
            in_batches(add, pairs, batch=max(1, model.batch(gradient=True) // 2))
        return total

    def forward_passes(self, model: Model) -> int:
        return 2 * GRADIENT_COST * REFERENCES


class _Scores(nn.Module):
    """The scores of targets as a module, as captum hooks it."""

    def __init__(self, model: Model, targets: Targets) -> None:
        super().__init__()
        self.network = model.network
        self.score = partial(scores, model)
        self.targets = targets

    def forward(self, pixels: Tensor, rows: Tensor) -> Tensor:
        return self.score(pixels, self.targets[rows])


class _Rescale:
    """captum's DeepLIFT on a copy of the network: (pixels, baselines, targets) -> attributions, one batch."""

    def __init__(self, model: Model, pixels: Tensor, targets: Targets, what: str) -> None:
        self.model = hookable(model)
        first = torch.zeros(1, dtype=torch.long, device=pixels.device)

        def score() -> Tensor:
            with differentiable(pixels[:1]) as leaf, uncompiled():
                return scores(self.model, leaf, targets[first])

        require_hooks(what, self.model, score, rules=_RULES)

    def __call__(self, pixels: Tensor, baselines: Tensor, targets: Targets) -> Tensor:
        with quiet(), uncompiled():
            deeplift = _deeplift(_Scores(self.model, targets))
            with differentiable(pixels) as leaf:
                rows = torch.arange(len(pixels), device=pixels.device)
                return detached(deeplift.attribute(leaf, baselines, additional_forward_args=(rows,)))


def _deeplift(module: nn.Module) -> Any:
    """captum's DeepLift, in which max-pooling has a rule that holds for overlapping windows and for every image."""
    from captum.attr import DeepLift

    class WithPooling(DeepLift):
        def _backward_hook(self, module: nn.Module, grad_input: Tensor, grad_output: Tensor) -> Tensor:
            if type(module) is not nn.MaxPool2d:
                return super()._backward_hook(module, grad_input, grad_output)
            return rescale_max_pool(module, module.input, module.output, grad_input, grad_output)  # type: ignore[arg-type]

    return WithPooling(module, eps=_EPS)


def rescale_max_pool(
    pool: nn.MaxPool2d, inputs: Tensor, outputs: Tensor, grad_input: Tensor, grad_output: Tensor
) -> Tensor:
    """The multipliers of a max-pooling, for a batch of images followed by their baselines.

    What a window contributes goes to the two positions of its maxima, in the image and in the baseline; the
    contributions of overlapping windows add up (captum's unpooling keeps the last).
    """
    image, baseline = outputs.chunk(2)
    higher = torch.maximum(image, baseline)
    contributions = grad_output * torch.cat([higher - baseline, image - higher])
    sizes: tuple[Any, ...] = (pool.kernel_size, pool.stride, pool.padding, pool.dilation, pool.ceil_mode)
    _, positions = F.max_pool2d(inputs, *sizes, return_indices=True)
    placed = torch.zeros_like(inputs).flatten(2)
    placed = placed.scatter_add(2, positions.flatten(2), contributions.flatten(2)).view_as(inputs)
    to_image, to_baseline = placed.chunk(2)
    given = torch.cat(2 * [to_image + to_baseline])
    first, second = inputs.chunk(2)
    difference = torch.cat(2 * [first - second])
    return torch.where(difference.abs() < _EPS, grad_input, given / difference)
