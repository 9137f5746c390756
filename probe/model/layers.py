"""The layers of a network: addresses, output shapes, parameters, multiply-accumulates and receptive fields."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from probe.errors import UserError, unknown
from probe.model.receptive_field import ReceptiveField


@dataclass(frozen=True)
class Layer:
    """One call of one module or function in a forward pass.

    address: dotted module name, with "#2" for its second call; for a function the name of the module that calls it,
    "/" and the name of the function. shape: of its output, without the batch. macs: multiply-accumulates for one
    image, including those of the modules inside it. calls: how often its module or function is called in a forward
    pass, and call, from 1, which of the calls this is. leaf: whether it is a function or a module without modules inside.
    receptive_field: the pixels that a unit depends on; None if it cannot be determined. given: address of the layer
    whose output is its first input; None if that has no address. channels_last: whether its output is (height, width,
    channels), as inside the blocks of ConvNeXt.
    """

    address: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    macs: int
    calls: int
    leaf: bool
    receptive_field: ReceptiveField | None
    given: str | None = None
    channels_last: bool = False
    on_every_path: bool = True
    call: int = 1

    @property
    def spatial(self) -> bool:
        """Whether its output is a stack of maps, (channels, height, width)."""
        return len(self.shape) == 3 and not self.channels_last

    @property
    def channels(self) -> int:
        return self.shape[0]


@dataclass(frozen=True)
class Address:
    """A layer, a channel of it, or one unit, as in features.7, features.7:12 and features.7:12:3,4."""

    layer: str
    channel: int | None = None
    position: tuple[int, int] | None = None

    def __str__(self) -> str:
        text = self.layer
        if self.channel is not None:
            text += f":{self.channel}"
        if self.position is not None:
            text += f":{self.position[0]},{self.position[1]}"
        return text


class Layers(Sequence[Layer]):
    """The layers of a network in the order in which a forward pass completes them."""

    def __init__(self, owner: str, layers: Iterable[Layer], *, feature_map: str | None = None) -> None:
        self.owner = owner
        self.feature_map = feature_map
        """Address of the last maps, which are pooled globally or flattened to compute the logits; None if they have no
        address."""
        self._layers = {layer.address: layer for layer in layers}

    def __len__(self) -> int:
        return len(self._layers)

    def __getitem__(self, index: Any) -> Any:
        return list(self._layers.values())[index]

    def __contains__(self, address: object) -> bool:
        return address in self._layers

    def find(self, address: str) -> Layer:
        """The layer at `address`; raises UserError, with the nearest addresses, if there is none."""
        if address not in self._layers:
            hint = f"`probe layers {self.owner}` lists all {len(self)}."
            raise unknown("layer", address, self._layers, hint=hint)
        return self._layers[address]

    def parse(self, text: str) -> Address:
        """Parse `layer`, `layer:channel` or `layer:channel:row,column`; raises UserError for a part that does not exist."""
        match = re.fullmatch(r"([^:]+)(?::(\d+))?(?::(\d+),(\d+))?", text.strip())
        if match is None or (match[3] and not match[2]):
            raise UserError(
                f"{text!r} is not a layer address: write layer, layer:channel or layer:channel:row,column"
            )
        layer = self.find(match[1])
        address = Address(
            layer.address,
            None if match[2] is None else int(match[2]),
            None if match[3] is None else (int(match[3]), int(match[4])),
        )
        if address.channel is not None and address.channel >= layer.channels:
            raise UserError(
                f"layer {layer.address} has {layer.channels} channels, 0 to {layer.channels - 1}: there is no channel {address.channel}"
            )
        if address.position is not None:
            if not layer.spatial:
                raise UserError(f"layer {layer.address} has no maps: {text!r} cannot name a row and column")
            height, width = layer.shape[1:]
            if address.position[0] >= height or address.position[1] >= width:
                raise UserError(
                    f"the maps of {layer.address} are {height} x {width}: there is no unit {address.position[0]},{address.position[1]}"
                )
        return address

    def of_kind(self, *kinds: str) -> list[Layer]:
        """The layers whose class name is one of `kinds`, such as "Conv2d"."""
        return [layer for layer in self if layer.kind in kinds]

    @property
    def convolutions(self) -> list[Layer]:
        """The two-dimensional convolutions, the first call of each."""
        return [layer for layer in self.of_kind("Conv2d") if layer.spatial and layer.call == 1]

    @property
    def maps(self) -> list[Layer]:
        """The leaf layers whose output is a stack of maps larger than one pixel."""
        return [
            layer for layer in self if layer.leaf and layer.spatial and layer.shape[1] * layer.shape[2] > 1
        ]
