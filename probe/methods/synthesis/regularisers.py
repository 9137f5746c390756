"""Regularisers of optimised images, as objectives of the image itself: L2, alpha-norm, total variation.

Each is a mean over the pixels, so that its weight does not depend on the size of the image.
"""

from dataclasses import dataclass

from torch import Tensor

from probe.methods.synthesis.objectives import PIXELS, Activations, Objective


@dataclass(frozen=True, eq=False)
class L2(Objective):
    """Minus the mean square of the pixels' distance to `centre`, grey by default (Simonyan et al. 2014, equation 1)."""

    centre: float = 0.5
    layers = frozenset({PIXELS})

    def value(self, activations: Activations) -> Tensor:
        return -(activations[PIXELS] - self.centre).flatten(1).square().mean(1)


@dataclass(frozen=True, eq=False)
class AlphaNorm(Objective):
    """Minus the mean of |pixel - centre| ** alpha, which keeps pixels off the ends (Mahendran & Vedaldi 2015, 3.1)."""

    alpha: float = 6.0
    centre: float = 0.5
    layers = frozenset({PIXELS})

    def value(self, activations: Activations) -> Tensor:
        return -(activations[PIXELS] - self.centre).abs().pow(self.alpha).flatten(1).mean(1)


@dataclass(frozen=True, eq=False)
class TotalVariation(Objective):
    """Minus the mean of (dx ** 2 + dy ** 2) ** (beta / 2) of neighbouring pixels (Mahendran & Vedaldi 2015, 3.1).

    For beta below 2 a millionth is added under the root, which has no gradient at 0.
    """

    beta: float = 2.0
    layers = frozenset({PIXELS})

    def value(self, activations: Activations) -> Tensor:
        pixels = activations[PIXELS]
        right = (pixels[:, :, :-1, 1:] - pixels[:, :, :-1, :-1]).square()
        down = (pixels[:, :, 1:, :-1] - pixels[:, :, :-1, :-1]).square()
        squares = right + down
        if self.beta != 2:
            squares = (squares + 1e-6) ** (self.beta / 2)
        return -squares.flatten(1).mean(1)
