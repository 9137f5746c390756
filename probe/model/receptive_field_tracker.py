"""Receptive fields and costs of a forward pass, followed operator by operator."""

from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

from probe.model import layout_rules, operator_rules
from probe.model.operator_calls import Call, apply_rule
from probe.model.receptive_field import ReceptiveField, Traced

_RULES = (operator_rules, layout_rules)  # imported so that their rules are known


class ReceptiveFieldTracker(TorchDispatchMode):
    """While it is on, knows the receptive field of every tensor that depends on the traced image, and counts MACs.

    Works on operators, not on modules, so functional calls, skips and slices count as what they are. Only operators
    with a rule in `operator_rules` or `layout_rules` have a known field; what any other computes sees the whole image.
    """

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        self.size = (image.shape[2], image.shape[3])
        self._traced = WeakIdKeyDictionary()
        self._traced[image] = Traced(ReceptiveField((1, 1), (1, 1), (0, 0)), self.size, (2, 3))
        self._feature_maps = WeakIdKeyDictionary()
        self._steps = WeakIdKeyDictionary()
        self._steps[image] = 0
        self._dominators = [0]
        self.macs = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Nothing is compiled in here, and to skip the compiler torch would import it, which takes two seconds.
        return False

    def field(self, tensor: Tensor) -> ReceptiveField | None:
        """The field of the units of `tensor` (n, c, h, w) or (n, c); None where it does not depend on the image."""
        traced = self._traced.get(tensor)
        if traced is None or traced.axes == (2, 3) or (traced.axes is None and not traced.rows):
            return None if traced is None else traced.field
        # Height and width are not where a unit's row and column are.
        return ReceptiveField.unknown(*self.size)

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
            self._traced[output] = apply_rule(call)
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
