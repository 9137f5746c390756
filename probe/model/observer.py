"""Observe what a network computes at its addresses, by modules and by functions alike: read it, record it, replace it.

A module has the address of its name, `layer1.0.conv2`; its second call in a forward pass is `layer1.0.conv2#2`. What a
module computes by calling functions (`F.relu`, `x + y`, `torch.cat`, ...) has an address below it: `layer1.0/relu`, the
second call `layer1.0/relu#2`, at the top of the network `/relu`. Calls are counted from the start of a forward pass.
"""

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from probe.errors import UserError
from probe.exhibits.wording import counted

FUNCTIONS = {
    "relu": "ReLU",
    "relu6": "ReLU6",
    "leaky_relu": "LeakyReLU",
    "prelu": "PReLU",
    "elu": "ELU",
    "selu": "SELU",
    "celu": "CELU",
    "gelu": "GELU",
    "silu": "SiLU",
    "mish": "Mish",
    "hardswish": "Hardswish",
    "hardsigmoid": "Hardsigmoid",
    "hardtanh": "Hardtanh",
    "softplus": "Softplus",
    "softsign": "Softsign",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "clamp": "Clamp",
    "add": "Add",
    "mul": "Multiply",
    "cat": "Concatenate",
    "conv2d": "conv2d",
    "linear": "linear",
    "batch_norm": "batch_norm",
    "group_norm": "GroupNorm",
    "layer_norm": "LayerNorm",
    "max_pool2d": "MaxPool2d",
    "avg_pool2d": "AvgPool2d",
    "adaptive_avg_pool2d": "AdaptiveAvgPool2d",
    "adaptive_max_pool2d": "AdaptiveMaxPool2d",
    "interpolate": "Upsample",
    "mean": "Mean",
    "amax": "Max",
}
"""The functions that have addresses, by the name in their address, with the kind that their layers are listed as.

The kind is that of the module that does the same; where a module would hold weights, it is the function's name.
"""

_SYNONYMS = {
    "concat": "cat",
    "concatenate": "cat",
    "clamp_min": "clamp",
    "clip": "clamp",
    "multiply": "mul",
    "swish": "silu",
    "upsample": "interpolate",
    "max_pool2d_with_indices": "max_pool2d",
    "adaptive_max_pool2d_with_indices": "adaptive_max_pool2d",
}
_OF_TWO = ("add", "mul")  # of two tensors: a residual sum, a gate; a constant that is added makes no layer

Callback = Callable[[str, Tensor], Tensor | None]
"""callback(address, output) -> None, or the tensor with which the network goes on."""


def function_name(function: Any, arguments: Sequence[Any]) -> str | None:
    """The name that a call of `function` has in an address; None for functions without addresses.

    >>> import torch
    >>> function_name(torch.relu_, ()), function_name(torch.flatten, ())
    ('relu', None)
    """
    name = getattr(function, "__name__", "").strip("_").removeprefix("nn_")
    name = _SYNONYMS.get(name, name)
    if name not in FUNCTIONS:
        name = re.sub(r"^[ir](?=(add|mul)$)", "", name)
    if name not in FUNCTIONS:
        return None
    if name in _OF_TWO and sum(isinstance(a, Tensor) and a.ndim > 1 for a in arguments) < 2:
        return None
    return name


def resolve(address: str, modules: Iterable[str]) -> tuple[str, str, int]:
    """Module name, function name (empty for the module itself) and number of the call that `address` means.

    The exact name of a module wins, since a name may hold "#" or "/".

    >>> resolve("layer1.0/relu#2", ["layer1.0"]), resolve("a#2", ["a"]), resolve("a#2", ["a", "a#2"])
    (('layer1.0', 'relu', 2), ('a', '', 2), ('a#2', '', 1))
    """
    modules = set(modules)
    if address in modules:
        return address, "", 1
    plain, _, call = address.rpartition("#")
    plain, number = (plain, int(call)) if plain and call.isdecimal() else (address, 1)
    if plain in modules:
        return plain, "", number
    owner, slash, function = plain.rpartition("/")
    if slash and function in FUNCTIONS and (owner in modules or not owner):
        return owner, function, number
    raise KeyError(address)


def address_of(owner: str, function: str, call: int) -> str:
    """The address of a call: the inverse of `resolve`."""
    return (f"{owner}/{function}" if function else owner) + (f"#{call}" if call > 1 else "")


class Enough(Exception):
    """Raised to leave a forward pass once everything that was wanted has been observed."""


class Calls(TorchFunctionMode, ABC):
    """While it is entered, names every call of a module or function in a forward pass of `network`.

    `reached` is called for each with the address; it may return the tensor with which the network goes on. Functions
    that a module without children calls are that module (an `nn.ReLU` calls `F.relu`), and get no address.
    """

    replaces = True
    """Whether `reached` may return a tensor or keep the one that it is given; else it sees in-place results as they are."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.names: list[tuple[str, bool]] = []
        self.counts: Counter[tuple[str, str]] = Counter()
        self.images = 0

    def wants(self, address: str) -> bool:
        """Whether `reached` is to be called for this address."""
        return True

    @abstractmethod
    def reached(self, address: str, kind: nn.Module | str, output: Tensor) -> Tensor | None:
        """A call has given `output`. kind: the module, or the name of the function."""

    def started(self, arguments: Sequence[Any]) -> None:
        """A module or function begins to compute."""

    def ended(self) -> None:
        """The module or function that started last has computed; `reached` follows where it gave one tensor."""

    @contextmanager
    def watching(self, modules: Iterable[str], *, functions: bool) -> Iterator[None]:
        """Hooks on `modules` by name; functions: whether calls of functions are named as well (hooks on all modules)."""
        handles: list[Any] = [
            self.network.register_forward_pre_hook(self._reset, prepend=True),
            self.network.register_forward_hook(self._finish, always_call=True),
        ]
        chosen = set(modules)
        try:
            for name, module in python_modules(self.network).items():
                if name and (functions or name in chosen):
                    handles.append(module.register_forward_pre_hook(self._enter(name)))
                    handles.append(module.register_forward_hook(self._leave(name)))
            with self if functions else nullcontext():
                yield
        finally:
            for handle in handles:
                handle.remove()

    def _reset(self, module: nn.Module, inputs: Any) -> None:
        self.counts.clear()
        self.names[:] = [("", False)]
        self.images = len(inputs[0]) if inputs and isinstance(inputs[0], Tensor) else 0
        self.begin()

    def begin(self) -> None:
        """A forward pass begins."""

    def _finish(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self.names.clear()  # what is computed with the logits from here on is not the network's

    def _enter(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any) -> None:
            self.names.append((name, is_leaf(module)))
            self.started(inputs)

        return hook

    def _leave(self, name: str) -> Callable[..., Any]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
            if self.names and self.names[-1][0] == name:
                self.names.pop()
            self.counts[name, ""] += 1
            self.ended()
            if not isinstance(output, Tensor):
                return None
            address = address_of(name, "", self.counts[name, ""])
            return self.reached(address, module, output) if self.wants(address) else None

        return hook

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        owner, inside_leaf = self.names[-1] if self.names else ("", True)
        name = None if inside_leaf else function_name(func, [*args, *kwargs.values()])
        if name is None:
            return func(*args, **kwargs)
        self.started(args)
        output = func(*args, **kwargs)
        self.ended()
        self.counts[owner, name] += 1
        address = address_of(owner, name, self.counts[owner, name])
        if not isinstance(output, Tensor) or not self.wants(address):
            return output
        if not self.replaces or not any(output is argument for argument in args):
            replaced = self.reached(address, name, output)
            return output if replaced is None else replaced
        # In place: the caller may go on with its own name for the tensor, so what that holds has to change.
        replaced = self.reached(address, name, output.clone())
        return output if replaced is None else output.copy_(replaced)


def python_modules(network: nn.Module) -> dict[str, nn.Module]:
    """The modules of `network` by name, under every name that they have, without scripted ones, which take no hooks."""
    scripted: list[str] = []
    modules: dict[str, nn.Module] = {}
    for name, module in network.named_modules(remove_duplicate=False):
        if isinstance(module, torch.jit.ScriptModule):
            scripted.append(f"{name}.")
        elif not name.startswith(tuple(scripted)):
            modules[name] = module
    return modules


def scripted_parts(network: nn.Module) -> list[str]:
    """The addresses of the outermost scripted modules: what they compute inside has no addresses."""
    parts: list[str] = []
    for name, module in network.named_modules():
        inside = any(not part or name.startswith(f"{part}.") for part in parts)
        if isinstance(module, torch.jit.ScriptModule) and not inside:
            parts.append(name)
    return parts


def is_leaf(module: nn.Module) -> bool:
    """Whether what `module` calls is the module itself: it has no children, or is a layer of torch's own."""
    if isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict):
        return False  # an empty one, as shortcuts are written, computes nothing
    return not any(True for _ in module.children()) or type(module).__module__.startswith("torch.nn.modules.")


class _Observer(Calls):
    def __init__(
        self, network: nn.Module, addresses: Iterable[str], callback: Callback, *, stop: bool, copy: bool
    ) -> None:
        super().__init__(network)
        self.callback, self.stop, self.copy = callback, stop, copy
        self.wanted = frozenset(addresses)
        self.observed: set[str] = set()

    def begin(self) -> None:
        self.observed.clear()

    def wants(self, address: str) -> bool:
        return address in self.wanted

    def reached(self, address: str, kind: nn.Module | str, output: Tensor) -> Tensor | None:
        if self.images and (output.ndim == 0 or len(output) != self.images):
            raise UserError(
                f"{address} has an output of shape {tuple(output.shape)} for {counted(self.images)}: probe needs one activation "
                "per image, but the network mixes images or processes them one by one"
            )
        replaced = self.callback(address, output)
        self.observed.add(address)
        if self.stop and len(self.observed) == len(self.wanted):
            raise Enough
        return output.clone() if replaced is None and self.copy else replaced


@contextmanager
def observing(
    network: nn.Module,
    addresses: Iterable[str],
    callback: Callback,
    *,
    stop: bool = False,
    copy: bool = False,
) -> Iterator[None]:
    """Call callback(address, output) as the forward passes inside reach the addresses.

    What the callback returns, if anything, replaces the output. The output is the network's own: an in-place function
    may overwrite it as soon as the callback returns, so reduce it there, or set `copy`, with which the network goes on
    with a copy. stop: leave a forward pass (see `run_forward`) after the last of the addresses.
    Raises UserError in the forward pass where an output has not one row for each image.
    """
    names = {name for name, _ in network.named_modules(remove_duplicate=False)}
    resolved = {address: resolve(address, names) for address in addresses}
    observer = _Observer(network, resolved, callback, stop=stop, copy=copy)
    functions = any(function for _, function, _ in resolved.values())
    with observer.watching((owner for owner, _, _ in resolved.values()), functions=functions):
        yield


@contextmanager
def recording(
    network: nn.Module, addresses: Iterable[str], *, stop: bool = False
) -> Iterator[dict[str, Tensor]]:
    """Record what is computed at the addresses during the forward passes inside: {address: activation}.

    What is recorded lies on the path to the network's output, so gradients may be taken with respect to it, and is
    never overwritten. Each forward pass begins anew; the last one's activations stay. stop: leave a pass when all is
    recorded.
    """
    recorded: dict[str, Tensor] = {}

    handle = network.register_forward_pre_hook(lambda module, inputs: recorded.clear())
    try:
        with observing(network, addresses, recorded.__setitem__, stop=stop, copy=True):
            yield recorded
    finally:
        handle.remove()


def run_forward(network: nn.Module, normalised: Tensor) -> None:
    """Run a forward pass for what is observed in it; it ends early where `observing` or `recording` stops it."""
    with suppress(Enough):
        network(normalised)


def activations(network: nn.Module, normalised: Tensor, addresses: Sequence[str]) -> dict[str, Tensor]:
    """What is computed at the addresses for a batch, {address: (n, ...)}; nothing after the deepest one is computed.

    Raises RuntimeError if the forward pass does not reach one of the addresses.
    """
    with recording(network, addresses, stop=True) as recorded:
        run_forward(network, normalised)
    if missing := [address for address in addresses if address not in recorded]:
        raise RuntimeError(f"the forward pass did not reach {', '.join(missing)}")
    return {address: recorded[address] for address in addresses}
