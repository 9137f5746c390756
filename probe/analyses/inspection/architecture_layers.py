"""The layers of a model that contain no others, by kind."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from probe.model.layers import Layer
from probe.model.model import Model

_SPATIAL = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
CONVOLUTION, DENSE, OTHER = "convolutions", "dense layers", "other layers"
KINDS = (CONVOLUTION, DENSE, OTHER)


@dataclass(frozen=True)
class LeafLayers:
    """The layers of a model that contain no others, with their modules."""

    model: Model
    layers: Sequence[Layer]

    @classmethod
    def of(cls, model: Model) -> "LeafLayers":
        layers = [layer for layer in model.layers if layer.leaf]
        return cls(model, layers)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all layers for one image."""
        return sum(layer.macs for layer in self.layers)

    def module(self, layer: Layer) -> nn.Module | None:
        """The module of a layer; None for a function."""
        return self.model.module(layer.address)

    def kind(self, layer: Layer) -> str:
        """Which of KINDS a layer belongs to."""
        module = self.module(layer)
        if isinstance(module, nn.Linear) or layer.kind == "linear":
            return DENSE
        convolution = isinstance(module, nn.Conv1d | nn.Conv2d) or layer.kind == "conv2d"
        return CONVOLUTION if convolution else OTHER

    def has_window(self, layer: Layer) -> bool:
        """Whether a layer is a two-dimensional convolution or pooling."""
        kinds = ("conv2d", *(module.__name__ for module in _SPATIAL))
        return isinstance(self.module(layer), _SPATIAL) or layer.kind in kinds

    def parameters(self, kind: str) -> int:
        """Parameters of all layers of a kind; those of a layer that is called several times count once."""
        return sum(layer.parameters for layer in self.layers if self.kind(layer) == kind and layer.call == 1)
