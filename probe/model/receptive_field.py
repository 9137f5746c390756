"""Which input pixels a unit sees, exactly, for any network that a forward pass can go through."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

Pair = tuple[int, int]
aten = torch.ops.aten


@dataclass(frozen=True)
class ReceptiveField:
    """The unit at (row, column) sees rows start[0] + row * stride[0] and the size[0] - 1 after them; so for columns.

    Parts outside the image are padding. A unit that sees all of the image has stride 0.
    """

    size: Pair
    stride: Pair
    start: Pair

    def box(self, row: int, column: int, height: int, width: int) -> tuple[int, int, int, int]:
        """Left, top, right, bottom (exclusive) of what the unit sees of a `height` x `width` image."""
        top, left = self.start[0] + row * self.stride[0], self.start[1] + column * self.stride[1]
        bottom, right = top + self.size[0], left + self.size[1]
        return max(left, 0), max(top, 0), min(right, width), min(bottom, height)

    def windowed(
        self, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair = (1, 1)
    ) -> "ReceptiveField":
        """The field of a convolution or pooling over units with this field."""
        axes = range(2)
        return ReceptiveField(
            _pair(self.size[i] + (kernel[i] - 1) * dilation[i] * self.stride[i] for i in axes),
            _pair(self.stride[i] * stride[i] for i in axes),
            _pair(self.start[i] - padding[i] * self.stride[i] for i in axes),
        )

    def collapsed(self, shape: Pair) -> "ReceptiveField":
        """The field of a unit that sees all units of a `shape` map."""
        return ReceptiveField(
            _pair(self.size[i] + (shape[i] - 1) * self.stride[i] for i in range(2)), (0, 0), self.start
        )

    def union(self, other: "ReceptiveField") -> "ReceptiveField":
        """The field of a unit that sees what both see (a skip connection, a concatenation)."""
        stride = _pair(max(self.stride[i], other.stride[i]) for i in range(2))
        start = _pair(min(self.start[i], other.start[i]) for i in range(2))
        end = _pair(max(a.start[i] + a.size[i] for a in (self, other)) for i in range(2))
        return ReceptiveField(_pair(end[i] - start[i] for i in range(2)), stride, start)


def _pair(values: Any) -> Pair:
    first, second = values
    return int(first), int(second)


def _two(values: list[int], default: int) -> Pair:
    if not values:
        return default, default
    return (values[0], values[0]) if len(values) == 1 else (values[0], values[1])


class ReceptiveFieldTracker(TorchDispatchMode):
    """While it is on, knows the receptive field of every tensor that depends on the traced image, and counts MACs.

    Works on operators, not on modules, so functional calls, skips and slices count as what they are.
    A field that cannot be known (an upsampling, say) is None.
    """

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        self._fields = WeakIdKeyDictionary()
        self._fields[image] = ReceptiveField((1, 1), (1, 1), (0, 0))
        self._feature_maps = WeakIdKeyDictionary()
        self.macs = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return (
            False  # nothing is compiled in here, and to skip the compiler torch would import it: two seconds
        )

    def field(self, tensor: Tensor) -> ReceptiveField | None:
        return self._fields.get(tensor)

    def depends(self, tensor: Tensor) -> bool:
        """Whether `tensor` was computed from the image."""
        return tensor in self._fields

    def feature_map(self, tensor: Tensor) -> Tensor | None:
        """The last maps, of more than one pixel, that `tensor` was computed from: what was pooled or flattened."""
        if tensor in self._feature_maps:
            return self._feature_maps[tensor]
        return tensor if _has_maps(tensor) else None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        outputs = (
            [out]
            if isinstance(out, Tensor)
            else [o for o in out if isinstance(o, Tensor)]
            if isinstance(out, tuple | list)
            else []
        )
        self.macs += _macs(func.overloadpacket, args, outputs)
        sources = [t for t in _tensors(args) if t in self._fields]
        if sources:
            for output in outputs:
                self._fields[output] = self._after(func.overloadpacket, args, sources, output)
                self._follow_maps(sources, output)
        return out

    def _follow_maps(self, sources: list[Tensor], output: Tensor) -> None:
        """Note where maps end, in global pooling or flattening; what is computed from maps at their size is maps again."""
        maps = [feature_map for source in sources if (feature_map := self.feature_map(source)) is not None]
        if not maps:
            return
        goes_on = any(source not in self._feature_maps for source in sources if _has_maps(source))
        as_before = _has_maps(output) and output.shape[2:] == maps[0].shape[2:]
        if as_before or (goes_on and _has_maps(output)):
            self._feature_maps.pop(output, None)
        else:
            self._feature_maps[output] = maps[0]

    def _after(self, op: Any, args: Any, sources: list[Tensor], output: Tensor) -> ReceptiveField | None:
        known = [self._fields[t] for t in sources]
        if any(f is None for f in known):
            return None
        spatial = [
            f if s.ndim == 4 and output.ndim == 4 else f.collapsed(_map(s))
            for f, s in zip(known, sources, strict=True)
        ]
        first, shape = spatial[0], _map(sources[0])
        if op is aten.convolution and args[1].ndim == 4:
            if args[6]:
                return None
            kernel = (args[1].shape[2], args[1].shape[3])
            return first.windowed(kernel, _two(args[3], 1), _two(args[4], 0), _two(args[5], 1))
        if op in (aten.max_pool2d_with_indices, aten.max_pool2d, aten.avg_pool2d):
            kernel = _two(args[1], 1)
            stride = _two(args[2], 1) if len(args) > 2 and args[2] else kernel
            return first.windowed(
                kernel,
                stride,
                _two(args[3] if len(args) > 3 else [], 0),
                _two(args[4], 1) if op is not aten.avg_pool2d and len(args) > 4 else (1, 1),
            )
        if op is aten.constant_pad_nd and output.ndim == 4:
            pad = [*args[1], 0, 0, 0, 0]
            return first.windowed((1, 1), (1, 1), (pad[2], pad[0]))
        if op in (aten.reflection_pad2d, aten.replication_pad2d):
            return first.windowed((1, 1), (1, 1), (args[1][2], args[1][0]))
        if op is aten.slice and output.ndim == 4:
            return _sliced(first, args, shape)
        joined = first
        for other in spatial[1:]:
            joined = joined.union(other)
        if output.ndim != 4 or _map(output) == shape or shape == (1, 1):
            return joined
        return _resampled(joined, shape, _map(output))


def _has_maps(tensor: Tensor) -> bool:
    return tensor.ndim == 4 and tensor.shape[2] * tensor.shape[3] > 1


def _map(tensor: Tensor) -> Pair:
    return (tensor.shape[2], tensor.shape[3]) if tensor.ndim == 4 else (1, 1)


def _sliced(field: ReceptiveField, args: Any, shape: Pair) -> ReceptiveField:
    dim = args[1] if len(args) > 1 else 0
    if dim % 4 < 2:
        return field
    begin = args[2] if len(args) > 2 and args[2] is not None else 0
    begin = max(begin + shape[dim % 4 - 2], 0) if begin < 0 else begin
    step = args[4] if len(args) > 4 else 1
    steps, offsets = [1, 1], [0, 0]
    steps[dim % 4 - 2], offsets[dim % 4 - 2] = step, -begin
    return field.windowed((1, 1), _pair(steps), _pair(offsets))


def _resampled(field: ReceptiveField, before: Pair, after: Pair) -> ReceptiveField | None:
    """Global and adaptive pooling, means over space; None where units are made out of fewer units."""
    if after == (1, 1):
        return field.collapsed(before)
    if all(before[i] % after[i] == 0 for i in range(2)):
        window = _pair(before[i] // after[i] for i in range(2))
        return field.windowed(window, window, (0, 0))
    return None


def _tensors(args: Any) -> list[Tensor]:
    found: list[Tensor] = []
    for argument in args:
        if isinstance(argument, Tensor):
            found.append(argument)
        elif isinstance(argument, tuple | list):
            found += [a for a in argument if isinstance(a, Tensor)]
    return found


def _macs(op: Any, args: Any, outputs: list[Tensor]) -> int:
    """Multiply-accumulates of one operator: those of convolutions and matrix products, as the field counts them."""
    if op is aten.convolution:
        weight = args[1]
        if args[6]:
            return args[0].numel() * weight.numel() // weight.shape[0]
        return outputs[0].numel() * weight.numel() // weight.shape[0]
    if op is aten.addmm:
        return outputs[0].numel() * args[1].shape[-1]
    if op in (aten.mm, aten.bmm, aten.linear):
        return outputs[0].numel() * args[0].shape[-1]
    return 0
