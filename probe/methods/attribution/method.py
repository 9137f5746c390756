"""The base class of attribution methods, the reduction of maps to one value per pixel, and what maps cost."""

from abc import abstractmethod
from collections.abc import Iterable
from typing import ClassVar, Literal, Self

from torch import Tensor

from probe.model.budget import GRADIENT_COST, forward_seconds
from probe.model.model import Model
from probe.model.state import preserved_once
from probe.model.targets import Targets, as_targets
from probe.registry import Declared

Kind = Literal["signed", "magnitude"]

Precision = Literal["fine", "medium", "coarse"]
"""How much work a method may spend where its parameters leave that open."""


class AttributionMethod(Declared):
    """An attribution method with its parameters: how much each pixel contributes to a score.

    A subclass sets `name`, `title`, `source` and `kind`, and writes `attribute`; its fields are its parameters.
    kind: "signed" maps are positive where a pixel raises the score and negative where it lowers it; "magnitude" maps
    only tell how much the score depends on a pixel.
    """

    kind: ClassVar[Kind]
    refined_by: ClassVar[str] = ""
    """The parameter that brings its completeness error down, if any."""

    @abstractmethod
    def attribute(self, model: Model, pixels: Tensor, targets: Targets, *, seed: int = 0) -> Tensor:
        """The attribution of the scores of `targets` to `pixels`.

        pixels: (n, c, h, w) in [0, 1]. targets: one per image, see `probe.model.targets`. seed: of random draws.
        Returns (n, c, h, w), or (n, h, w) for methods that do not tell channels apart; units depend on the method.
        Raises UserError where the method cannot be applied to this model or these targets.
        """

    def __call__(
        self, model: Model, pixels: Tensor, targets: Targets | int | str, *, seed: int = 0
    ) -> Tensor:
        """`attribute`; afterwards the buffers of a network that ignores `eval()` are as before.

        targets: as of `attribute`; or a class by number or name, or an address such as "features.7:3", for all images.
        """
        with preserved_once(model.network):
            return self.attribute(model, pixels, as_targets(model, targets, len(pixels)), seed=seed)

    def map(self, model: Model, pixels: Tensor, targets: Targets | int | str, *, seed: int = 0) -> Tensor:
        """`attribute` reduced to one value per pixel: (n, h, w), in the same units."""
        return reduce_channels(self(model, pixels, targets, seed=seed), self.kind)

    def resolved(self, model: Model, precision: Precision = "fine") -> Self:
        """The method with the parameters filled in that are left to the model (0 or empty)."""
        return self

    def with_references(self, pixels: Tensor) -> Self:
        """The method with images of the data set (n, c, h, w), for methods that compare an image with others."""
        return self

    def forward_passes(self, model: Model) -> int:
        """The cost of the attribution of one image, in forward passes."""
        return GRADIENT_COST

    def completeness_error(
        self, model: Model, pixels: Tensor, targets: Targets, attribution: Tensor
    ) -> Tensor | None:
        """For methods whose attributions should sum to a difference of scores, by how much they fail to: (n,)."""
        return None


def reduce_channels(attribution: Tensor, kind: Kind) -> Tensor:
    """One value per pixel, (n, h, w): the sum over channels of a signed attribution, else the largest magnitude."""
    if attribution.ndim == 3:
        return attribution
    return attribution.sum(1) if kind == "signed" else attribution.abs().amax(1)


def seconds(methods: Iterable[AttributionMethod], model: Model) -> float:
    """Seconds that one image takes by all of `methods` on one CPU core, estimated from the network alone."""
    return sum(method.forward_passes(model) for method in methods) * forward_seconds(model)
