"""Published and own settings of activation maximisation, as combinations of the loop's axes."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from probe.methods.synthesis.objectives import Logit, LogProbability, Objective
from probe.methods.synthesis.parametrisation import Pixels
from probe.methods.synthesis.regularisers import L2, TotalVariation

SCORE_WEIGHT = 0.2
CLASS_SMOOTHNESS = 100.0
GREY_CLASS_SMOOTHNESS = 15.0
"""Of class images: log-probability + 0.2 score - 100 total variation; 15 for grey images, whose strokes 100 makes faint.

Chosen by looking at all classes of vgg-shapes and ResNet-20. With the full score and no total variation the images are
saturated and speckled; without any score they stop where the class is certain, as faint parts of it.
"""

CHANNEL_SMOOTHNESS = 10.0
GREY_CHANNEL_SMOOTHNESS = 5.0
"""Of channels and directions: weight of the total variation, times the range of the channel's values over the data.

Chosen by looking at four layers of vgg-shapes, two of ResNet-20, and one each of SqueezeNet and LeNet-5. Without it many
images of vgg-shapes and LeNet-5 are speckled in single pixels, which the next pooling layer does not see. It costs up to
8 % of the values that the images reach (median of a layer); four times as much blurs the details of ResNet-20.
"""


def class_objective(classes: Tensor, *, smoothness: float = CLASS_SMOOTHNESS) -> Objective:
    """What class images maximise by default: the class is certain, its score is high, and the image is smooth."""
    return LogProbability(classes) + SCORE_WEIGHT * Logit(classes) + smoothness * TotalVariation()


def simonyan_objective(classes: Tensor, *, decay: float | Tensor) -> Objective:
    """The score of the class minus the mean squared distance from grey (Simonyan et al. 2014, equation 1).

    decay: weight of the distance, or (n,) one for each image. The paper does not state its own.
    """
    return Logit(classes) + decay * L2()


@dataclass
class BlurredPixels(Pixels):
    """Pixels that after each step are drawn towards their mean image, and blurred every few steps.

    decay: fraction of the distance to the mean image that is taken away. sigma: of the Gaussian blur in pixels. every:
    steps from one blur to the next. Yosinski et al. 2015, arXiv 1506.06579, section 3 and table 1.
    """

    shape: tuple[int, int, int]
    centre: Tensor
    decay: float = 1e-4
    sigma: float = 1.0
    every: int = 4
    steps: int = 0

    def __post_init__(self) -> None:
        super().__init__(self.shape, mean_image=self.centre)

    def project(self, variables: Tensor) -> Tensor:
        self.steps += 1
        centre = self.centre.to(variables)
        variables = centre + (1 - self.decay) * (variables - centre)
        if self.steps % self.every == 0:
            variables = blurred(variables, self.sigma)
        return variables.clamp(0, 1)


def blurred(images: Tensor, sigma: float) -> Tensor:
    """(n, c, h, w) after a Gaussian blur of `sigma` pixels, reflected at the border."""
    reach = min(max(1, round(3 * sigma)), images.shape[2] - 1, images.shape[3] - 1)
    offsets = torch.arange(-reach, reach + 1, dtype=images.dtype, device=images.device)
    profile = (-offsets.square() / (2 * sigma**2)).exp()
    profile = profile / profile.sum()
    channels = images.shape[1]
    padded = functional.pad(images, (reach,) * 4, mode="reflect")
    rows = functional.conv2d(padded, profile.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
    return functional.conv2d(rows, profile.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
