"""A densely connected network for CIFAR. Huang et al. 2017, arXiv 1608.06993."""

import torch
from torch import Tensor, nn

from probe.errors import UserError
from probe.zoo.chain import chain
from probe.zoo.initialisation import he


def densenet(*, classes: int = 10, channels: int = 3, depth: int = 40, growth: int = 16) -> nn.Sequential:
    """DenseNet-BC: three blocks whose layers take all maps before them; transitions halve channels and size.

    Raises UserError unless depth = 6 n + 4.
    """
    if not 10 <= depth <= 1202 or depth % 6 != 4:
        raise UserError(f"depth must be 6 n + 4, such as 22, 40 or 100, and at most 1202, got {depth}")
    layers = (depth - 4) // 6
    width = 2 * growth
    network = nn.Sequential()
    network.add_module("conv1", nn.Conv2d(channels, width, 3, padding=1, bias=False))
    for block in (1, 2, 3):
        network.add_module(
            f"block{block}", nn.Sequential(*(DenseLayer(width + i * growth, growth) for i in range(layers)))
        )
        width += layers * growth
        if block < 3:
            network.add_module(f"transition{block}", _transition(width, width // 2))
            width //= 2
    network.add_module("bn", nn.BatchNorm2d(width))
    network.add_module("relu", nn.ReLU())
    network.add_module("pool", nn.AdaptiveAvgPool2d(1))
    network.add_module("flatten", nn.Flatten())
    network.add_module("linear", nn.Linear(width, classes))
    return he(network)


class DenseLayer(nn.Module):
    """Appends `growth` maps to its input, computed from it through a bottleneck of 4 `growth` channels."""

    def __init__(self, into: int, growth: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(into)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(into, 4 * growth, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(4 * growth)
        self.relu2 = nn.ReLU()
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        new = self.conv2(self.relu2(self.bn2(self.conv1(self.relu1(self.bn1(x))))))
        return torch.cat([x, new], dim=1)


def _transition(into: int, out: int) -> nn.Sequential:
    return chain(
        bn=nn.BatchNorm2d(into),
        relu=nn.ReLU(),
        conv=nn.Conv2d(into, out, 1, bias=False),
        pool=nn.AvgPool2d(2),
    )
