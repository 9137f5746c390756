"""A network of depthwise separable convolutions for CIFAR. Howard et al. 2017, arXiv 1704.04861."""

from torch import nn

from probe.zoo.chain import chain
from probe.zoo.initialisation import he

# (channels, stride) of each depthwise separable block.
BLOCKS = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)]


def mobilenet(*, classes: int = 10, channels: int = 3) -> nn.Sequential:
    """Blocks of a depthwise 3 x 3 convolution and a pointwise 1 x 1 convolution. 32 x 32, or any size."""
    network = nn.Sequential()
    network.add_module("conv1", nn.Conv2d(channels, 32, 3, padding=1, bias=False))
    network.add_module("bn1", nn.BatchNorm2d(32))
    network.add_module("relu1", nn.ReLU())
    into = 32
    for index, (out, stride) in enumerate(BLOCKS, start=1):
        network.add_module(f"block{index}", _separable(into, out, stride))
        into = out
    network.add_module("pool", nn.AdaptiveAvgPool2d(1))
    network.add_module("flatten", nn.Flatten())
    network.add_module("linear", nn.Linear(into, classes))
    return he(network)


def _separable(into: int, out: int, stride: int) -> nn.Sequential:
    return chain(
        depthwise=nn.Conv2d(into, into, 3, stride=stride, padding=1, groups=into, bias=False),
        bn1=nn.BatchNorm2d(into),
        relu1=nn.ReLU(),
        pointwise=nn.Conv2d(into, out, 1, bias=False),
        bn2=nn.BatchNorm2d(out),
        relu2=nn.ReLU(),
    )
