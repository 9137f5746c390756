"""What each operator does to receptive fields: an allow-list; everything else sees the whole image."""

from collections.abc import Callable
from dataclasses import dataclass, replace
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


def traced_after(call: Call) -> Traced:
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


_POINTWISE = """
abs add addcdiv addcmul alias atan bernoulli bitwise_and bitwise_not bitwise_or ceil celu clamp clamp_max
clamp_min clone contiguous copy cos detach div dropout elu empty_like eq erf exp expm1 fill floor fmod
full_like ge gelu gt hardshrink hardsigmoid hardswish hardtanh le leaky_relu lerp lift_fresh log log1p
log_sigmoid_forward logical_and logical_not logical_or lt masked_fill maximum minimum mish mul nan_to_num
native_dropout ne neg ones_like pow prelu _prelu_kernel quantize_per_tensor reciprocal relu relu6 remainder
round rrelu rsqrt rsub selu sgn sigmoid sign silu sin softplus softshrink softsign sqrt square sub tanh
threshold to _to_copy trunc where zeros_like
"""


@rule(*_POINTWISE.split())
def pointwise(call: Call) -> Traced | None:
    """Every element sees what the elements at its place in the arguments see."""
    return joined([(tensor, traced) for tensor, traced in call.sources], call.output)


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


@rule("convolution", "_convolution")
def convolution(call: Call) -> Traced | None:
    """A window over maps (n, c, h, w); not transposed, with weights that do not depend on the image."""
    tensor, traced = call.first
    weight = call.args[1]
    if weight.ndim != 4 or call.args[6] or traced.axes != (2, 3) or tensor is not call.args[0]:
        return None
    kernel = (weight.shape[2], weight.shape[3])
    field = traced.field.windowed(kernel, two(call.args[3], 1), two(call.args[4], 0), two(call.args[5], 1))
    return _maps(field, call.output)


@rule("max_pool2d_with_indices", "max_pool2d", "avg_pool2d")
def pooling(call: Call) -> Traced | None:
    """A window over maps."""
    _, traced = call.first
    if traced.axes != (2, 3):
        return None
    kernel = two(call.args[1], 1)
    stride = two(call.argument(2, "stride", []), 0)
    dilation = two(call.argument(4, "dilation", 1), 1) if call.name != "avg_pool2d" else (1, 1)
    field = traced.field.windowed(
        kernel, stride if stride[0] else kernel, two(call.argument(3, "padding", 0), 0), dilation
    )
    return _maps(field, call.output)


@rule("_adaptive_avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d")
def adaptive_pooling(call: Call) -> Traced | None:
    """Windows that tile the map, where its size is a multiple of the output's."""
    tensor, traced = call.first
    if traced.axes != (2, 3):
        return None
    before, after = _sides(tensor), _sides(call.output)
    if after == (1, 1):
        return _maps(traced.field.collapsed(before), call.output)
    if before == after:
        return _maps(traced.field, call.output)
    if any(before[i] % after[i] for i in range(2)):
        return None
    window = (before[0] // after[0], before[1] // after[1])
    return _maps(traced.field.windowed(window, window, (0, 0)), call.output)


@rule(
    "mean",
    "sum",
    "amax",
    "amin",
    "max",
    "min",
    "var",
    "std",
    "var_mean",
    "std_mean",
    "prod",
    "logsumexp",
    "norm",
    "linalg_vector_norm",
)
def reduction(call: Call) -> Traced | None:
    """Sees all of what it reduces over."""
    tensor, traced = call.first
    place = 2 if call.name in ("norm", "linalg_vector_norm") else 1
    given = call.argument(place, "dim", None)
    if traced.axes is None:
        return traced.flat() if not traced.rows or given is None else None
    dims = (
        list(range(tensor.ndim))
        if given is None or given == []
        else [given]
        if isinstance(given, int)
        else given
    )
    if not all(isinstance(d, int) for d in dims):
        return None
    dims = [d % tensor.ndim for d in dims]
    over = tuple(i for i in range(2) if traced.axes[i] in dims)
    field = traced.field.collapsed(traced.map, over)
    if call.output.ndim == tensor.ndim:
        return Traced(field, _sides(call.output, traced.axes), traced.axes)
    if over == (0, 1):
        return Traced(field, (1, 1))
    if over:
        return replace(traced.flat(), field=replace(traced.flat().field, exact=False))
    remaining = [d for d in range(tensor.ndim) if d not in dims]
    return replace(traced, axes=(remaining.index(traced.axes[0]), remaining.index(traced.axes[1])))


@rule("_softmax", "softmax", "_log_softmax", "log_softmax")
def softmax(call: Call) -> Traced | None:
    """Over the channels each position sees itself; over positions all of them."""
    _, traced = call.first
    axis = call.axis(call.argument(1, "dim", 1))
    if axis is None:
        return traced
    return replace(traced, field=traced.field.collapsed(traced.map, (axis,)))


@rule("native_batch_norm", "_native_batch_norm_legit", "cudnn_batch_norm", "batch_norm", "miopen_batch_norm")
def batch_norm(call: Call) -> Traced | None:
    """With running statistics a scaling; with those of the batch (instance norm too) every unit sees all of its map."""
    tensor, traced = call.first
    flags = [a for a in call.args[3:] if isinstance(a, bool)]
    if tensor is not call.args[0] or not flags:
        return None
    return replace(traced, field=traced.field.collapsed(traced.map)) if flags[0] else traced


@rule("_native_batch_norm_legit_no_training", "_batch_norm_no_update")
def batch_norm_frozen(call: Call) -> Traced | None:
    return call.first[1]


@rule("native_group_norm", "group_norm")
def group_norm(call: Call) -> Traced | None:
    """Every unit sees all of the maps of its group."""
    traced = call.first[1]
    return replace(traced, field=traced.field.collapsed(traced.map))


@rule("native_layer_norm", "layer_norm")
def layer_norm(call: Call) -> Traced | None:
    """Normalises over the last dimensions, and sees all of those that are height or width."""
    tensor, traced = call.first
    if traced.axes is None:
        return traced
    begins = tensor.ndim - len(call.args[1])
    over = tuple(i for i in range(2) if traced.axes[i] >= begins)
    return replace(traced, field=traced.field.collapsed(traced.map, over))


@rule("addmm", "mm", "linear")
def linear(call: Call) -> Traced | None:
    """Over the last dimension, which must be none of height and width."""
    tensor, traced = call.first
    if len(call.sources) > 1 or tensor is not call.args[1 if call.name == "addmm" else 0]:
        return None
    if traced.axes is not None and max(traced.map) > 1:
        return traced if traced.axes[1] < tensor.ndim - 1 and traced.axes[0] < tensor.ndim - 1 else None
    return traced if traced.rows else Traced(traced.field.collapsed(traced.map), (1, 1))


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
    return Traced(field, _sides(call.output, traced.axes or (2, 3)), traced.axes)


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
def restrided(call: Call) -> Traced | None:
    """Global pooling gives its one position the strides of the memory format; anything else may be anything."""
    tensor, traced = call.first
    return traced if tensor.shape == call.output.shape and max(traced.map) == 1 else None


@rule("constant_pad_nd", "reflection_pad2d", "replication_pad2d", "pad")
def padding(call: Call) -> Traced | None:
    _, traced = call.first
    if traced.axes != (2, 3):
        return None
    pad = [*call.args[1], 0, 0, 0, 0]
    return _maps(traced.field.windowed((1, 1), (1, 1), (pad[2], pad[0])), call.output)


def _maps(field: ReceptiveField, output: Tensor) -> Traced:
    return Traced(field, _sides(output), (2, 3))


def _sides(tensor: Tensor, axes: Pair = (2, 3)) -> Pair:
    return tensor.shape[axes[0]], tensor.shape[axes[1]]


def _moved(traced: Traced, to: Callable[[int], int]) -> Traced:
    assert traced.axes is not None
    return replace(traced, axes=(to(traced.axes[0]), to(traced.axes[1])))


def two(values: Any, default: int) -> Pair:
    """A size as operators take it, one number or two, as (height, width)."""
    if isinstance(values, int):
        return values, values
    if not values:
        return default, default
    return (values[0], values[0]) if len(values) == 1 else (values[0], values[1])


def multiply_accumulates(name: str, args: Any, outputs: list[Tensor]) -> int:
    """Multiply-accumulates of one operator: those of convolutions and matrix products, as the field counts them."""
    if name == "convolution":
        weight, transposed = args[1], args[6]
        values = args[0] if transposed else outputs[0]
        return values.numel() * weight.numel() // weight.shape[0]
    if name == "addmm":
        return outputs[0].numel() * args[1].shape[-1]
    if name in ("mm", "bmm", "linear"):
        return outputs[0].numel() * args[0].shape[-1]
    return 0
