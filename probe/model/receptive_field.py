"""Receptive fields of units: a box of the image for each position of a map, followed operator by operator."""

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

Pair = tuple[int, int]


@dataclass(frozen=True)
class ReceptiveField:
    """The unit at (row, column) sees rows start[0] + row * stride[0] and the size[0] - 1 after them; so for columns.

    Parts outside the image are padding. A unit that sees all of the image in one direction has stride 0 there.
    exact: whether the box is known; else an operator was met whose field is not, and the box is the whole image.
    """

    size: Pair
    stride: Pair
    start: Pair
    exact: bool = True

    @classmethod
    def unknown(cls, height: int, width: int) -> "ReceptiveField":
        """The whole image, for what an operator without a known field computes."""
        return cls((height, width), (0, 0), (0, 0), exact=False)

    @property
    def whole(self) -> bool:
        """Whether every unit sees the same box, as behind global pooling."""
        return self.stride == (0, 0)

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
        return replace(
            self,
            size=_pair(self.size[i] + (kernel[i] - 1) * dilation[i] * self.stride[i] for i in axes),
            stride=_pair(self.stride[i] * stride[i] for i in axes),
            start=_pair(self.start[i] - padding[i] * self.stride[i] for i in axes),
        )

    def collapsed(self, shape: Pair, axes: tuple[int, ...] = (0, 1)) -> "ReceptiveField":
        """The field of a unit that sees all units of a `shape` map along `axes` (0: height, 1: width)."""
        size, stride = list(self.size), list(self.stride)
        for i in axes:
            size[i] += (shape[i] - 1) * stride[i]
            stride[i] = 0
        return replace(self, size=_pair(size), stride=_pair(stride))

    def union(self, other: "ReceptiveField", shape: Pair) -> "ReceptiveField":
        """The smallest box that holds both, for units of a `shape` map: a skip connection, a gate, a concatenation.

        Where one of them sees everything the union does. Boxes that move by different strides are not one box that
        moves: then it is everything too, and not exact.
        """
        uneven = [i for i in range(2) if self.stride[i] != other.stride[i]]
        moving = [i for i in uneven if self.stride[i] and other.stride[i]]
        a, b = (field.collapsed(shape, tuple(uneven)) for field in (self, other))
        start = _pair(min(a.start[i], b.start[i]) for i in range(2))
        end = _pair(max(field.start[i] + field.size[i] for field in (a, b)) for i in range(2))
        size = _pair(end[i] - start[i] for i in range(2))
        return ReceptiveField(size, a.stride, start, exact=a.exact and b.exact and not moving)


def _pair(values: Any) -> Pair:
    first, second = values
    return int(first), int(second)


@dataclass(frozen=True)
class Traced:
    """What is known of a tensor that was computed from the image.

    axes: its dimensions that are height and width, None where it has none left. map: height and width of the maps.
    rows: whether its first dimension counts the positions of the maps, as inside a linear layer over the channels.
    """

    field: ReceptiveField
    map: Pair
    axes: Pair | None = None
    rows: bool = False

    def flat(self) -> "Traced":
        """Without positions: every element may depend on every unit."""
        return Traced(self.field.collapsed(self.map), (1, 1))


class ReceptiveFieldTracker(TorchDispatchMode):
    """While it is on, knows the receptive field of every tensor that depends on the traced image, and counts MACs.

    Works on operators, not on modules, so functional calls, skips and slices count as what they are. Only operators
    with a rule in `operator_rules` have a known field; what any other computes sees the whole image.
    """

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        self.size = _pair(image.shape[2:])
        self._traced = WeakIdKeyDictionary()
        self._traced[image] = Traced(ReceptiveField((1, 1), (1, 1), (0, 0)), self.size, (2, 3))
        self._feature_maps = WeakIdKeyDictionary()
        self._steps = WeakIdKeyDictionary()
        self._steps[image] = 0
        self._dominators = [0]
        self.macs = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return (
            False  # nothing is compiled in here, and to skip the compiler torch would import it: two seconds
        )

    def field(self, tensor: Tensor) -> ReceptiveField | None:
        """The field of the units of `tensor` (n, c, h, w) or (n, c); None where it does not depend on the image."""
        traced = self._traced.get(tensor)
        if traced is None or traced.axes == (2, 3) or (traced.axes is None and not traced.rows):
            return None if traced is None else traced.field
        return ReceptiveField.unknown(
            *self.size
        )  # height and width are not where a unit's row and column are

    def channels_last(self, tensor: Tensor) -> bool:
        """Whether `tensor` (n, ...) has maps, but height and width are not its last two dimensions."""
        traced = self._traced.get(tensor)
        return traced is not None and traced.axes not in (None, (tensor.ndim - 2, tensor.ndim - 1))

    def depends(self, tensor: Tensor) -> bool:
        """Whether `tensor` was computed from the image."""
        return tensor in self._traced

    def feature_map(self, tensor: Tensor) -> Tensor | None:
        """The last maps, of more than one pixel, that `tensor` was computed from: what was pooled or flattened."""
        if tensor in self._feature_maps:
            return self._feature_maps[tensor]
        return tensor if _has_maps(tensor) else None

    def step(self, tensor: Tensor) -> int:
        """The number of the operator that computed `tensor` last; 0 for the image."""
        return self._steps[tensor]

    def on_every_path(self, tensor: Tensor) -> set[int]:
        """The steps that every path from the image to `tensor` goes through: the dominators of its step."""
        step, steps = self._steps[tensor], set()
        while step:
            steps.add(step)
            step = self._dominators[step]
        return steps

    def _dominator(self, sources: list[Tensor]) -> int:
        """The last step that all of `sources` have on every path; steps are numbered in the order of computation."""
        step, *others = (self._steps[source] for source in sources)
        for other in others:
            while step != other:
                step, other = (
                    (self._dominators[step], other) if step > other else (step, self._dominators[other])
                )
        return step

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        from probe.model.operator_rules import Call, multiply_accumulates, traced_after

        out = func(*args, **(kwargs or {}))
        outputs = [o for o in (out if isinstance(out, tuple | list) else [out]) if isinstance(o, Tensor)]
        name = func._schema.name.removeprefix("aten::")
        self.macs += multiply_accumulates(name, args, outputs)
        sources = [t for t in _tensors(args) if t in self._traced]
        if sources:
            self._dominators.append(self._dominator(sources))
        for output in outputs if sources else ():
            self._steps[output] = len(self._dominators) - 1
            known = [(source, self._traced[source]) for source in sources]
            call = Call(name.rstrip("_"), args, kwargs or {}, known, output, self.size)
            self._traced[output] = traced_after(call)
            self._follow_maps(sources, output)
        return out

    def _follow_maps(self, sources: list[Tensor], output: Tensor) -> None:
        """Note where maps end, in global pooling or flattening; what is computed from maps at their size is maps again."""
        maps = [feature_map for source in sources if (feature_map := self.feature_map(source)) is not None]
        if not maps:
            return
        continues = any(source not in self._feature_maps for source in sources if _has_maps(source))
        as_before = _has_maps(output) and output.shape[2:] == maps[0].shape[2:]
        if as_before or (continues and _has_maps(output)):
            self._feature_maps.pop(output, None)
        else:
            self._feature_maps[output] = maps[0]


def _has_maps(tensor: Tensor) -> bool:
    return tensor.ndim == 4 and tensor.shape[2] * tensor.shape[3] > 1


def _tensors(args: Any) -> list[Tensor]:
    tensors: list[Tensor] = []
    for argument in args:
        if isinstance(argument, Tensor):
            tensors.append(argument)
        elif isinstance(argument, tuple | list):
            tensors += [a for a in argument if isinstance(a, Tensor)]
    return tensors
