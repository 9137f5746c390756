"""What a stated number of seconds allows, estimated from the network alone, so that results do not depend on the machine's load."""

import math

from probe.model.model import Model

GRADIENT_COST = 3
"""Forward passes that one forward and backward pass takes."""

_MACS = 5e10  # a second, on one core of a present CPU; fourteen networks from LeNet to ConvNeXt agree within a third
_VALUES = 1.5e9  # activations written in a second: what depthwise convolutions and small networks wait for


def forward_seconds(model: Model, deepest: str = "") -> float:
    """Seconds of a forward pass of one image, in a batch, on one CPU core; deepest: the layer at which it stops."""
    leaves = [layer for layer in model.layers if layer.leaf]
    if deepest:
        addresses = [layer.address for layer in model.layers]
        before = set(addresses[: addresses.index(deepest) + 1])
        leaves = [layer for layer in leaves if layer.address in before]
    macs = sum(layer.macs for layer in leaves)
    values = sum(math.prod(layer.shape) for layer in leaves)
    return max(macs / _MACS + values / _VALUES, 1e-6)


def affordable(seconds: float, model: Model, *, passes: float, low: int, high: int) -> int:
    """How many items, `low` to `high`, take at most `seconds` on one CPU core.

    passes: forward passes that one item takes, a gradient counted as `GRADIENT_COST`. The same network gets the same
    number on every machine.
    """
    return min(high, max(low, int(seconds / (passes * forward_seconds(model)))))
