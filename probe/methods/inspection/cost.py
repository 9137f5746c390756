"""What does a convolution cost, and what would another form of it cost? Closed formulas, and where they apply."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from probe.model.model import Model


def places(side: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """W' = floor((W - F + 2P) / S) + 1: how many places a window of `kernel` takes along `side` pixels.

    >>> places(227, 11, stride=4)
    55
    """
    return (side - dilation * (kernel - 1) - 1 + 2 * padding) // stride + 1


def parameters(into: int, out: int, kernel: tuple[int, int], *, groups: int = 1, bias: bool = True) -> int:
    """C (F F D / groups + 1) weights and biases of a convolution; a dense layer has kernel (1, 1).

    >>> parameters(3, 96, (11, 11))
    34944
    """
    return out * (kernel[0] * kernel[1] * into // groups + bias)


def multiplications(
    into: int, out: int, kernel: tuple[int, int], map_size: tuple[int, int], *, groups: int = 1
) -> int:
    """F F D / groups times W' H' C, for one image.

    >>> multiplications(3, 96, (11, 11), (55, 55))
    105415200
    """
    return kernel[0] * kernel[1] * into // groups * map_size[0] * map_size[1] * out


def stack_share(layers: int, kernel: int) -> float:
    """Weights of `layers` stacked convolutions over those of one that sees as far, at equal channels.

    >>> stack_share(3, 3) == 27 / 49
    True
    """
    return layers * kernel**2 / (layers * (kernel - 1) + 1) ** 2


def bottleneck_share(narrow: float, kernel: int = 3) -> float:
    """Weights of 1 x 1, F x F, 1 x 1 through `narrow` of the channels, over those of F x F through all.

    >>> bottleneck_share(0.5) == 3.25 / 9
    True
    """
    return (2 * narrow + kernel**2 * narrow**2) / kernel**2


def separable_share(out: int, kernel: int) -> float:
    """Weights of a depthwise F x F and a pointwise convolution to `out` channels over those of a plain one.

    Howard et al. 2017, section 3.1: 1 / N + 1 / K^2.
    """
    return 1 / out + 1 / kernel**2


@dataclass(frozen=True)
class Convolution:
    """A convolution in its place: the (height, width) of the maps before and after it, in one forward pass."""

    address: str
    module: nn.Conv2d
    before: tuple[int, int]
    after: tuple[int, int]

    @property
    def weights(self) -> int:
        return self.module.weight.numel()

    @property
    def side(self) -> int:
        """Of a square window; 0 where it is not square."""
        height, width = self.module.kernel_size
        return height if height == width else 0

    @property
    def depthwise(self) -> bool:
        """Whether it filters each channel alone."""
        conv = self.module
        return conv.groups > 1 and conv.groups == conv.in_channels == conv.out_channels and self.side > 0

    def expected(self) -> tuple[int, int, tuple[int, int]]:
        """Parameters, multiplications and map size by the closed formulas; padding given as a number alone."""
        conv = self.module
        kernel = (conv.kernel_size[0], conv.kernel_size[1])
        padding = conv.padding if isinstance(conv.padding, tuple) else (0, 0)
        if conv.padding == "same":
            size = self.before
        else:
            height, width = (
                places(self.before[i], kernel[i], conv.stride[i], int(padding[i]), conv.dilation[i])
                for i in (0, 1)
            )
            size = (height, width)
        into, out, bias = conv.in_channels, conv.out_channels, conv.bias is not None
        return (
            parameters(into, out, kernel, groups=conv.groups, bias=bias),
            multiplications(into, out, kernel, size, groups=conv.groups),
            size,
        )


def convolutions(model: Model) -> list[Convolution]:
    """The two-dimensional convolutions of a network in the order in which they run, the first call of each."""
    found: dict[str, Convolution] = {}

    def hear(name: str, module: nn.Conv2d) -> Callable[..., None]:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            before, after = inputs[0].shape[-2:], output.shape[-2:]
            found.setdefault(name, Convolution(name, module, (before[0], before[1]), (after[0], after[1])))

        return hook

    modules = [(name, m) for name, m in model.network.named_modules() if isinstance(m, nn.Conv2d)]
    handles = []
    try:
        handles += [module.register_forward_hook(hear(name, module)) for name, module in modules]
        with torch.no_grad():
            model.logits(torch.zeros(1, *model.shape, device=model.device))
    finally:
        for handle in handles:
            handle.remove()
    return list(found.values())


@dataclass(frozen=True)
class Saving:
    """A structure that saves weights: the layers that it is made of, and what one plain convolution would take.

    weights, plain: counted, biases apart. share: what the closed formula says of the one over the other.
    """

    structure: str
    layers: tuple[str, ...]
    weights: int
    plain: int
    share: float


def savings(chain: Sequence[Convolution]) -> list[Saving]:
    """The structures among convolutions, in the order in which they run, that save weights."""
    found = [*_separable(chain), *_grouped(chain), *_bottlenecks(chain)]
    taken = {name for saving in found for name in saving.layers}
    found += _stacks([one for one in chain if one.address not in taken])
    order = {one.address: position for position, one in enumerate(chain)}
    return sorted(found, key=lambda saving: order[saving.layers[0]])


def _saving(structure: str, parts: Sequence[Convolution], plain: int, share: float) -> Saving:
    names = tuple(one.address for one in parts)
    return Saving(structure, names, sum(one.weights for one in parts), plain, share)


def _separable(chain: Sequence[Convolution]) -> list[Saving]:
    return [
        _saving(
            "depthwise separable",
            (deep, point),
            deep.side**2 * deep.module.in_channels * point.module.out_channels,
            separable_share(point.module.out_channels, deep.side),
        )
        for deep, point in pairwise(chain)
        if deep.depthwise and point.side == 1 and point.module.in_channels == deep.module.out_channels
    ]


def _grouped(chain: Sequence[Convolution]) -> list[Saving]:
    return [
        _saving(f"{one.module.groups} groups", (one,), one.weights * one.module.groups, 1 / one.module.groups)
        for one in chain
        if one.module.groups > 1 and not one.depthwise
    ]


def _bottlenecks(chain: Sequence[Convolution]) -> list[Saving]:
    """1 x 1 to fewer channels, F x F among them, 1 x 1 back: beside F x F among all channels."""
    found = []
    for three in zip(chain, chain[1:], chain[2:], strict=False):
        squeeze, middle, expand = (one.module for one in three)
        narrow, wide, side = squeeze.out_channels, expand.out_channels, three[1].side
        shaped = three[0].side == three[2].side == 1 < side and middle.groups == 1
        if shaped and squeeze.in_channels == wide > narrow == middle.out_channels == expand.in_channels:
            found.append(
                _saving("bottleneck", three, side**2 * wide**2, bottleneck_share(narrow / wide, side))
            )
    return found


def _stacks(chain: Sequence[Convolution]) -> list[Saving]:
    """Runs of F x F convolutions of stride 1 with as many channels in as out: beside one that sees as far."""
    found: list[Saving] = []
    run: list[Convolution] = []
    for one in [*chain, None]:
        kind = None if one is None else _stackable(one)
        if run and kind != _stackable(run[0]):
            side, width, count = run[0].side, run[0].module.out_channels, len(run)
            if count > 1:
                plain = (count * (side - 1) + 1) ** 2 * width**2
                found.append(
                    _saving(f"{count} stacked {side} x {side}", run, plain, stack_share(count, side))
                )
            run = []
        if one is not None and kind is not None:
            run.append(one)
    return found


def _stackable(one: Convolution) -> tuple[int, int, tuple[int, int]] | None:
    """What neighbours of a stack have in common: window, channels and map; None for what cannot stand in one."""
    conv = one.module
    alike = conv.in_channels == conv.out_channels and conv.groups == 1
    plain = conv.stride == conv.dilation == (1, 1) and one.side > 1
    return (one.side, conv.out_channels, one.after) if alike and plain else None
