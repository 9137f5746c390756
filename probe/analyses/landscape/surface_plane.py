"""The plane that a loss surface lies over: its directions, and the coordinates of its points."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated

import numpy as np
from pydantic import AfterValidator
from torch import Tensor

from probe.errors import UserError
from probe.methods.landscape.directions import Direction

_MAX_POINTS = 501


@dataclass(frozen=True)
class Range:
    """Equally spaced coordinates from `low` to `high`."""

    low: float
    high: float
    points: int

    @classmethod
    def parse(cls, text: str) -> "Range":
        """Read `low:high:points`; raises ValueError for what is empty, reversed or of fewer than two points."""
        parts = text.split(":")
        try:
            low, high, points = float(parts[0]), float(parts[1]), int(parts[2])
        except (ValueError, IndexError):
            raise ValueError(f"{text!r} is not a range: write low:high:points, such as -1:1:25") from None
        if len(parts) != 3 or not np.isfinite([low, high]).all():
            raise ValueError(f"{text!r} is not a range: write low:high:points, such as -1:1:25")
        if low >= high:
            problem = "empty" if low == high else "reversed"
            raise ValueError(f"the range {text} is {problem}: its low end must lie below its high end")
        if not 2 <= points <= _MAX_POINTS:
            raise ValueError(
                f"the range {text} has {points} point{'' if points == 1 else 's'}: it needs 2 to {_MAX_POINTS}"
            )
        return cls(low, high, points)

    def coordinates(self) -> np.ndarray:
        """(points,) in float64."""
        return np.linspace(self.low, self.high, self.points)


def _check_range(text: str) -> str:
    if text:
        Range.parse(text)
    return text


RangeText = Annotated[str, AfterValidator(_check_range)]
"""A range as users write it, low:high:points, or nothing for the default."""


@dataclass(frozen=True)
class Plane:
    """Directions through the weights of a model, one for a line or two for a plane, and the coordinates of the points.

    y: [0] for a line. labels: of the axes. path: (m, 2) a path in the plane. input_shifts: for a plane in the space of
    the images, what is added to all inputs at 1, (n, c, h, w) for each direction; the weights then have empty
    directions. facts: figures about the directions, by snake_case names. notes: sentences about them.
    """

    directions: tuple[Direction, ...]
    x: np.ndarray
    y: np.ndarray
    labels: tuple[str, str]
    path: np.ndarray | None = None
    input_shifts: tuple[Tensor, ...] = ()
    facts: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def is_line(self) -> bool:
        return len(self.directions) == 1

    def coordinates(self, row: int, column: int) -> tuple[float, ...]:
        """Of a grid point, one for each direction."""
        return (float(self.x[column]),) if self.is_line else (float(self.x[column]), float(self.y[row]))

    @property
    def corners(self) -> list[tuple[float, ...]]:
        """The origin and the ends of the line or corners of the plane."""
        ends = float(self.x[0]), float(self.x[-1])
        if self.is_line:
            return [(0.0,), (ends[0],), (ends[1],)]
        sides = float(self.y[0]), float(self.y[-1])
        return [(0.0, 0.0), *((a, b) for a in ends for b in sides)]


def with_ranges(plane: Plane, x: str, y: str) -> Plane:
    """The plane with the ranges that the user has set, if any; UserError for a range of y where there is only a line."""
    if y and plane.is_line:
        raise UserError("y must be empty for a line: a plane needs two directions")
    return replace(
        plane,
        x=Range.parse(x).coordinates() if x else plane.x,
        y=Range.parse(y).coordinates() if y else plane.y,
    )


def default_range(low: float, high: float, points: int) -> np.ndarray:
    return Range(low, high, points).coordinates()


def covering(values: Sequence[float], points: int, *, margin: float = 0.15) -> np.ndarray:
    """Coordinates over all `values`, with a margin on both sides."""
    low, high = min(values), max(values)
    width = (high - low) or 1.0
    return default_range(low - margin * width, high + margin * width, points)
