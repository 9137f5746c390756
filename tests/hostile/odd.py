"""Odd networks by the number: combinations of what people's networks do, most of which should work."""

import random
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from tests.hostile.networks import CLASSES, KINDS, Answer, Pair, layers

SIZE = 16

OUTPUTS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "tensor": lambda logits, maps: logits,
    "tuple": lambda logits, maps: (logits, maps),
    "tuple of one": lambda logits, maps: (logits,),
    "maps first": lambda logits, maps: (maps, logits),
    "list": lambda logits, maps: [logits, maps],
    "dictionary": lambda logits, maps: {"out": logits, "maps": maps},
    "nested": lambda logits, maps: {"out": (logits, [maps])},
    "dataclass": lambda logits, maps: Answer(logits),
    "named tuple": lambda logits, maps: Pair(logits, maps),
    "two heads": lambda logits, maps: (logits, -logits),
    "probabilities": lambda logits, maps: logits.softmax(1),
    "maps of one pixel": lambda logits, maps: logits[:, :, None, None],
    "squeezed": lambda logits, maps: logits.squeeze(),
    "one number": lambda logits, maps: logits[:, :1],
    "a vector": lambda logits, maps: logits[:, 0],
    "a mean": lambda logits, maps: logits.mean(),
    "nan": lambda logits, maps: logits / 0 * 0,
    "constant": lambda logits, maps: torch.zeros_like(logits),
    "integers": lambda logits, maps: logits.argmax(1),
    "complex": lambda logits, maps: torch.complex(logits.float(), logits.float()),
    "sparse": lambda logits, maps: logits.to_sparse(),
    "none": lambda logits, maps: None,
    "text": lambda logits, maps: "cat",
    "empty": lambda logits, maps: (),
    "numpy": lambda logits, maps: logits.detach().numpy(),
    "detached": lambda logits, maps: logits.detach(),
}
_ORDINARY = ("tensor", "tuple", "dictionary", "dataclass", "named tuple", "list", "tuple of one")

WAYS: dict[str, Callable[["Odd", Tensor], tuple[Tensor, Tensor]]] = {}
"""From the input to the logits and the maps."""


def way(function: Callable[["Odd", Tensor], tuple[Tensor, Tensor]]) -> Callable[..., Any]:
    WAYS[function.__name__] = function
    return function


@way
def plain(net: "Odd", x: Tensor) -> tuple[Tensor, Tensor]:
    maps = net.stem(x)
    return net.head(maps), maps


@way
def without_gradient(net: "Odd", x: Tensor) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        return plain(net, x)


@way
def inference(net: "Odd", x: Tensor) -> tuple[Tensor, Tensor]:
    with torch.inference_mode():
        return plain(net, x)


@way
def training(net: "Odd", x: Tensor) -> tuple[Tensor, Tensor]:
    net.train()
    return plain(net, x)


@way
def dropout(net: "Odd", x: Tensor) -> tuple[Tensor, Tensor]:
    maps = functional.dropout(net.stem(x), 0.2, training=True)
    return net.head(maps), maps


@way
def noise(net: "Odd", x: Tensor) -> tuple[Tensor, Tensor]:
    return plain(net, x + 0.01 * torch.randn_like(x))


@way
def over_the_batch(net: "Odd", x: Tensor) -> tuple[Tensor, Tensor]:
    logits, maps = plain(net, x)
    return functional.batch_norm(logits, None, None, training=True), maps


@way
def in_place(net: "Odd", x: Tensor) -> tuple[Tensor, Tensor]:
    return plain(net, x.mul_(1.0))


@way
def reused(net: "Odd", x: Tensor) -> tuple[Tensor, Tensor]:
    maps = net.stem(x)
    maps = net.again(net.again(maps)) + maps
    return net.head(functional.relu(maps)), maps


@way
def by_values(net: "Odd", x: Tensor) -> tuple[Tensor, Tensor]:
    return plain(net, x if float(x.detach().mean()) > -1e9 else -x)


@way
def image_by_image(net: "Odd", x: Tensor) -> tuple[Tensor, Tensor]:
    maps = torch.stack([net.stem(image[None])[0] for image in x])
    return net.head(maps), maps


@way
def channels_last(net: "Odd", x: Tensor) -> tuple[Tensor, Tensor]:
    return plain(net, x.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1).permute(0, 3, 1, 2))


@way
def counts(net: "Odd", x: Tensor) -> tuple[Tensor, Tensor]:
    net.calls += 1
    return plain(net, x * (1 + 1e-6 * net.calls))


def _named(modules: list[nn.Module], rng: random.Random) -> nn.Sequential:
    """The modules in a row, with names that addresses could be mistaken for."""
    if rng.random() < 0.6:
        return nn.Sequential(*modules)
    stem = rng.choice(["a#{}", "x/relu#{}", "{}:3", "layer {}", "é{}", "relu/{}", "#{}"])
    return nn.Sequential(OrderedDict((stem.format(i), module) for i, module in enumerate(modules)))


class Odd(nn.Module):
    """The network of a number: its channels, precision, weights, names, way and output are drawn."""

    def __init__(self, number: int) -> None:
        super().__init__()
        rng = random.Random(f"odd {number}")
        self.channels = rng.choice([1, 1, *[3] * 10, 2, 7])
        self.way = rng.choice(["plain", "plain", *WAYS])
        self.output = rng.choice([*_ORDINARY * 4, *OUTPUTS])
        wrap = rng.choice(
            [
                None,
                None,
                None,
                parametrizations.weight_norm,
                parametrizations.spectral_norm,
                parametrizations.orthogonal,
            ]
        )
        parts = layers(self.channels, wrap) if wrap else layers(self.channels)
        self.stem, self.again = _named(parts[:6], rng), nn.Conv2d(8, 8, 1)
        self.head = _named(parts[6:], rng)
        self.calls = 0
        if rng.random() < 0.15 and not wrap:
            self.stem = torch.jit.script(self.stem)
        self.precision = rng.choice([torch.float32] * 6 + [torch.float16, torch.bfloat16, torch.float64])
        self.to(self.precision)
        self.casts = rng.random() < 0.5

    def forward(self, x: Tensor) -> Any:
        if self.casts:
            x = x.to(self.precision)
        logits, maps = WAYS[self.way](self, x)
        return OUTPUTS[self.output](logits, maps)


def make(number: int) -> nn.Module:
    """The network of this number with random weights: of `KINDS` in one case of eight, else an `Odd` one."""
    import warnings

    rng = random.Random(f"kind {number}")
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(number)
        return KINDS[rng.choice(list(KINDS))]() if rng.random() < 0.125 else Odd(number)


__all__ = ["CLASSES", "SIZE", "make"]
