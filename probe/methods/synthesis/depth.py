"""The layers of a network by depth, from which syntheses choose theirs."""

from itertools import pairwise

from probe.errors import UserError
from probe.model.layer_kinds import ACTIVATIONS
from probe.model.layers import Layer
from probe.model.model import Model

_JOINING = ("Concatenate", "Add")


def layers_by_depth(model: Model) -> list[str]:
    """The maps that everything passes through, after their activation functions: one of each block, in order.

    Sums are taken after their ReLU, and what has fewer channels than both its neighbours (a bottleneck) is left
    out. Raises UserError for a network without maps.
    """
    through = [layer for layer in model.layers if layer.leaf and layer.spatial and layer.on_every_path]
    wide = [layer for layer in through if layer.shape[1] * layer.shape[2] > 1]
    chosen = [layer for layer in wide if layer.kind in (*ACTIVATIONS, *_JOINING)]
    chosen = chosen or [layer for layer in wide if layer.parameters] or wide
    if not chosen:
        raise UserError(f"{model.name} has no layer with maps: this needs a convolutional network")
    inputs = {layer.given for layer in chosen}
    chosen = [layer for layer in chosen if layer.address not in inputs or layer.kind not in _JOINING]
    return [layer.address for layer in chosen if not _bottleneck(layer, chosen)]


def spread(addresses: list[str], count: int) -> list[str]:
    """`count` of the addresses, evenly spread, the first and the last among them.

    >>> spread(["a", "b", "c", "d", "e", "f"], 3)
    ['a', 'c', 'f']
    """
    if count >= len(addresses):
        return addresses
    if count == 1:
        return addresses[-1:]
    step = (len(addresses) - 1) / (count - 1)
    return [addresses[int(index * step)] for index in range(count)]


def first_of_each_size(model: Model, addresses: list[str]) -> list[str]:
    """Of the addresses, which are in order, the first at each size of map."""
    sizes = [model.layers.find(address).shape[1:] for address in addresses]
    changes = [True, *(before != after for before, after in pairwise(sizes))]
    return [address for address, changed in zip(addresses, changes, strict=True) if changed]


def _bottleneck(layer: Layer, layers: list[Layer]) -> bool:
    index = layers.index(layer)
    neighbours = layers[max(0, index - 1) : index] + layers[index + 1 : index + 2]
    return len(neighbours) == 2 and all(layer.channels < other.channels for other in neighbours)
