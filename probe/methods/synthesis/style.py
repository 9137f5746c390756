"""Style transfer: the content of one picture with the Gram matrices of others."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from probe.data.pictures import fitted_size
from probe.methods.synthesis.depth import first_of_each_size, layers_by_depth, spread
from probe.methods.synthesis.matching import FeatureMatch, GramMatch, gram
from probe.methods.synthesis.objectives import Objective, Weighted
from probe.methods.synthesis.optimise import Schedule, Start, optimise
from probe.methods.synthesis.parametrisation import Pixels
from probe.methods.synthesis.regularisers import TotalVariation
from probe.methods.synthesis.steps import LBFGS
from probe.model.model import Model

_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))
_VGG19_CONTENT = "features.22"
_VGG19_STYLE = ("features.1", "features.6", "features.11", "features.20", "features.29")


@dataclass(frozen=True)
class Layers:
    """The layers of a style transfer. paper: whether they, and the scale of the losses, are those of Gatys et al. 2016."""

    content: tuple[str, ...]
    style: tuple[str, ...]
    paper: bool = False

    @property
    def all(self) -> list[str]:
        return list(dict.fromkeys((*self.content, *self.style)))


def default_layers(model: Model) -> Layers:
    """Layers for a network: those of the paper for torchvision's VGG-19, else by depth.

    Style: up to five over the first four fifths of the depth, content: at about two thirds.
    """
    addresses = {layer.address: layer for layer in model.layers}
    vgg19 = model.card.architecture.partition(":")[2] == "vgg19" and all(
        a in addresses for a in (_VGG19_CONTENT, *_VGG19_STYLE)
    )
    if vgg19:
        return Layers((_VGG19_CONTENT,), _VGG19_STYLE, paper=True)
    candidates = layers_by_depth(model)
    upper = candidates[: max(1, round(0.8 * len(candidates)))]
    content = candidates[round(0.55 * (len(candidates) - 1))]
    style = list(dict.fromkeys([*first_of_each_size(model, upper), *spread(upper, 5)]))
    order = {address: index for index, address in enumerate(candidates)}
    return Layers((content,), tuple(spread(sorted(style, key=order.__getitem__), 5)))


@dataclass(frozen=True, eq=False)
class Style:
    """A picture (1, c, h, w) whose style is taken, its weight among several, and where: (1, 1, h, w) in [0, 1]."""

    pixels: Tensor
    weight: float = 1.0
    mask: Tensor | None = None


@dataclass(frozen=True)
class Weights:
    """Weights of the losses. Relative losses are 1 for an image without features, those of the paper are means."""

    content: float = 1.0
    style: float = 50.0
    total_variation: float = 10.0


@dataclass(frozen=True)
class Setting:
    """Layers and weights of a transfer."""

    layers: Layers
    weights: Weights


@dataclass(frozen=True)
class Losses:
    """The losses of a transfer as objectives, one term a layer, to be maximised (they are negative)."""

    content: dict[str, Objective]
    style: dict[str, Objective]

    def objective(self, weights: Weights) -> Objective:
        """Their weighted sum: layers of content alike, layers of style alike, and total variation."""
        terms = [(weights.content / len(self.content), term) for term in self.content.values()]
        terms += [(weights.style / len(self.style), term) for term in self.style.values()]
        terms.append((weights.total_variation, TotalVariation()))
        return Weighted(tuple(terms))


def losses(model: Model, content: Tensor, styles: Sequence[Style], layers: Layers) -> Losses:
    """The losses of pictures of the size of `content` (1, c, h, w): its features, and the Gram matrices of `styles`.

    The weights of several styles are divided by their sum. In the paper's scale the content loss is a mean square and
    that of a style layer is divided by the square of its channels; otherwise both are relative to the features.
    """
    sized = model.at_size(content.shape[2], content.shape[3])
    total = sum(style.weight for style in styles)
    with torch.no_grad():
        features = sized.features(content, *layers.content)
        content_terms: dict[str, Objective] = {
            address: FeatureMatch(address, features[address], relative=not layers.paper)
            for address in layers.content
        }
        terms: dict[str, list[tuple[float, Objective]]] = {address: [] for address in layers.style}
        for style in styles:
            shown = model.at_size(style.pixels.shape[2], style.pixels.shape[3])
            read = shown.features(style.pixels, *layers.style)
            for address in layers.style:
                target = gram(read[address])
                weight = style.weight / total
                if layers.paper:
                    weight /= target.shape[1] ** 2
                match = GramMatch(address, target, mask=style.mask, relative=not layers.paper)
                terms[address].append((weight, match))
    return Losses(content_terms, {address: Weighted(tuple(parts)) for address, parts in terms.items()})


@dataclass(frozen=True)
class Transferred:
    """A transfer at one size. pixels: (1, c, h, w). history: (steps,) of the weighted loss.

    content_loss, style_loss: by layer, of the content picture itself and of the result, unweighted. stopped: the signal
    that ended it early.
    """

    pixels: Tensor
    history: Tensor
    content_loss: dict[str, tuple[float, float]]
    style_loss: dict[str, tuple[float, float]]
    diverged: bool
    stopped: KeyboardInterrupt | None = None


def transfer(
    model: Model,
    content: Tensor,
    styles: Sequence[Style],
    setting: Setting,
    *,
    start: Tensor,
    schedule: Schedule,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Transferred:
    """Bring `start` (1, c, h, w), of the size of `content`, to the content's features and the styles' Gram matrices.

    By L-BFGS on the pixels, in [0, 1]. schedule: its steps, and its frames. Gatys et al. 2016, CVPR, section 2.
    """
    layers = setting.layers
    terms = losses(model, content, styles, layers)
    sized = model.at_size(content.shape[2], content.shape[3])
    optimised = optimise(
        sized,
        terms.objective(setting.weights),
        Pixels(sized.shape),
        schedule,
        start=Start(start),
        step=LBFGS(bounds=(0, 1)),
        progress=progress,
    )
    before, after = (measure(sized, terms, pixels) for pixels in (content, optimised.pixels))
    return Transferred(
        optimised.pixels,
        -optimised.history[:, 0].cpu(),
        {address: (before[0][address], after[0][address]) for address in layers.content},
        {address: (before[1][address], after[1][address]) for address in layers.style},
        bool(optimised.diverged.any()),
        optimised.stopped,
    )


def measure(model: Model, terms: Losses, pixels: Tensor) -> tuple[dict[str, float], dict[str, float]]:
    """The losses of a picture by layer: of content, and of style."""
    read = sorted(set().union(*(t.layers for t in (*terms.content.values(), *terms.style.values()))))
    with torch.no_grad():
        features = model.features(pixels, *read)
        return (
            {address: -float(term.value(features)[0]) for address, term in terms.content.items()},
            {address: -float(term.value(features)[0]) for address, term in terms.style.items()},
        )


def scales(size: tuple[int, int], count: int, smallest: int) -> list[tuple[int, int]]:
    """Sizes (height, width) that end at `size`, each twice the one before, no side below `smallest` but the last's."""
    sizes = [fitted_size(size, round(max(size) / 2**power)) for power in range(count)]
    return [each for i, each in enumerate(sizes) if i == 0 or min(each) >= smallest][::-1]


def luminance(pixels: Tensor) -> Tensor:
    """(n, 3, h, w) -> the luma Y of each pixel, repeated over three channels."""
    weights = torch.tensor(_YIQ[0], dtype=pixels.dtype, device=pixels.device)
    return (pixels * weights[:, None, None]).sum(1, keepdim=True).expand(-1, 3, -1, -1)


def matched_luminance(style: Tensor, content: Tensor) -> Tensor:
    """The luminance of `style`, shifted and scaled to the mean and deviation of that of `content`.

    Gatys et al. 2016, arXiv 1606.05897, section 3.2.
    """
    own, other = luminance(style), luminance(content)
    scaled = (own - own.mean()) * (other.std() / own.std().clamp_min(1e-6)) + other.mean()
    return scaled.clamp(0, 1)


def with_colours_of(pixels: Tensor, content: Tensor) -> Tensor:
    """The luminance of `pixels` with the colours (I and Q) of `content`, both (n, 3, h, w)."""
    matrix = torch.tensor(_YIQ, dtype=pixels.dtype, device=pixels.device)
    yiq = torch.einsum("yc,nchw->nyhw", matrix, content)
    mixed = torch.cat([luminance(pixels)[:, :1], yiq[:, 1:]], 1)
    return torch.einsum("cy,nyhw->nchw", torch.linalg.inv(matrix), mixed).clamp(0, 1)


def mask_of(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """A mask (1, 1, h, w) at `size` from a grey picture: white is 1."""
    return functional.adaptive_avg_pool2d(picture, size)
