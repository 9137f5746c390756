"""Trace a forward pass: the layers of a network with their shapes, costs, receptive fields and inputs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from probe.model.layers import Layer, Layers
from probe.model.observer import FUNCTIONS, Calls, is_leaf, resolve
from probe.model.outputs import find_logits
from probe.model.receptive_field_tracker import ReceptiveFieldTracker


def trace_layers(
    network: nn.Module, shape: tuple[int, ...], owner: str, classes: int | None = None
) -> Layers:
    """Run `network` once on a black image of `shape` (c, h, w) and list every call of every module and function.

    owner: the name of the model. classes: the number of its logits, by which they are found among several outputs.
    """
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    dtype = next((p.dtype for p in network.parameters() if p.is_floating_point()), torch.float32)
    image = torch.zeros(1, *shape, device=device, dtype=dtype)
    tracker = ReceptiveFieldTracker(image)
    trace = _Trace(network, tracker)
    with trace.watching((), functions=True), torch.no_grad(), tracker:
        output = network(image)
    logits = output if classes is None else find_logits(output, classes, owner)
    feature_map = tracker.feature_map(logits) if isinstance(logits, Tensor) else None
    dominating = (
        tracker.on_every_path(logits) if isinstance(logits, Tensor) and tracker.depends(logits) else set()
    )
    pooled = None if feature_map is None else trace.address_of.get(feature_map)
    modules = {name for name, _ in network.named_modules(remove_duplicate=False)}
    layers = [
        replace(_counted(layer, trace, modules), on_every_path=step in dominating)
        for layer, step in zip(trace.layers, trace.steps, strict=True)
    ]
    return Layers(owner, layers, feature_map=pooled)


def _counted(layer: Layer, trace: "_Trace", modules: set[str]) -> Layer:
    """`layer` with the number of its calls."""
    owner, function, call = resolve(layer.address, modules)
    return replace(layer, call=call, calls=trace.counts[owner, function])


@dataclass(frozen=True)
class _Started:
    macs: int
    given: str | None


class _Trace(Calls):
    """Lists the calls whose output depends on the image."""

    replaces = False

    def __init__(self, network: nn.Module, tracker: ReceptiveFieldTracker) -> None:
        super().__init__(network)
        self.tracker = tracker
        self.layers: list[Layer] = []
        self.steps: list[int] = []
        self.address_of: WeakIdKeyDictionary = WeakIdKeyDictionary()
        self.stack: list[_Started] = []
        self.last = _Started(0, None)

    def started(self, arguments: Sequence[Any]) -> None:
        tensors = [a for a in arguments if isinstance(a, Tensor)]
        given = self.address_of.get(tensors[0]) if tensors else None
        self.stack.append(_Started(self.tracker.macs, given))

    def ended(self) -> None:
        self.last = self.stack.pop()

    def reached(self, address: str, kind: nn.Module | str, output: Tensor) -> None:
        if not self.tracker.depends(output) or output.ndim < 2:
            return
        module = isinstance(kind, nn.Module)
        leaf = is_leaf(kind) if module else True
        if leaf or output not in self.address_of:
            self.address_of[output] = (
                address  # an in-place layer gives the tensor that it was given, a container its last layer's
            )
        self.steps.append(self.tracker.step(output))
        self.layers.append(
            Layer(
                address=address,
                kind=type(kind).__name__ if module else FUNCTIONS[kind],
                shape=tuple(output.shape[1:]),
                parameters=sum(p.numel() for p in kind.parameters()) if module else 0,
                macs=self.tracker.macs - self.last.macs,
                calls=1,
                leaf=leaf,
                receptive_field=self.tracker.field(output),
                given=self.last.given,
                channels_last=self.tracker.channels_last(output),
            )
        )
