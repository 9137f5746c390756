"""Small networks whose attributions are known or quick to compute."""

import torch
from torch import Tensor, nn

from probe.model.cards import Card, Input
from probe.model.model import Model

SIDE, CLASSES = 10, 4
LABELS = torch.tensor([0, 3, 1, 2])


def model_of(network: nn.Module, *, classes: int = CLASSES) -> Model:
    card = Card(
        name="small",
        architecture="file.py:small",
        classes=tuple(f"class {i}" for i in range(classes)),
        input=Input(shape=(2, SIDE, SIDE), mean=(0.5, 0.25), std=(0.25, 0.5), preprocess=""),
    )
    rng = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=rng) * 0.3
    return Model(network.double(), card)


def images(n: int = 4) -> Tensor:
    return torch.rand(n, 2, SIDE, SIDE, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def small_convnet(activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1),
        activation(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1),
        activation(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, CLASSES),
    )


def linear() -> tuple[Model, Tensor]:
    """A linear model and its weights (classes, c, h, w) in pixel space."""
    dense = nn.Linear(2 * SIDE * SIDE, CLASSES)
    model = model_of(nn.Sequential(nn.Flatten(), dense))
    std = torch.tensor([0.25, 0.5], dtype=torch.float64).view(1, 2, 1, 1)
    return model, dense.weight.detach().view(CLASSES, 2, SIDE, SIDE) / std
