"""The attribution methods by name, each brought to one number a pixel, so that analyses may loop over them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from probe.errors import unknown
from probe.methods.attribution import gradients as attribution
from probe.methods.attribution.relu_rules import backpropagate
from probe.model.model import Model
from probe.model.targets import Targets

GRADIENT = 3
"""What a gradient costs in forward passes, measured on SqueezeNet, VGG and ResNet: 2.3 to 3.2."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the methods may be told; each reads what concerns it.

    steps: of integrated gradients. samples, noise: of SmoothGrad. window: side of the occluding square, 0 for a
    sixth of the image. layer: of Grad-CAM, empty for the last with maps. baseline: of gradient x input and
    integrated gradients. seed: of the noise.
    """

    steps: int = 32
    samples: int = 16
    noise: float = 0.15
    window: int = 0
    layer: str = ""
    baseline: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Method:
    """kind: "signed" maps are for (+) or against (-) the score; "magnitude" maps say how much, not which way."""

    name: str
    title: str
    source: str
    kind: Literal["signed", "magnitude"]
    picture: Callable[[Model, Tensor, Targets, Settings], Tensor]
    passes: Callable[[Model, Settings], int] = lambda model, settings: GRADIENT
    """What a picture of one image costs, in forward passes."""

    def map(self, model: Model, pixels: Tensor, targets: Targets, settings: Settings) -> Tensor:
        """One number a pixel: (n, h, w), in the method's own units."""
        return reduce_channels(self.picture(model, pixels, targets, settings), self.kind)


def reduce_channels(picture: Tensor, kind: str) -> Tensor:
    """Colours brought together: a signed picture adds its channels up, another takes the largest size."""
    if picture.ndim == 3:
        return picture
    return picture.sum(1) if kind == "signed" else picture.abs().amax(1)


def _by_rule(rule: str) -> Callable[[Model, Tensor, Targets, Settings], Tensor]:
    return lambda model, pixels, targets, _: backpropagate(model, pixels, targets, rule=rule)  # type: ignore[arg-type]


def _squares(model: Model, settings: Settings) -> int:
    _, _, rows, columns = attribution.occlusion_grid(*model.shape[1:], window=settings.window)
    return rows * columns


def _table() -> list[Method]:
    a = attribution
    return [
        Method("gradient", "Gradient", "Simonyan et al. 2014", "magnitude", _by_rule("gradient")),
        Method("deconvnet", "Deconvnet", "Zeiler and Fergus 2014", "magnitude", _by_rule("deconvnet")),
        Method("guided", "Guided backprop", "Springenberg et al. 2015", "magnitude", _by_rule("guided")),
        Method(
            "gradient_input",
            "Gradient × input",
            "Shrikumar et al. 2017",
            "signed",
            lambda s, x, t, o: a.gradient_input(s, x, t, baseline=o.baseline),
        ),
        Method(
            "integrated_gradients",
            "Integrated gradients",
            "Sundararajan et al. 2017",
            "signed",
            lambda s, x, t, o: a.integrated_gradients(s, x, t, baseline=o.baseline, steps=o.steps),
            lambda s, o: GRADIENT * o.steps,
        ),
        Method(
            "smoothgrad",
            "SmoothGrad",
            "Smilkov et al. 2017",
            "magnitude",
            lambda s, x, t, o: a.smoothgrad(s, x, t, seed=o.seed, samples=o.samples, noise=o.noise),
            lambda s, o: GRADIENT * o.samples,
        ),
        Method(
            "occlusion",
            "Occlusion",
            "Zeiler and Fergus 2014",
            "signed",
            lambda s, x, t, o: a.occlusion(s, x, t, window=o.window),
            _squares,
        ),
        Method(
            "gradcam",
            "Grad-CAM",
            "Selvaraju et al. 2017",
            "magnitude",
            lambda s, x, t, o: a.gradcam(s, x, t, layer=o.layer),
        ),
        Method(
            "guided_gradcam",
            "Guided Grad-CAM",
            "Selvaraju et al. 2017",
            "magnitude",
            lambda s, x, t, o: a.guided_gradcam(s, x, t, layer=o.layer),
            lambda s, o: 2 * GRADIENT,
        ),
    ]


def _edges(model: Model, pixels: Tensor, targets: Targets, settings: Settings) -> Tensor:
    """Sobel's gradient magnitude of the mean colour: a picture that knows nothing of the network."""
    slope = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]], device=pixels.device, dtype=pixels.dtype) / 8
    padded = F.pad(pixels.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    return F.conv2d(padded, torch.stack([slope, slope.T])[:, None]).norm(dim=1)


EDGES = Method(
    "edges", "Edges alone (no network)", "Sobel and Feldman 1968", "magnitude", _edges, lambda s, o: 0
)
"""The control: how well edges do that no network has looked at."""

METHODS: dict[str, Method] = {method.name: method for method in _table()}


def chosen(names: Iterable[str]) -> list[Method]:
    """The methods called `names`; a UserError with the nearest names for one that there is not."""
    for name in names:
        if name not in METHODS:
            raise unknown("attribution method", name, METHODS)
    return [METHODS[name] for name in names]


Level = tuple[int, int, int]
"""Steps of integrated gradients, samples of SmoothGrad, and how many occluding squares make a side of the image."""

LEVELS: tuple[Level, ...] = ((32, 16, 6), (16, 8, 4), (8, 4, 3))


def filled(settings: Settings, model: Model, level: Level) -> Settings:
    """`settings` with its zeros filled in from `level`; what is no zero stays."""
    steps, samples, part = level
    return replace(
        settings,
        steps=settings.steps or steps,
        samples=settings.samples or samples,
        window=settings.window or max(1, round(min(model.shape[1:]) / part)),
    )


def cost(methods: Iterable[Method], model: Model, settings: Settings) -> float:
    """Multiply-accumulates for one image by all of `methods`, at least 1."""
    passes = sum(method.passes(model, settings) for method in methods)
    return max(1.0, float(passes) * macs(model))


def macs(model: Model) -> int:
    """Multiply-accumulates of a forward pass, at least 1."""
    return max(1, sum(layer.macs for layer in model.layers if layer.leaf))
