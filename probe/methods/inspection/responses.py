"""Responses of layers over many images: range of each channel, proportion of zeros, dead channels."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from probe.data.images import Batch
from probe.model.model import Model


@dataclass(frozen=True)
class Response:
    """The activations of a layer over many images.

    minimum, maximum: (channels,) over all images and positions. zeros: proportion of activations that are exactly 0,
    in [0, 1]. count: number of activations.
    """

    minimum: Tensor
    maximum: Tensor
    zeros: float
    count: int

    @property
    def dead(self) -> Tensor:
        """(channels,) whether a channel has one and the same value at all positions of all images."""
        return self.minimum == self.maximum


def responses(model: Model, batches: Iterable[Batch], addresses: Sequence[str]) -> dict[str, Response]:
    """The response of each layer over all batches, in one pass that keeps no activation."""
    running = {address: _Running() for address in addresses}
    with torch.inference_mode():
        for batch in batches:
            for address, activation in model.features(batch.pixels, *addresses).items():
                running[address].add(activation)
    return {address: layer.response() for address, layer in running.items()}


class _Running:
    """The response over the batches so far, on the device of the activations."""

    def __init__(self) -> None:
        self.minimum: Tensor | None = None
        self.maximum: Tensor | None = None
        self.zeros: Tensor | int = 0
        self.count = 0

    def add(self, activation: Tensor) -> None:
        channels = activation.flatten(2).movedim(1, 0).flatten(1) if activation.ndim > 2 else activation.T
        minimum, maximum = channels.aminmax(dim=1)
        self.minimum = minimum if self.minimum is None else torch.minimum(self.minimum, minimum)
        self.maximum = maximum if self.maximum is None else torch.maximum(self.maximum, maximum)
        self.zeros = self.zeros + (activation == 0).sum()
        self.count += activation.numel()

    def response(self) -> Response:
        if self.minimum is None or self.maximum is None:
            raise ValueError("no images to measure responses over")
        return Response(self.minimum.cpu(), self.maximum.cpu(), int(self.zeros) / self.count, self.count)
