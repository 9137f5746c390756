"""Receptive fields of operators that compute: pointwise functions, convolutions, pooling, reductions, norms, products."""

from dataclasses import replace
from typing import Any

from probe.model.operator_calls import Call, height_and_width, joined, maps_of, rule
from probe.model.receptive_field import Pair, Traced

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


@rule("convolution", "_convolution")
def convolution(call: Call) -> Traced | None:
    """A window over maps (n, c, h, w); not transposed, with weights that do not depend on the image."""
    tensor, traced = call.first
    weight = call.args[1]
    if weight.ndim != 4 or call.args[6] or traced.axes != (2, 3) or tensor is not call.args[0]:
        return None
    kernel = (weight.shape[2], weight.shape[3])
    field = traced.field.windowed(kernel, two(call.args[3], 1), two(call.args[4], 0), two(call.args[5], 1))
    return maps_of(field, call.output)


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
    return maps_of(field, call.output)


@rule("_adaptive_avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d")
def adaptive_pooling(call: Call) -> Traced | None:
    """Windows that tile the map, where its size is a multiple of the output's."""
    tensor, traced = call.first
    if traced.axes != (2, 3):
        return None
    before, after = height_and_width(tensor), height_and_width(call.output)
    if after == (1, 1):
        return maps_of(traced.field.collapsed(before), call.output)
    if before == after:
        return maps_of(traced.field, call.output)
    if any(before[i] % after[i] for i in range(2)):
        return None
    window = (before[0] // after[0], before[1] // after[1])
    return maps_of(traced.field.windowed(window, window, (0, 0)), call.output)


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
        return Traced(field, height_and_width(call.output, traced.axes), traced.axes)
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


def two(values: Any, default: int) -> Pair:
    """A size as operators take it, one number or two, as (height, width)."""
    if isinstance(values, int):
        return values, values
    if not values:
        return default, default
    return (values[0], values[0]) if len(values) == 1 else (values[0], values[1])
