"""Calls of operators, and the table of rules that say what each operator does to receptive fields."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from probe.model.receptive_field import Pair, ReceptiveField, Traced

Rule = Callable[["Call"], Traced | None]
RULES: dict[str, Rule] = {}
"""By the operator's name, without "aten::" and the underscore of in-place ones. A rule gives None where it cannot tell."""


@dataclass(frozen=True)
class Call:
    """One call of an operator. sources: its arguments that depend on the image, with what is known of them."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    sources: list[tuple[Tensor, Traced]]
    output: Tensor
    image: Pair

    def argument(self, place: int, keyword: str, default: Any) -> Any:
        """An argument by position or keyword; `default` where it is not given or None."""
        value = self.args[place] if place < len(self.args) else self.kwargs.get(keyword)
        return default if value is None else value

    @property
    def first(self) -> tuple[Tensor, Traced]:
        return self.sources[0]

    def axis(self, dimension: int) -> int | None:
        """0 where `dimension` of the first source is its height, 1 for its width, None for any other."""
        tensor, traced = self.first
        dimension %= max(1, tensor.ndim)
        return traced.axes.index(dimension) if traced.axes is not None and dimension in traced.axes else None


def apply_rule(call: Call) -> Traced:
    """What is known of the output of a call."""
    rule = RULES.get(call.name)
    known = rule(call) if rule is not None else None
    if known is not None:
        return known
    field = ReceptiveField.unknown(*call.image)
    if call.output.ndim == 4:
        return Traced(field, (call.output.shape[2], call.output.shape[3]), (2, 3))
    return Traced(field, (1, 1))


def rule(*names: str) -> Callable[[Rule], Rule]:
    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register


def joined(sources: list[tuple[Tensor, Traced]], output: Tensor) -> Traced | None:
    """The union over arguments that are broadcast to `output`."""
    layout = next((t for _, t in sources if t.axes is not None and max(t.map) > 1), None)
    layout = layout or next((t for _, t in sources if t.rows), None) or sources[0][1]
    axes = layout.axes
    if axes is not None:
        shape = (output.shape[axes[0]], output.shape[axes[1]])
    else:
        shape = layout.map if layout.rows else (1, 1)
    fields = []
    for tensor, traced in sources:
        field = traced.field
        placed = traced.axes == axes and tensor.ndim == output.ndim and traced.rows == layout.rows
        if not placed:
            field = field.collapsed(traced.map)
        elif axes is not None:
            spread = tuple(i for i in range(2) if tensor.shape[axes[i]] == 1 and shape[i] > 1)
            field = field.collapsed((1, 1), spread)
        fields.append(field)
    field = fields[0]
    for other in fields[1:]:
        field = field.union(other, shape)
    return Traced(field, shape, axes, layout.rows)


def maps_of(field: ReceptiveField, output: Tensor) -> Traced:
    """Maps (n, c, h, w) with this field."""
    return Traced(field, height_and_width(output), (2, 3))


def height_and_width(tensor: Tensor, axes: Pair = (2, 3)) -> Pair:
    """The height and width of a tensor that has them at `axes`."""
    return tensor.shape[axes[0]], tensor.shape[axes[1]]
