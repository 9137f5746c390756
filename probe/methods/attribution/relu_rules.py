"""Backpropagation to the pixels with the gradient, deconvnet or guided backward rule at every ReLU.

The backward of each ReLU (module, function, method, in place, shared, compiled or recomputed) is the operator
`threshold_backward`; a dispatch mode around the backward pass replaces this operator and nothing else.

Other non-linearities:
- ReLU6 is a ReLU with a ceiling and follows the rules, as does every hardtanh whose lower bound is 0.
- Leaky ReLU, ELU, GELU, SiLU, hard swish and similar ones have no deconvnet or guided rule: refused, not guessed.
- clamp(min=0), maximum with a constant, x * (x > 0), torch.where and masked_fill are or may be ReLUs that autograd
  does not know as such: refused, and so is a product with a fixed mask of zeros and ones.
- sigmoid, tanh, softmax and max-pooling keep their own derivative. Where overlapping pools share a maximum their
  gradients add up; Zeiler and Fergus' unpooling would keep the last.
- (x + |x|) / 2 and the like cannot be told from other arithmetic: they keep their own derivative.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.utils._python_dispatch import TorchDispatchMode

from probe.errors import UserError
from probe.methods.attribution.scores import (
    differentiable,
    gradient_and_scores,
    gradient_of,
    uncompiled,
)
from probe.model.batching import in_batches
from probe.model.layers import Address
from probe.model.model import Model
from probe.model.targets import Targets, expanded, scores

aten = torch.ops.aten

Rule = Literal["gradient", "deconvnet", "guided"]
RULES: tuple[Rule, ...] = ("gradient", "deconvnet", "guided")

_OTHER_ACTIVATIONS = {
    "SiluBackward0": "SiLU",
    "GeluBackward0": "GELU",
    "EluBackward0": "ELU",
    "CeluBackward0": "CELU",
    "LeakyReluBackward0": "leaky ReLU",
    "PreluKernelBackward0": "PReLU",
    "RreluWithNoiseBackward0": "RReLU",
    "HardswishBackward0": "hard swish",
    "SoftplusBackward0": "softplus",
    "MishBackward0": "Mish",
    "LogSigmoidBackward0": "log-sigmoid",
    "HardshrinkBackward0": "hard shrink",
    "SoftshrinkBackward0": "soft shrink",
}
_CLAMPS = ("ClampBackward1", "ClampMinBackward0")
_MAXIMA = ("MaximumBackward0", "FmaxBackward0", "ClampBackward0", "ClampMinBackward1")


class NoRelu(UserError):
    """A backward rule for ReLUs cannot be applied to a network without ReLUs."""


class ReluRule(TorchDispatchMode):
    """Replaces the backward of ReLUs while it is entered. applied: how often it did."""

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        self.rule = rule
        self.applied = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return (
            False  # nothing is compiled in here, and to skip the compiler torch would import it: two seconds
        )

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket
        rectifies = (name is aten.threshold_backward and args[2] == 0) or (
            name is aten.hardtanh_backward and args[2] == 0
        )
        if not rectifies:
            return func(*args, **(kwargs or {}))
        self.applied += 1
        if self.rule == "deconvnet":
            return args[0].clamp(min=0)
        gradient = func(*args, **(kwargs or {}))
        return gradient.clamp(min=0) if self.rule == "guided" else gradient


def relu_rule(rule: Rule) -> ReluRule:
    """A context for the backward pass, in which every ReLU propagates the signal g by `rule`.

    With x the input of the ReLU: "gradient" passes g where x > 0, "deconvnet" passes g where g > 0,
    "guided" passes g where both are. The context counts in `.applied`; compare with `count_relus(output)`.

    >>> x = torch.tensor([1.0, -1.0, 1.0, -1.0], requires_grad=True)
    >>> y = torch.relu(x)
    >>> signal = torch.tensor([2.0, 2.0, -2.0, -2.0])
    >>> for name in RULES:
    ...     with relu_rule(name) as rule:
    ...         (back,) = torch.autograd.grad(y, x, signal, retain_graph=True)
    ...     print(name, back.tolist(), rule.applied)
    gradient [2.0, 0.0, -2.0, 0.0] 1
    deconvnet [2.0, 2.0, 0.0, 0.0] 1
    guided [2.0, 0.0, 0.0, 0.0] 1

    Zeiler and Fergus 2014; Springenberg et al. 2015, figure 1.
    """
    if rule not in RULES:
        raise UserError(f"rule must be one of {', '.join(RULES)}, got {rule!r}")
    return ReluRule(rule)


def count_relus(output: Tensor) -> int:
    """How many ReLUs lie between `output` and its leaves, read off the autograd graph.

    The graph has every ReLU that the output depends on, however and in whichever thread it was called.
    Raises UserError for what has no deconvnet or guided rule (listed in the docstring of the module).
    """
    count = 0
    refused: Counter[str] = Counter()
    for node in graph_nodes(output):
        name = node.name()
        if _rectifies(node, name):
            count += 1
        elif reason := _refusal(node, name):
            refused[reason] += 1
    if refused:
        others = ", ".join(
            f"{reason} ({'once' if times == 1 else f'{times} times'})"
            for reason, times in sorted(refused.items())
        )
        raise UserError(
            f"deconvnet and guided backprop are defined for ReLUs only and this network has {others}: use the gradient"
        )
    return count


def graph_nodes(output: Tensor) -> Iterator[Any]:
    """Every node of the autograd graph behind `output`, once."""
    todo: list[Any] = [output.grad_fn] if output.grad_fn is not None else []
    visited = set(todo)
    while todo:
        node = todo.pop()
        yield node
        for following, _ in node.next_functions:
            if following is not None and following not in visited:
                visited.add(following)
                todo.append(following)


def _rectifies(node: Any, name: str) -> bool:
    if name == "ThresholdBackward0":
        return node._saved_threshold == 0
    return name == "ReluBackward0" or (name == "HardtanhBackward0" and node._saved_min_val == 0)


def _refusal(node: Any, name: str) -> str:
    """Why no rule can be given for a node of the graph; empty where it is ordinary arithmetic."""
    if name in _OTHER_ACTIVATIONS:
        return _OTHER_ACTIVATIONS[name]
    if name == "ThresholdBackward0":
        return f"threshold at {node._saved_threshold:g}"
    if name in _CLAMPS and node._saved_min == 0:
        return "clamp(min=0), which should be written F.relu"
    # A maximum of two branches is maxout; one with a constant, most likely zero, is a ReLU in disguise.
    if name in _MAXIMA and any(following is None for following, _ in node.next_functions):
        return "maximum with a constant, which should be written F.relu"
    if name == "WhereBackward0":
        return "torch.where, which should be written F.relu if it is one"
    if name.startswith("MaskedFillBackward"):
        return "masked_fill, which should be written F.relu if it is one"
    if name == "MulBackward0" and any(is_mask(node, side) for side in ("_saved_self", "_saved_other")):
        return "a product with a mask of zeros and ones, which should be written F.relu if it is one"
    if name == "CheckpointFunctionBackward":
        return "reentrant checkpointing, which hides its ReLUs: use_reentrant=False shows them"
    if isinstance(node, BackwardCFunction) or name in (
        "DifferentiableGraphBackward",
        "CompiledFunctionBackward",
    ):
        return f"a custom backward function, {name}, that may hide ReLUs"
    return ""


def is_mask(node: Any, side: str) -> bool:
    """Whether a factor of a product switches values on and off, as (x > 0) does, and has no gradient of its own."""
    factor = getattr(node, side, None)
    if not isinstance(factor, Tensor) or factor.numel() < 2 or factor.requires_grad:
        return False
    # All ones would be a scale that does nothing, as some layers start with.
    return factor.dtype == torch.bool or bool(((factor == 0) | (factor == 1)).all() & (factor == 0).any())


def backpropagate(
    model: Model, pixels: Tensor, targets: Targets | Address, *, rule: Rule = "gradient"
) -> Tensor:
    """Propagate the scores of `targets` back to the pixels.

    pixels: (n, c, h, w) in [0, 1], or one image and n targets (64 units of one image take one backward pass).
    targets: (n,) classes, (n, classes) weights of logits, UnitTargets, or one Address for all images.
    Returns (n, c, h, w): change of the score per unit of pixel value, by the backward rule `rule`.
    Raises UserError where the rule cannot be applied to every ReLU between the pixels and the target, with the reason:
    NoRelu where there is none, other activations, ReLUs that autograd does not show, NaN.

    Simonyan et al. 2014; Zeiler and Fergus 2014; Springenberg et al. 2015.
    """
    relu_rule(rule)  # refuses a wrong name before any work
    pixels, targets = expanded(model, pixels, targets)

    def of_rows(rows: Tensor) -> Tensor:
        return _backpropagate_batch(model, pixels[rows], targets[rows], rule)

    with torch.inference_mode(False):  # inside that mode autograd records nothing
        rows = torch.arange(len(pixels), device=pixels.device)
        return in_batches(of_rows, rows, batch=model.batch(gradient=True))


def _backpropagate_batch(model: Model, pixels: Tensor, targets: Targets, rule: Rule) -> Tensor:
    if rule == "gradient":
        return gradient_and_scores(model, pixels, targets)[0]
    with differentiable(pixels) as leaf, uncompiled():
        score = scores(model, leaf, targets)
        relus = count_relus(score)
        if not relus:
            raise NoRelu(
                f"there is no ReLU in {model.name} between its input and the target: deconvnet and guided "
                "backprop would equal the plain gradient, so use the gradient"
            )
        with relu_rule(rule) as applied:
            attribution = gradient_of(score, leaf)
    if applied.applied != relus:
        raise UserError(
            f"{model.name} has {relus} ReLUs between its input and the target, but the {rule} rule was applied {applied.applied} times in the backward pass: the attribution would be wrong and is not shown"
        )
    return attribution
