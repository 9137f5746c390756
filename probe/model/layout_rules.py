"""Receptive fields of operators that move values without computing: slices, permutations, views, concatenations, padding."""

from collections.abc import Callable
from dataclasses import replace

from probe.model.operator_calls import Call, height_and_width, joined, maps_of, rule
from probe.model.receptive_field import Traced


@rule("cat", "concat", "concatenate")
def concatenation(call: Call) -> Traced | None:
    dimension = call.argument(1, "dim", 0)
    return None if call.axis(dimension) is not None else joined_side_by_side(call)


def joined_side_by_side(call: Call) -> Traced | None:
    """The union over tensors that are laid side by side along a dimension that is none of height and width."""
    layouts = {(traced.axes, traced.map, traced.rows) for _, traced in call.sources}
    if len(layouts) > 1:
        return None
    traced = call.first[1]
    field = traced.field
    for _, other in call.sources[1:]:
        field = field.union(other.field, traced.map)
    return replace(traced, field=field)


@rule("slice")
def slicing(call: Call) -> Traced | None:
    tensor, traced = call.first
    dimension = call.argument(1, "dim", 0)
    axis = call.axis(dimension)
    if axis is None:
        return None if traced.rows and dimension % tensor.ndim == 0 else traced
    side = traced.map[axis]
    begin = min(call.argument(2, "start", 0), side)
    begin = max(begin + side, 0) if begin < 0 else begin
    steps, offsets = [1, 1], [0, 0]
    steps[axis], offsets[axis] = call.argument(4, "step", 1), -begin
    field = traced.field.windowed((1, 1), (steps[0], steps[1]), (offsets[0], offsets[1]))
    return Traced(field, height_and_width(call.output, traced.axes or (2, 3)), traced.axes)


@rule("split", "split_with_sizes", "chunk", "unsafe_split", "unsafe_chunk", "narrow", "index_select")
def part_of(call: Call) -> Traced | None:
    """Elements chosen along a dimension that is none of height and width."""
    place = 1 if call.name in ("narrow", "index_select") else 2
    dimension = call.argument(place, "dim", 0)
    tensor, traced = call.first
    if call.axis(dimension) is not None or (traced.rows and dimension % tensor.ndim == 0):
        return None
    return traced


@rule("index")
def indexing(call: Call) -> Traced | None:
    """Channels in another order, x[:, permutation]."""
    tensor, traced = call.first
    indices = call.args[1]
    chosen = [d for d, index in enumerate(indices) if index is not None]
    if traced.axes is None or len(chosen) != 1 or chosen[0] in traced.axes or call.output.ndim != tensor.ndim:
        return None
    return traced


@rule("select", "unbind")
def selecting(call: Call) -> Traced | None:
    tensor, traced = call.first
    dimension = call.argument(1, "dim", 0) % tensor.ndim
    if traced.axes is None:
        return None if traced.rows else traced
    return None if dimension in traced.axes else _moved(traced, lambda d: d - (d > dimension))


@rule("permute")
def permutation(call: Call) -> Traced | None:
    tensor, traced = call.first
    if traced.axes is None:
        return None if traced.rows else traced
    order = [d % tensor.ndim for d in call.args[1]]
    return _moved(traced, order.index)


@rule("transpose", "swapaxes")
def transposition(call: Call) -> Traced | None:
    tensor, traced = call.first
    if traced.axes is None:
        return None if traced.rows else traced
    a, b = call.args[1] % tensor.ndim, call.args[2] % tensor.ndim
    return _moved(traced, lambda d: {a: b, b: a}.get(d, d))


@rule("unsqueeze")
def unsqueezing(call: Call) -> Traced | None:
    tensor, traced = call.first
    dimension = call.args[1] % (tensor.ndim + 1)
    return _moved(traced, lambda d: d + (d >= dimension)) if traced.axes is not None else traced


@rule("squeeze", "view", "_unsafe_view", "reshape", "_reshape_alias", "flatten", "unflatten", "expand")
def reshaping(call: Call) -> Traced | None:
    """Height and width stay where they are the last two dimensions before and after, or the two after the first."""
    tensor, traced = call.first
    before, after = tuple(tensor.shape), tuple(call.output.shape)
    last = (len(after) - 2, len(after) - 1)
    if call.name == "expand":
        return joined([(tensor, traced)], call.output) if len(before) == len(after) else None
    if max(traced.map) == 1 and not traced.rows:
        return replace(
            Traced(traced.field.collapsed((1, 1)), (1, 1)), axes=(2, 3) if len(after) == 4 else None
        )
    if traced.rows:
        if after[0] == before[0]:
            return traced
        back = len(after) == 4 and after[:3] == (1, *traced.map)
        return replace(traced, axes=(1, 2), rows=False) if back else traced.flat()
    if traced.axes == (len(before) - 2, len(before) - 1) and len(after) > 2 and after[-2:] == before[-2:]:
        return replace(traced, axes=last)
    if traced.axes == (1, 2) and before[0] == 1:
        if len(after) >= 4 and after[:3] == before[:3]:
            return traced
        if len(after) == 2 and after[0] == before[1] * before[2]:
            return replace(traced, axes=None, rows=True)
    return traced.flat()


@rule("as_strided")
def striding(call: Call) -> Traced | None:
    """Global pooling gives its one position the strides of the memory format; anything else may be anything."""
    tensor, traced = call.first
    return traced if tensor.shape == call.output.shape and max(traced.map) == 1 else None


@rule("constant_pad_nd", "reflection_pad2d", "replication_pad2d", "pad")
def padding(call: Call) -> Traced | None:
    _, traced = call.first
    if traced.axes != (2, 3):
        return None
    pad = [*call.args[1], 0, 0, 0, 0]
    return maps_of(traced.field.windowed((1, 1), (1, 1), (pad[2], pad[0])), call.output)


def _moved(traced: Traced, to: Callable[[int], int]) -> Traced:
    assert traced.axes is not None
    return replace(traced, axes=(to(traced.axes[0]), to(traced.axes[1])))
