"""Networks to attack: linear ones with closed forms, and a small one trained on digits."""

import copy
from functools import cache

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from probe.data.images import Images
from probe.model.cards import Card, Input
from probe.model.model import Model


def model_of(
    network: nn.Module, shape: tuple[int, int, int], classes: int, *, mean: float = 0.0, std: float = 1.0
) -> Model:
    side = shape[0]
    card = Card(
        name="victim",
        architecture="tests",
        classes=tuple(str(i) for i in range(classes)),
        input=Input(shape=shape, mean=(mean,) * side, std=(std,) * side, preprocess=f"resize {shape[1]}"),
    )
    return Model(network, card)


def linear(weights: Tensor, bias: Tensor, shape: tuple[int, int, int], **normalisation: float) -> Model:
    """logits = weights (classes, values) x + bias, in the precision of `weights`."""
    layer = nn.Linear(weights.shape[1], len(weights)).to(weights.dtype)
    layer.weight.data, layer.bias.data = weights.clone(), bias.clone()
    return model_of(nn.Sequential(nn.Flatten(), layer), shape, len(weights), **normalisation)


@cache
def _read() -> tuple[Tensor, Tensor]:
    pixels, labels = (torch.as_tensor(part) for part in load_digits(return_X_y=True))
    return pixels.float().view(-1, 1, 8, 8) / 16, labels


def digits() -> tuple[Tensor, Tensor]:
    """600 handwritten digits that `reader` was not trained on: (600, 1, 8, 8) in [0, 1], (600,)."""
    pixels, labels = _read()
    return pixels[-600:], labels[-600:]


def digit_images(n: int = 600, *, labelled: bool = True) -> Images:
    """The first `n` of `digits` as Images."""
    pixels, labels = digits()
    classes = tuple(str(i) for i in range(10))
    return Images.from_tensor(pixels[:n], labels[:n] if labelled else None, classes=classes, name="digits")


def fitted(network: nn.Sequential, *, steps: int = 200) -> nn.Sequential:
    """`network` trained on the other digits for a second or two."""
    pixels, labels = (t[:-600] for t in _read())
    rng = torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(steps):
        rows = torch.randint(len(pixels), (128,), generator=rng)
        loss = nn.functional.cross_entropy(network(pixels[rows]), labels[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network


def fresh(batch_norm: bool = False) -> nn.Sequential:
    """A small convolutional network for 8 x 8, its weights drawn with a fixed seed."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        norm = nn.BatchNorm2d(16) if batch_norm else nn.Identity()
        return nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), norm, nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10),
        )  # fmt: skip


class Rounded(nn.Module):
    """Pixels on eight levels: the gradient of rounding is zero."""

    def forward(self, x: Tensor) -> Tensor:
        return (x * 8).round() / 8


class NoGradient(nn.Module):
    """No gradient reaches the pixels."""

    def forward(self, x: Tensor) -> Tensor:
        return x.detach()


class Noisy(nn.Module):
    """Random in evaluation mode too."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.1 * torch.randn_like(x)


class NanGradient(nn.Module):
    """The pixels themselves, but for a gradient that is NaN where they are black."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x.log() * 0 + x, x)


def defective(*layers: nn.Module, before: bool) -> Model:
    """`reader` with layers before or after it."""
    network = copy.deepcopy(reader().network)
    return model_of(
        nn.Sequential(*layers, network) if before else nn.Sequential(network, *layers), (1, 8, 8), 10
    )


DEFECTS: tuple[tuple[nn.Module, bool, str], ...] = (
    (nn.Softmax(1), False, "outputs are logits"),
    (Noisy(), True, "deterministic predictions"),
    (NoGradient(), True, "gradient"),
    (Rounded(), True, "gradient"),
    (NanGradient(), True, "gradient"),
)
"""A layer, whether it comes before the network, and what the warning beside any attack names."""


@cache
def reader() -> Model:
    """The network `fresh`, trained: about 95% on `digits`."""
    return model_of(fitted(fresh(batch_norm=True)), (1, 8, 8), 10)
