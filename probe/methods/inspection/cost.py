"""Parameters and multiplications of convolutions by closed formulas, and the structures that save weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from probe.model.model import Model


def output_size(size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """Side of the output of a convolution: W' = floor((W - F + 2P) / S) + 1.

    >>> output_size(227, 11, stride=4)
    55
    """
    return (size - dilation * (kernel - 1) - 1 + 2 * padding) // stride + 1


def parameter_count(
    in_channels: int, out_channels: int, kernel: tuple[int, int], *, groups: int = 1, bias: bool = True
) -> int:
    """Weights and biases of a convolution, C (F F D / groups + 1); a dense layer has kernel (1, 1).

    >>> parameter_count(3, 96, (11, 11))
    34944
    """
    return out_channels * (kernel[0] * kernel[1] * in_channels // groups + bias)


def mac_count(
    in_channels: int,
    out_channels: int,
    kernel: tuple[int, int],
    map_size: tuple[int, int],
    *,
    groups: int = 1,
) -> int:
    """Multiply-accumulates of a convolution for one image, F F D / groups W' H' C.

    map_size: (height, width) of the output.

    >>> mac_count(3, 96, (11, 11), (55, 55))
    105415200
    """
    return kernel[0] * kernel[1] * in_channels // groups * map_size[0] * map_size[1] * out_channels


def stack_ratio(layers: int, kernel: int) -> float:
    """Weights of `layers` stacked convolutions relative to one of the same receptive field, at equal channels.

    >>> stack_ratio(3, 3) == 27 / 49
    True

    Simonyan and Zisserman 2015, section 2.3.
    """
    return layers * kernel**2 / (layers * (kernel - 1) + 1) ** 2


def bottleneck_ratio(width: float, kernel: int = 3) -> float:
    """Weights of a bottleneck (1 x 1, F x F, 1 x 1) relative to one F x F convolution of all channels.

    width: channels inside the bottleneck, as a fraction of those outside.

    >>> bottleneck_ratio(0.5) == 3.25 / 9
    True

    He et al. 2016, section 4.1.
    """
    return (2 * width + kernel**2 * width**2) / kernel**2


def separable_ratio(out_channels: int, kernel: int) -> float:
    """Weights of a depthwise separable convolution relative to a plain one: 1 / N + 1 / K^2.

    Howard et al. 2017, section 3.1.
    """
    return 1 / out_channels + 1 / kernel**2


@dataclass(frozen=True)
class ConvolutionCost:
    """Parameters with biases, multiply-accumulates for one image, and (height, width) of the output."""

    parameters: int
    macs: int
    map_size: tuple[int, int]


@dataclass(frozen=True)
class Convolution:
    """A convolution of a network with the (height, width) of its input and output in a forward pass."""

    address: str
    module: nn.Conv2d
    input_size: tuple[int, int]
    output_size: tuple[int, int]

    @property
    def weight_count(self) -> int:
        """Number of weights, without biases."""
        return self.module.weight.numel()

    @property
    def kernel(self) -> int:
        """Side of a square kernel; 0 where it is not square."""
        height, width = self.module.kernel_size
        return height if height == width else 0

    @property
    def depthwise(self) -> bool:
        """Whether it filters each channel alone, with a square kernel."""
        conv = self.module
        return conv.groups > 1 and conv.groups == conv.in_channels == conv.out_channels and self.kernel > 0

    def formula_cost(self) -> ConvolutionCost:
        """Its cost by the closed formulas, from the settings of the module and `input_size` alone."""
        conv = self.module
        kernel = (conv.kernel_size[0], conv.kernel_size[1])
        padding = conv.padding if isinstance(conv.padding, tuple) else (0, 0)
        if conv.padding == "same":
            size = self.input_size
        else:
            height, width = (
                output_size(self.input_size[i], kernel[i], conv.stride[i], int(padding[i]), conv.dilation[i])
                for i in (0, 1)
            )
            size = (height, width)
        return ConvolutionCost(
            parameter_count(
                conv.in_channels, conv.out_channels, kernel, groups=conv.groups, bias=conv.bias is not None
            ),
            mac_count(conv.in_channels, conv.out_channels, kernel, size, groups=conv.groups),
            size,
        )


def convolutions(model: Model) -> list[Convolution]:
    """The two-dimensional convolutions of a network in the order in which they run, the first call of each."""
    records: dict[str, Convolution] = {}
    modules = [(name, m) for name, m in model.network.named_modules() if isinstance(m, nn.Conv2d)]
    handles = []
    try:
        for name, module in modules:
            handles.append(module.register_forward_hook(partial(_record, records, name)))
        with torch.no_grad():
            model.logits(torch.zeros(1, *model.shape, device=model.device))
    finally:
        for handle in handles:
            handle.remove()
    return list(records.values())


def _record(
    records: dict[str, Convolution],
    name: str,
    module: nn.Conv2d,
    inputs: tuple[Tensor, ...],
    output: Tensor,
) -> None:
    """Forward hook: keep the sizes at the first call of a convolution."""
    before, after = inputs[0].shape[-2:], output.shape[-2:]
    records.setdefault(name, Convolution(name, module, (before[0], before[1]), (after[0], after[1])))


@dataclass(frozen=True)
class CompactBlock:
    """A structure that saves weights, with what one plain convolution in its place would take.

    layers: addresses of its convolutions. weights, plain_weights: counted, without biases.
    formula_ratio: the first over the second by the closed formula.
    """

    structure: str
    layers: tuple[str, ...]
    weights: int
    plain_weights: int
    formula_ratio: float


def compact_blocks(chain: Sequence[Convolution]) -> list[CompactBlock]:
    """The structures that save weights among `chain`, the convolutions of a network in the order in which they run."""
    blocks = [*_separable(chain), *_grouped(chain), *_bottlenecks(chain)]
    used = {address for block in blocks for address in block.layers}
    blocks += _stacks([conv for conv in chain if conv.address not in used])
    order = {conv.address: position for position, conv in enumerate(chain)}
    return sorted(blocks, key=lambda block: order[block.layers[0]])


def _block(
    structure: str, parts: Sequence[Convolution], plain_weights: int, formula_ratio: float
) -> CompactBlock:
    addresses = tuple(conv.address for conv in parts)
    weights = sum(conv.weight_count for conv in parts)
    return CompactBlock(structure, addresses, weights, plain_weights, formula_ratio)


def _separable(chain: Sequence[Convolution]) -> list[CompactBlock]:
    return [
        _block(
            "depthwise separable",
            (depthwise, pointwise),
            depthwise.kernel**2 * depthwise.module.in_channels * pointwise.module.out_channels,
            separable_ratio(pointwise.module.out_channels, depthwise.kernel),
        )
        for depthwise, pointwise in pairwise(chain)
        if depthwise.depthwise
        and pointwise.kernel == 1
        and pointwise.module.in_channels == depthwise.module.out_channels
    ]


def _grouped(chain: Sequence[Convolution]) -> list[CompactBlock]:
    return [
        _block(f"{groups} groups", (conv,), conv.weight_count * groups, 1 / groups)
        for conv in chain
        if (groups := conv.module.groups) > 1 and not conv.depthwise
    ]


def _bottlenecks(chain: Sequence[Convolution]) -> list[CompactBlock]:
    """1 x 1 to fewer channels, F x F among them, 1 x 1 back; compared with F x F among all channels."""
    blocks = []
    for triple in zip(chain, chain[1:], chain[2:], strict=False):
        squeeze, middle, expand = (conv.module for conv in triple)
        narrow, wide, kernel = squeeze.out_channels, expand.out_channels, triple[1].kernel
        kernels_fit = triple[0].kernel == triple[2].kernel == 1 < kernel and middle.groups == 1
        if kernels_fit and squeeze.in_channels == wide > narrow == middle.out_channels == expand.in_channels:
            ratio = bottleneck_ratio(narrow / wide, kernel)
            blocks.append(_block("bottleneck", triple, kernel**2 * wide**2, ratio))
    return blocks


def _stacks(chain: Sequence[Convolution]) -> list[CompactBlock]:
    """Runs of equal F x F convolutions, each compared with one convolution of the same receptive field."""
    blocks: list[CompactBlock] = []
    run: list[Convolution] = []
    for conv in [*chain, None]:
        kind = None if conv is None else _stack_kind(conv)
        if run and kind != _stack_kind(run[0]):
            kernel, channels, count = run[0].kernel, run[0].module.out_channels, len(run)
            if count > 1:
                plain_weights = (count * (kernel - 1) + 1) ** 2 * channels**2
                name = f"{count} stacked {kernel} x {kernel}"
                blocks.append(_block(name, run, plain_weights, stack_ratio(count, kernel)))
            run = []
        if conv is not None and kind is not None:
            run.append(conv)
    return blocks


def _stack_kind(conv: Convolution) -> tuple[int, int, tuple[int, int]] | None:
    """What the convolutions of a stack share: kernel, channels and map size; None for one that cannot be in a stack."""
    module = conv.module
    same_channels = module.in_channels == module.out_channels and module.groups == 1
    unit_step = module.stride == module.dilation == (1, 1) and conv.kernel > 1
    return (conv.kernel, module.out_channels, conv.output_size) if same_channels and unit_step else None
