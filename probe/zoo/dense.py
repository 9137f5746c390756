"""A baseline for LeNet-5 without convolutions: dense layers with as many parameters."""

from itertools import pairwise

from torch import nn

from probe.zoo.initialisation import xavier

# Five widths that give exactly as many parameters as lenet5 has: 61,706 and, in colour, 62,006.
WIDTHS = {1: (47, 48, 43, 49, 45), 3: (19, 17, 18, 16, 17)}


def dense_baseline(
    *, classes: int = 10, channels: int = 1, widths: tuple[int, ...] | None = None
) -> nn.Sequential:
    """Five dense layers in place of LeNet-5's convolutions and pooling, then 84 and `classes`; tanh. 32 x 32.

    widths: of the layers before the 84; by default those that give as many parameters as `lenet5` with the same classes
    and channels has (exactly for 1 and 3 channels, else as closely as five equal widths allow).
    """
    pixels = channels * 32 * 32
    widths = widths or WIDTHS.get(channels) or (_equal_width(pixels, channels),) * 5
    sizes = (pixels, *widths, 84)
    network = nn.Sequential(nn.Flatten())
    for position, (into, out) in enumerate(pairwise(sizes), start=1):
        network.add_module(f"dense{position}", nn.Linear(into, out))
        network.add_module(f"act{position}", nn.Tanh())
    network.add_module(f"dense{len(sizes)}", nn.Linear(84, classes))
    return xavier(network)


def _equal_width(pixels: int, channels: int) -> int:
    lenet = 6 * (25 * channels + 1) + 16 * (25 * 6 + 1) + 120 * (25 * 16 + 1) + 84 * 121

    def dense(width: int) -> int:
        return (pixels + 1) * width + 4 * (width + 1) * width + (width + 1) * 84

    return min(range(1, 64), key=lambda width: abs(dense(width) - lenet))
