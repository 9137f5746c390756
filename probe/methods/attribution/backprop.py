"""Deconvnet and guided backprop: the gradient with another backward rule at every ReLU."""

from torch import Tensor

from probe.methods.attribution.method import AttributionMethod
from probe.methods.attribution.relu_rules import backpropagate
from probe.model.model import Model
from probe.model.targets import Targets


class Deconvnet(AttributionMethod):
    """The backward pass in which each ReLU keeps the positive part of the gradient, whatever its own input was."""

    name = "deconvnet"
    title = "Deconvnet"
    source = "Zeiler and Fergus 2014"
    kind = "magnitude"

    def attribute(self, model: Model, pixels: Tensor, targets: Targets, *, seed: int = 0) -> Tensor:
        """(n, c, h, w). Raises UserError for networks without ReLUs or with other activations."""
        return backpropagate(model, pixels, targets, rule="deconvnet")


class GuidedBackprop(AttributionMethod):
    """The backward pass in which each ReLU keeps the positive part of the gradient where its own input was positive."""

    name = "guided-backprop"
    title = "Guided backprop"
    source = "Springenberg et al. 2015"
    kind = "magnitude"

    def attribute(self, model: Model, pixels: Tensor, targets: Targets, *, seed: int = 0) -> Tensor:
        """(n, c, h, w). Raises UserError for networks without ReLUs or with other activations."""
        return backpropagate(model, pixels, targets, rule="guided")
