"""Images of an analysis of the landscape, normalised once and resident on the device of the model."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from probe.data.images import Images
from probe.model.model import Model
from probe.model.outputs import find_logits


@dataclass(frozen=True)
class LoadedImages:
    """Batches of inputs, normalised and channels-last, with their labels; logits: from what the network returns."""

    inputs: list[Tensor]
    labels: list[Tensor]
    logits: Callable[[Any], Tensor]

    @classmethod
    def of(
        cls, model: Model, images: Images, *, dtype: torch.dtype, gradient: bool = False
    ) -> "LoadedImages":
        """gradient: whether the batches are for passes that keep all activations, twice."""
        size = model.batch_in_cache(gradient=gradient)
        if gradient:
            size = min(size, max(1, model.batch(gradient=True) // 2))
        inputs, labels = [], []
        for batch in images.batches(size, model.device):
            assert batch.labels is not None
            normalised = model.normalise(batch.pixels).to(dtype)
            inputs.append(normalised.contiguous(memory_format=torch.channels_last))
            labels.append(batch.labels)
        classes, name = len(model.classes), model.name
        return cls(inputs, labels, lambda output: find_logits(output, classes, name))


def macs_per_image(model: Model) -> int:
    """Multiply-accumulates of a forward pass, at least 1."""
    return sum(layer.macs for layer in model.layers if layer.leaf) or 1
