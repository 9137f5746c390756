"""Where captum's rules for the backward pass are right: every non-linearity is a module of its own, called once."""

import copy
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from probe.errors import UserError
from probe.exhibits.wording import counted
from probe.methods.attribution.relu_rules import graph_nodes, is_mask
from probe.model.model import Model
from probe.model.observer import python_modules

RESHAPES = frozenset(
    (
        "AccumulateGrad", "Alias", "AsStrided", "Cat", "Clone", "Copy", "CopySlices", "Expand", "Gather", "Index",
        "IndexSelect", "Permute", "ReshapeAlias", "Select", "Slice", "Split", "SplitWithSizes", "Squeeze", "Stack", "T",
        "ToCopy", "Transpose", "Unbind", "UnsafeSplit", "UnsafeView", "Unsqueeze", "View",
    )
)  # fmt: skip
"""Operations, as the autograd graph names them, that move values and change none."""

LINEAR = RESHAPES | {
    "Add", "Sub", "Neg", "Addmm", "Mm", "Mean", "Sum", "Convolution", "MkldnnConvolution", "AvgPool2D", "AdaptiveAvgPool2D",
    "MkldnnAdaptiveAvgPool2D", "NativeBatchNorm", "CudnnBatchNorm", "MiopenBatchNorm", "ConstantPadNd",
    "ReflectionPad2D", "ReplicationPad2D", "UpsampleBilinear2D", "UpsampleNearest2D", "PixelShuffle", "Flip", "Roll",
}  # fmt: skip
"""Operations whose output is linear in what has a gradient."""


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings of captum, which it gives on import and for each hook that it places."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def hookable(model: Model) -> Model:
    """A copy of `model` for captum's hooks, in which no module computes in place and each has an input of its own.

    captum hooks the tensors between modules: where two hooked modules follow each other, or a skip reads what a hooked
    module reads, the hooks of one would replace the gradients of the other.
    """
    copied = Model(copy.deepcopy(model.network), model.card, model.device)
    copied.layers = model.layers  # the same network: not traced again
    for module in copied.network.modules():
        if getattr(module, "inplace", False) is True:
            module.inplace = False  # type: ignore[assignment]
        if not any(True for _ in module.children()):
            module.register_forward_pre_hook(_own_input)
    return copied


def _own_input(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(value.clone() if isinstance(value, Tensor) else value for value in inputs)


def require_hooks(
    what: str,
    model: Model,
    score: Callable[[], Tensor],
    *,
    rules: Mapping[str, type[nn.Module]],
    harmless: frozenset[str] = LINEAR,
) -> None:
    """Raise UserError, with the reason, where the rules that captum hooks to modules would miss what is computed.

    score: computes the scores, with gradients. rules: by the name of an operation in the autograd graph, the kind
    of module to which `what` hooks a rule. harmless: operations that need none. The graph has every operation that the
    score depends on, however it was called: there must be as many of each as calls of modules, each module called once.
    """
    calls: Counter[str] = Counter()
    modules = {
        name: module
        for name, module in python_modules(model.network).items()
        if type(module) in rules.values()
    }
    handles = [module.register_forward_hook(_count(calls, name)) for name, module in modules.items()]
    try:
        nodes = list(graph_nodes(score()))
    finally:
        for handle in handles:
            handle.remove()
    if reused := next((name for name, times in calls.items() if times > 1), None):
        times = calls[reused]
        raise UserError(
            f"{what} needs modules that are called once, and {reused} ({type(modules[reused]).__name__}) is called {times} times: use integrated-gradients"
        )
    hooked = Counter(type(modules[name]) for name in calls)
    met: dict[type[nn.Module], Counter[str]] = {}
    for name in map(operation, nodes):
        if name in rules:
            met.setdefault(rules[name], Counter())[name] += 1
    for kind, names in met.items():
        if names.total() > hooked[kind]:
            count = counted(names.total(), f"{' and '.join(names)} operation")
            raise UserError(
                f"{what} replaces modules, but of {count} before the target only {hooked[kind]} are modules: it would miss the functions; use integrated-gradients"
            )
    for node in nodes:
        if operation(node) not in rules and (reason := _no_rule(node, harmless)):
            raise UserError(f"{what} has no rule for {reason}: use integrated-gradients")


def _count(calls: Counter[str], name: str) -> Callable[..., None]:
    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        calls[name] += 1

    return hook


def operation(node: Any) -> str:
    """The name of what a node of the autograd graph differentiates, such as Relu or MaxPool2DWithIndices."""
    return re.sub(r"^.*::|Backward\d*$", "", node.name())


def _no_rule(node: Any, harmless: frozenset[str]) -> str:
    """What cannot be propagated through a node of the graph; empty where it can."""
    name = operation(node)
    if name in ("Mul", "Div") and "Add" in harmless:
        if all(following is not None for following, _ in node.next_functions[:2]):
            return f"{'products' if name == 'Mul' else 'quotients'} of activations"
        masked = name == "Mul" and any(is_mask(node, side) for side in ("_saved_self", "_saved_other"))
        return "a product with a mask of zeros and ones" if masked else ""
    if getattr(node, "_saved_training", False) is True:
        return "normalisation by the statistics of the image"
    return "" if name in harmless else f"the operation {name}"


def detached(values: Tensor) -> Tensor:
    """Free of captum's graph and hooks."""
    with torch.no_grad():
        return values.detach().clone()
