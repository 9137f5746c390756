"""Fixtures of many tests: a small model and images."""

import os
import signal

import pytest

os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # as the command line does, before torch is loaded
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A background job of a shell ignores Ctrl-C, and so would the processes that tests start and interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)

import torch
from torch import nn

from probe.data.images import Images
from probe.model.cards import Card, Input
from probe.model.model import Model


def model_of(network: nn.Module, shape: tuple[int, int, int], classes: int, name: str = "net") -> Model:
    """`network` as a Model whose pixels are centred on 0.5."""
    channels = (0.5,) * shape[0]
    card = Card(
        name=name,
        architecture="tests",
        classes=tuple(f"class {index}" for index in range(classes)),
        input=Input(
            shape=shape, mean=channels, std=channels, preprocess=f"resize {shape[1]}, centre crop {shape[1]}"
        ),
    )
    return Model(network, card)


def convolutional_network() -> nn.Sequential:
    """Two convolutions with ReLU, batch norm, pooling and dropout: 3 x 32 x 32, ten classes."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 5, padding=2),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 12, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        nn.AdaptiveMaxPool2d(2),
        nn.Flatten(),
        nn.Linear(48, 10),
    )


@pytest.fixture
def convnet() -> Model:
    """Two convolutions with ReLU and batch norm, 3 x 32 x 32, ten classes, random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = convolutional_network()
        for parameter in network.parameters():
            parameter.data.mul_(2)
    return model_of(network, (3, 32, 32), 10, "convnet")


@pytest.fixture
def noise_images() -> Images:
    """Forty random colour images of 32 x 32 with labels and masks."""
    draw = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (40, 3, 32, 32), dtype=torch.uint8, generator=draw)
    masks = torch.zeros(40, 32, 32, dtype=torch.bool)
    masks[:, 8:20, 10:24] = True
    labels = torch.arange(40) % 10
    names = tuple(f"class {index}" for index in range(10))
    return Images.from_tensor(pixels, labels, classes=names, name="noise", masks=masks)


class ResidualBlock(nn.Module):
    """A convolution whose input is added, by an operator."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1).requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.conv(x)) + x


def suited(analysis: str, model: Model) -> Model:
    """`model`, or for an analysis of residual networks one with the same layers and two residual blocks."""
    if analysis != "residual-paths":
        return model
    with torch.random.fork_rng():
        torch.manual_seed(2)
        layers = [*model.network[:4], ResidualBlock(8), ResidualBlock(8), *model.network[4:]]
    return Model(nn.Sequential(*layers), model.card, model.device)
