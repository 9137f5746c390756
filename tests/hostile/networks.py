"""Networks of the odd kinds that people train, each small, 3 x 32 x 32 pixels (or as stated) and four classes."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

CLASSES = 4


def layers(channels: int = 3, wrap: Callable[[Any], nn.Module] = lambda layer: layer) -> list[nn.Module]:
    """Two convolutions, batch norm and a linear layer, each layer with weights given to `wrap`."""
    return [
        wrap(nn.Conv2d(channels, 6, 3, padding=1)),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(4),
        wrap(nn.Conv2d(6, 8, 3, padding=1)),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        wrap(nn.Linear(32, CLASSES)),
    ]


class Wrapped(nn.Module):
    """A plain network whose output, or way to it, a subclass changes."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(*layers())

    def forward(self, x: Tensor) -> Any:
        return self.net(x)


class ForcedBatchNorm(Wrapped):
    def forward(self, x: Tensor) -> Any:
        self.net[1].train()
        return self.net(x)


class FunctionalBatchNorm(Wrapped):
    def forward(self, x: Tensor) -> Any:
        x = self.net[0](x)
        norm = self.net[1]
        x = functional.batch_norm(
            x, norm.running_mean, norm.running_var, norm.weight, norm.bias, training=True
        )
        return self.net[2:](x)


class FunctionalDropout(Wrapped):
    def forward(self, x: Tensor) -> Any:
        return self.net[7:](functional.dropout(self.net[:7](x), 0.3, training=True))


class Tuple(Wrapped):
    def forward(self, x: Tensor) -> Any:
        maps = self.net[:6](x)
        return self.net[6:](maps), maps


class Dictionary(Wrapped):
    def forward(self, x: Tensor) -> Any:
        maps = self.net[:6](x)
        return OrderedDict(maps=maps, out=self.net[6:](maps))


@dataclass
class Answer:
    logits: Tensor
    loss: Tensor | None = None


class DataClass(Wrapped):
    def forward(self, x: Tensor) -> Any:
        return Answer(self.net(x))


class Pair(NamedTuple):
    logits: Tensor
    maps: Tensor


class NamedPair(Wrapped):
    def forward(self, x: Tensor) -> Any:
        maps = self.net[:6](x)
        return Pair(self.net[6:](maps), maps)


class TwoHeads(Wrapped):
    def forward(self, x: Tensor) -> Any:
        logits = self.net(x)
        return logits, logits * 2


class NoGrad(Wrapped):
    def forward(self, x: Tensor) -> Any:
        with torch.no_grad():
            return self.net(x)


class BatchOnly(Wrapped):
    """Normalises its features over the batch, as a head of self-supervised learning does."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(CLASSES, affine=False, track_running_stats=False)

    def forward(self, x: Tensor) -> Any:
        return self.norm(self.net(x))


class ScriptedInside(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        import warnings

        parts = layers()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.stem = torch.jit.script(nn.Sequential(*parts[:4]))
        self.body = nn.Sequential(*parts[4:])

    def forward(self, x: Tensor) -> Any:
        return self.body(self.stem(x))


class HalfInside(Wrapped):
    """Computes in half precision and gives its logits in single."""

    def __init__(self) -> None:
        super().__init__()
        self.net.half()

    def forward(self, x: Tensor) -> Any:
        return self.net(x.half()).float()


class OddNames(nn.Module):
    """Names with "#" and "/", one of which looks like a call of a function."""

    def __init__(self) -> None:
        super().__init__()
        parts = layers()
        self.add_module("a#2", nn.Sequential(*parts[:2]))
        self.add_module("a", nn.Sequential(OrderedDict({"b/relu": parts[2], "c#1": parts[3]})))
        self.add_module("d/conv#2", parts[4])
        self.add_module("d/relu", parts[5])
        self.add_module("head", nn.Sequential(*parts[6:]))

    def forward(self, x: Tensor) -> Any:
        x = self.get_submodule("a")(self.get_submodule("a#2")(x))
        return self.head(functional.relu(self.get_submodule("d/relu")(self.get_submodule("d/conv#2")(x))))


def _old(layer: nn.Module) -> nn.Module:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.utils.weight_norm(layer)


def _pruned(layer: nn.Module) -> nn.Module:
    from torch.nn.utils import prune

    return prune.l1_unstructured(layer, "weight", amount=0.3)


def _plain(**more: Any) -> nn.Module:
    return nn.Sequential(*layers(**more))


KINDS: dict[str, Callable[[], nn.Module]] = {
    "batch norm forced to train": ForcedBatchNorm,
    "functional batch norm in training": FunctionalBatchNorm,
    "functional dropout in training": FunctionalDropout,
    "weight_norm": lambda: _plain(wrap=parametrizations.weight_norm),
    "spectral_norm": lambda: _plain(wrap=parametrizations.spectral_norm),
    "orthogonal": lambda: _plain(wrap=parametrizations.orthogonal),
    "old weight_norm": lambda: _plain(wrap=_old),
    "old spectral_norm": lambda: _plain(wrap=nn.utils.spectral_norm),
    "pruned": lambda: _plain(wrap=_pruned),
    "tuple": Tuple,
    "dictionary": Dictionary,
    "dataclass": DataClass,
    "named tuple": NamedPair,
    "half": lambda: _plain().half(),
    "bfloat16": lambda: _plain().bfloat16(),
    "float64": lambda: _plain().double(),
    "half inside": HalfInside,
    "script inside": ScriptedInside,
    "odd names": OddNames,
    "no_grad": NoGrad,
    "needs a batch": BatchOnly,
    "two heads": TwoHeads,
}


def network(kind: str) -> nn.Module:
    """The network of `kind` with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return KINDS[kind]()
