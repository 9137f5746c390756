"""The attribution methods by name, each brought to one number a pixel, so that analyses may loop over them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from probe.errors import UserError, unknown
from probe.methods import attribution
from probe.methods.backward import backward_picture
from probe.methods.targets import Targets
from probe.subject.subject import Subject


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
    picture: Callable[[Subject, Tensor, Targets, Settings], Tensor]

    def map(self, subject: Subject, pixels: Tensor, targets: Targets, settings: Settings) -> Tensor:
        """One number a pixel: (n, h, w), in the method's own units."""
        return flat(self.picture(subject, pixels, targets, settings), self.kind)


def flat(picture: Tensor, kind: str) -> Tensor:
    """Colours brought together: a signed picture adds its channels up, another takes the largest size."""
    if picture.ndim == 3:
        return picture
    return picture.sum(1) if kind == "signed" else picture.abs().amax(1)


def _by_rule(rule: str) -> Callable[[Subject, Tensor, Targets, Settings], Tensor]:
    return lambda subject, pixels, targets, _: backward_picture(subject, pixels, targets, rule=rule)  # type: ignore[arg-type]


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
        ),
        Method(
            "smoothgrad",
            "SmoothGrad",
            "Smilkov et al. 2017",
            "magnitude",
            lambda s, x, t, o: a.smoothgrad(s, x, t, seed=o.seed, samples=o.samples, noise=o.noise),
        ),
        Method(
            "occlusion",
            "Occlusion",
            "Zeiler and Fergus 2014",
            "signed",
            lambda s, x, t, o: a.occlusion(s, x, t, window=o.window),
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
        ),
    ]


def _edges(subject: Subject, pixels: Tensor, targets: Targets, settings: Settings) -> Tensor:
    """Sobel's gradient magnitude of the mean colour: a picture that knows nothing of the network."""
    slope = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]], device=pixels.device, dtype=pixels.dtype) / 8
    padded = F.pad(pixels.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    return F.conv2d(padded, torch.stack([slope, slope.T])[:, None]).norm(dim=1)


EDGES = Method("edges", "Edges alone (no network)", "Sobel and Feldman 1968", "magnitude", _edges)
"""The control: how well edges do that no network has looked at."""

METHODS: dict[str, Method] = {method.name: method for method in _table()}


def chosen(names: Iterable[str]) -> list[Method]:
    """The methods called `names`; a UserError with the nearest names for one that there is not."""
    for name in names:
        if name not in METHODS:
            raise unknown("attribution method", name, METHODS)
    return [METHODS[name] for name in names]


def maps_of(
    methods: Iterable[Method], subject: Subject, pixels: Tensor, targets: Targets, settings: Settings
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The maps (n, h, w) of every method that can be applied, and for the others why not, both by name.

    Raises UserError, with the reason of the first, where none can.
    """
    found: dict[str, Tensor] = {}
    left_out: dict[str, str] = {}
    for method in methods:
        try:
            found[method.name] = method.map(subject, pixels, targets, settings)
        except UserError as error:
            left_out[method.name] = str(error)
    if not found:
        raise UserError(next(iter(left_out.values()), "no attribution method was asked for"))
    return found, left_out
