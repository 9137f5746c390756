"""Forward hooks: record or inspect the outputs of layers during a forward pass, and remove the hooks afterwards."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from torch import Tensor, nn


class _StopForward(Exception):
    """Raised by a hook to leave a forward pass once every requested layer has run."""


@contextmanager
def listening(
    network: nn.Module,
    addresses: Iterable[str],
    callback: Callable[[str, Tensor], None],
    *,
    stop: bool = False,
    copy: bool = False,
) -> Iterator[None]:
    """Call callback(address, output) whenever a forward pass inside the block reaches one of `addresses`.

    The output is the network's own tensor: an in-place ReLU may overwrite it as soon as `callback` returns, so reduce
    it there, or set `copy`, which lets the network continue with a copy. stop: end each pass (see `run_forward`) after
    the last of the addresses.
    """
    requested: dict[str, dict[int, str]] = {}
    for address in addresses:
        name, _, call = address.partition("#")
        requested.setdefault(name, {})[int(call or 1)] = address
    expected = sum(len(by_call) for by_call in requested.values())
    calls: Counter[str] = Counter()
    reached: set[str] = set()
    modules = dict(network.named_modules())

    def reset(module: nn.Module, inputs: Any) -> None:
        calls.clear()
        reached.clear()

    def hook_of(name: str) -> Callable[..., Tensor | None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> Tensor | None:
            calls[name] += 1
            address = requested[name].get(calls[name])
            if address is None:
                return None
            callback(address, output)
            reached.add(address)
            if stop and len(reached) == expected:
                raise _StopForward
            return output.clone() if copy else None

        return hook

    handles: list[Any] = []
    try:
        handles.append(network.register_forward_pre_hook(reset))
        for name in requested:
            handles.append(modules[name].register_forward_hook(hook_of(name)))
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def recording(
    network: nn.Module, addresses: Iterable[str], *, stop: bool = False
) -> Iterator[dict[str, Tensor]]:
    """Record the outputs of layers during the forward passes in the block; yields {address: activation}.

    The recorded tensors lie on the path to the network's output, so gradients may be taken with respect to them, and
    they are never overwritten: the network continues with a copy. Each forward pass clears the record, so that the
    activations of the last one remain. stop: end each pass after the last of the addresses.
    """
    recorded: dict[str, Tensor] = {}

    def reset(module: nn.Module, inputs: Any) -> None:
        recorded.clear()

    handle = network.register_forward_pre_hook(reset)
    try:
        with listening(network, addresses, recorded.__setitem__, stop=stop, copy=True):
            yield recorded
    finally:
        handle.remove()


def run_forward(network: nn.Module, normalised: Tensor) -> None:
    """Run a forward pass for its hooks alone; it ends early where `listening` or `recording` stops it."""
    with suppress(_StopForward):
        network(normalised)


def activations(network: nn.Module, normalised: Tensor, addresses: Sequence[str]) -> dict[str, Tensor]:
    """The outputs of layers for a batch, {address: (n, ...)}; nothing after the deepest one is computed.

    Raises RuntimeError if the forward pass does not reach one of the addresses.
    """
    with recording(network, addresses, stop=True) as recorded:
        run_forward(network, normalised)
    if missing := [address for address in addresses if address not in recorded]:
        raise RuntimeError(f"the forward pass did not reach {', '.join(missing)}")
    return {address: recorded[address] for address in addresses}
