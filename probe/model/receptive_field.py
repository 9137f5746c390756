"""Receptive fields of units: a box of the image for each position of a map."""

from dataclasses import dataclass, replace
from typing import Any

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
