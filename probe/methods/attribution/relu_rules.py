"""How a signal runs back to the pixels: gradient, deconvnet and guided rules at every ReLU, however it is called.

The backward of each ReLU (module, function, method, in place, shared, compiled or recomputed) is the operator
`threshold_backward`; a dispatch mode round the backward pass replaces this operator and nothing else.

What else bends a signal:
- ReLU6 is a ReLU with a ceiling and follows the rules, as does every hardtanh from 0 up.
- Leaky ReLU, ELU, GELU, SiLU, hard swish and their like have no deconvnet or guided rule: refused, not guessed.
- clamp(min=0), maximum with a constant, x * (x > 0), torch.where and masked_fill are or may be ReLUs that autograd
  does not know as such: refused, and so is a product with a fixed mask of zeros and ones.
- sigmoid, tanh, softmax and max-pooling keep their own derivative. Where overlapping pools share a maximum their
  gradients add up; Zeiler and Fergus' unpooling would keep the last.
- (x + |x|) / 2 and the like cannot be told from other arithmetic and stay as they are: the signal runs through them
  by their own derivative.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.utils._python_dispatch import TorchDispatchMode

from probe.errors import UserError
from probe.model.batching import in_batches
from probe.model.layers import Address
from probe.model.model import Model
from probe.model.targets import Targets, expanded, scores

aten = torch.ops.aten

Rule = Literal["gradient", "deconvnet", "guided"]
RULES: tuple[Rule, ...] = ("gradient", "deconvnet", "guided")

_BENT = {
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
    """A network without ReLUs was asked for a rule that only says what a ReLU does."""


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
    """A context for the backward pass, in which every ReLU sends its signal g back by `rule`.

    With x what the ReLU was given: "gradient" passes g where x > 0, "deconvnet" passes g where g > 0,
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

    In the graph a ReLU is found whichever way and in whichever thread it was called, and only where the output
    depends on it. Raises UserError for what has no deconvnet or guided rule (the module's docstring says which).
    """
    found = 0
    refused: Counter[str] = Counter()
    todo = [output.grad_fn] if output.grad_fn is not None else []
    seen = set(todo)
    while todo:
        node: Any = todo.pop()
        name = node.name()
        if _rectifies(node, name):
            found += 1
        elif reason := _refusal(node, name):
            refused[reason] += 1
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                todo.append(following)
    if refused:
        often = {1: "once"}
        what = ", ".join(
            f"{reason} ({often.get(count, f'{count} times')})" for reason, count in sorted(refused.items())
        )
        raise UserError(
            f"deconvnet and guided backprop are defined for ReLUs alone and this network has {what}: ask for the gradient"
        )
    return found


def _rectifies(node: Any, name: str) -> bool:
    if name == "ThresholdBackward0":
        return node._saved_threshold == 0
    return name == "ReluBackward0" or (name == "HardtanhBackward0" and node._saved_min_val == 0)


def _refusal(node: Any, name: str) -> str:
    """Why no rule can be given for a node of the graph; empty where it is ordinary arithmetic."""
    if name in _BENT:
        return _BENT[name]
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
    if name == "MulBackward0" and any(_gates(node, side) for side in ("_saved_self", "_saved_other")):
        return "a product with a mask of zeros and ones, which should be written F.relu if it is one"
    if name == "CheckpointFunctionBackward":
        return "reentrant checkpointing, which hides its ReLUs: use_reentrant=False shows them"
    if isinstance(node, BackwardCFunction) or name in (
        "DifferentiableGraphBackward",
        "CompiledFunctionBackward",
    ):
        return f"a backward of its own, {name}, that may hide ReLUs"
    return ""


def _gates(node: Any, side: str) -> bool:
    """Whether a factor of a product switches values on and off, as (x > 0) does, and has no gradient of its own."""
    factor = getattr(node, side, None)
    if not isinstance(factor, Tensor) or factor.numel() < 2 or factor.requires_grad:
        return False
    # All ones would be a scale that does nothing, as some layers start with.
    return factor.dtype == torch.bool or bool(((factor == 0) | (factor == 1)).all() & (factor == 0).any())


def backpropagate(
    model: Model, pixels: Tensor, targets: Targets | Address, *, rule: Rule = "gradient"
) -> Tensor:
    """Run what `targets` ask for back to the pixels.

    pixels: (n, c, h, w) in [0, 1], or one image and n targets (64 units of one image take one backward pass).
    targets: (n,) classes, (n, classes) weights of logits, Units, or one Address for all images.
    Returns (n, c, h, w): change of the score per unit of pixel value, as `rule` has it.
    Raises UserError where the rule cannot be applied to every ReLU on the way: NoRelu where there is none;
    for other activations, hidden backwards and NaN the reason is said.

    Simonyan et al. 2014; Zeiler and Fergus 2014; Springenberg et al. 2015.
    """
    relu_rule(rule)  # refuses a wrong name before any work
    pixels, targets = expanded(model, pixels, targets)

    def some(rows: Tensor) -> Tensor:
        return _traced(model, pixels[rows], targets[rows], rule)

    with torch.inference_mode(False):  # inside that mode nothing can be remembered for a way back
        rows = torch.arange(len(pixels), device=pixels.device)
        return in_batches(some, rows, batch=model.batch(gradient=True))


def gradient(model: Model, pixels: Tensor, targets: Targets) -> tuple[Tensor, Tensor]:
    """The plain gradient (n, c, h, w) of the scores, and the scores (n,), for one batch that fits memory."""
    with listening(pixels) as leaf, as_python():
        found = scores(model, leaf, targets)
        return _back(found, leaf), found.detach()


def _traced(model: Model, pixels: Tensor, targets: Targets, rule: Rule) -> Tensor:
    if rule == "gradient":
        return gradient(model, pixels, targets)[0]
    with listening(pixels) as leaf, as_python():
        found = scores(model, leaf, targets)
        met = count_relus(found)
        if not met:
            raise NoRelu(
                f"there is no ReLU in {model.name} between its input and what is asked: deconvnet and guided "
                "backprop would show the plain gradient, so ask for that"
            )
        with relu_rule(rule) as applied:
            picture = _back(found, leaf)
    if applied.applied != met:
        raise UserError(
            f"{model.name} met {met} ReLUs on its way forward but the {rule} rule was applied {applied.applied} times on the way back: the picture would be wrong and is not shown"
        )
    return picture


def _back(found: Tensor, leaf: Tensor) -> Tensor:
    if not found.requires_grad:
        return torch.zeros_like(leaf)
    try:
        (picture,) = torch.autograd.grad(found.sum(), leaf, allow_unused=True)
    except RuntimeError as error:
        if "use_reentrant" in str(error) or "Checkpointing is not compatible" in str(error):
            raise UserError(
                "the network uses reentrant checkpointing, which cannot be traced back to the pixels: build it with use_reentrant=False"
            ) from None
        raise
    return torch.zeros_like(leaf) if picture is None else picture


@contextmanager
def listening(pixels: Tensor) -> Iterator[Tensor]:
    """Gradients on, whatever the caller switched off, and `pixels` as a leaf of their own."""
    with torch.inference_mode(False), torch.enable_grad():
        yield (pixels.clone() if pixels.is_inference() else pixels.detach()).requires_grad_()


def as_python() -> AbstractContextManager[Any]:
    """Run compiled parts of the network as the Python that they were: a compiled backward hides its ReLUs."""
    if "torch._dynamo" not in sys.modules:  # then nothing is compiled, and its import takes seconds
        return nullcontext()
    return torch.compiler.set_stance("force_eager")
