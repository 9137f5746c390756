"""A stand-in for a CUDA device where there is none: what CUDA would refuse is refused, computed by the CPU.

Most of what breaks on a GPU and nowhere else is a tensor in the wrong place. Here a tensor "on cuda:0" is a wrapper
that holds a CPU tensor, and every operation is looked at before it runs: operands in two places, NumPy reading
device memory and results written across are errors, as they are with CUDA. Speed, kernels and their rounding, streams
and memory are not stood in for; tests marked `cuda` look at those on a real device.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import torch
import torch._dynamo  # optimisers load it, and it looks at the functions that are replaced below
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

HERE, THERE = torch.device("cpu"), torch.device("cuda", 0)

_aten = torch.ops.aten
_CROSSING = {_aten.copy_.default}  # moves between devices on purpose
_INDEXING = {  # take indices that lie on the CPU
    _aten.index.Tensor,
    _aten.index_put.default,
    _aten.index_put_.default,
    _aten._index_put_impl_.default,
}
_SCALARS_TOO = {_aten.cat.default, _aten.stack.default}  # refuse even a scalar from elsewhere


_WAITING = {  # read a value, or make a shape that depends on values
    _aten._local_scalar_dense.default,
    _aten.nonzero.default,
    _aten.masked_select.default,
    _aten.equal.default,
    _aten.bincount.default,
    _aten._unique2.default,
    _aten.repeat_interleave.Tensor,
    _aten._linalg_check_errors.default,
}

WAITS: list[str] = []
"""What the CPU has waited for since it was last emptied: values read, blocking copies, shapes that depend on values."""


class Away(torch.Tensor):
    """A tensor that says it is on cuda:0. `held` is the CPU tensor with its values."""

    held: torch.Tensor

    __torch_function__ = torch._C._disabled_torch_function_impl
    device = property(lambda self: THERE)  # type: ignore[assignment]
    is_cuda = property(lambda self: True)  # type: ignore[assignment]
    is_cpu = property(lambda self: False)  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> "Away":
        away = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype
        )
        away.held = held
        return away

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"Away({self.held!r})"

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.held.__reduce_ex__(protocol)  # saved, and read again with map_location="cpu"

    def __deepcopy__(self, memo: dict[int, Any]) -> "Away":
        copied = Away(self.held.detach().clone()).requires_grad_(self.requires_grad)
        copied._is_param = isinstance(self, torch.nn.Parameter)  # type: ignore[attr-defined]
        return memo.setdefault(id(self), copied)

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first.")

    def numpy(self, *_: Any, **__: Any) -> Any:
        return self.__array__()

    def tolist(self) -> Any:
        WAITS.append("tolist")
        return self.held.tolist()

    def data_ptr(self) -> int:
        return self.held.data_ptr()


def _computed(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """The operation's result: away when an operand is, after a look at where the operands lie."""
    if func in _WAITING or (func in _INDEXING and any(_is_mask(x) or _is_here(x) for x in args[1])):
        WAITS.append(str(func))
    if func in _CROSSING and _is_here(args[0]) != _is_here(args[1]):
        WAITS.append("a copy")
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
    if not any(isinstance(x, Away) for x in tensors):
        return func(*args, **kwargs)
    if func not in _CROSSING:
        _together(func, args, tensors)
    held_args, held_kwargs = tree_map(_held, (args, kwargs))
    out = func(*held_args, **held_kwargs)
    return (
        _written(func, args, kwargs) if func._schema.is_mutable and out is not None else tree_map(_away, out)
    )


def _written(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """The operands that an operation in place has written to: these it returns."""
    given = zip(func._schema.arguments, args, strict=False)
    found = [value for argument, value in given if argument.alias_info and argument.alias_info.is_write]
    found += [kwargs[a.name] for a in func._schema.arguments if a.name in kwargs and a.alias_info]
    return found[0] if len(func._schema.returns) == 1 else tuple(found)


def _together(func: Any, args: Any, tensors: list[torch.Tensor]) -> None:
    """Refuses operands in two places; a scalar of the CPU may meet tensors of the device, but not take their result."""
    looked = tensors
    if func in _INDEXING and isinstance(args[0], Away):
        looked = [args[0], *[x for x in tree_leaves(args[2:]) if isinstance(x, torch.Tensor)]]
    least = 0 if func in _SCALARS_TOO else 1
    stray = [x for x in looked if not isinstance(x, Away) and x.dim() >= least]
    written = func._schema.is_mutable and isinstance(args[0], torch.Tensor) and not isinstance(args[0], Away)
    if stray or written:
        raise RuntimeError(f"Expected all tensors to be on the same device, but got cuda:0 and cpu: {func}")


def _is_mask(x: Any) -> bool:
    return isinstance(x, torch.Tensor) and x.dtype == torch.bool


def _is_here(x: Any) -> bool:
    return isinstance(x, torch.Tensor) and not isinstance(x, Away)


def _held(x: Any) -> Any:
    return x.held if isinstance(x, Away) else x


def _away(x: Any) -> Any:
    return Away(x) if isinstance(x, torch.Tensor) else x


class _Move(torch.autograd.Function):
    """Between the two places; gradients travel back."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, away: bool) -> torch.Tensor:
        ctx.away = isinstance(x, Away)
        held = _held(x).clone()
        return Away(held) if away else held

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        held = _held(gradient)
        return (Away(held) if ctx.away else held), None


def _moved(x: torch.Tensor, device: Any) -> torch.Tensor:
    away = torch.device(device).type == "cuda"
    return x if away == isinstance(x, Away) else _Move.apply(x, away)


def _no_gradients(mode: bool) -> Any:
    """Instead of inference mode, whose tensors cannot be wrapped."""
    return torch.no_grad() if mode else torch.enable_grad()


def _alike(one: torch.Tensor, other: torch.Tensor) -> bool:
    """May a module put the values of `other` into its parameter `one`? Not across devices: it takes a new one."""
    return not isinstance(one, Away) and not isinstance(other, Away)


class _Asked(TorchFunctionMode):
    """Answers calls that name a device."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.Tensor.to:
            return _to(*args, **kwargs)
        if func in (torch.Tensor.cpu, torch.Tensor.cuda):
            return _to(args[0], HERE if func is torch.Tensor.cpu else THERE)
        if func is torch.Tensor.pin_memory:
            pinned = args[0].detach()
            pinned.pinned = True
            return pinned
        # It makes a tensor beside its operand without a word to anyone.
        if func is functional.one_hot and isinstance(args[0], Away):
            return _away(func(_held(args[0]), *args[1:], **kwargs))
        if func is torch.Tensor.new_tensor:
            return _to(torch.tensor(*args[1:], **kwargs), args[0].device)
        if kwargs.get("device") is not None:
            generator = kwargs.get("generator")
            if generator is not None and generator.device.type != torch.device(kwargs["device"]).type:
                raise RuntimeError(f"Expected a 'cuda' device type for generator but found 'cpu': {func}")
            device, needs = torch.device(kwargs.pop("device")), kwargs.pop("requires_grad", False)
            made = func(*args, **kwargs)
            if func in (torch.tensor, torch.as_tensor):
                return _to(made, device).requires_grad_(needs)
            return _moved(made, device).requires_grad_(needs)
        return func(*args, **kwargs)


def _to(x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """Tensor.to: first to the other place, where another is asked for, then the rest."""
    given = [*args, *kwargs.values()]
    like = [value for value in given if isinstance(value, torch.Tensor)]
    devices = [value.device for value in like]
    devices += [torch.device(value) for value in given if isinstance(value, str | torch.device)]
    types = [value.dtype for value in like] + [value for value in given if isinstance(value, torch.dtype)]
    for device in devices:
        if (device.type == "cuda") != isinstance(x, Away):
            if not (getattr(x, "pinned", False) and kwargs.get("non_blocking")):
                WAITS.append(f"a copy to {device.type}")
            x = _moved(x, device)
    as_is = torch._C.DisableTorchFunction()
    with as_is:
        for dtype in types:
            x = torch.Tensor.to(x, dtype)
        return torch.Tensor.to(x, memory_format=kwargs["memory_format"]) if kwargs.get("memory_format") else x


@contextlib.contextmanager
def stand_in() -> Iterator[torch.device]:
    """A device "cuda:0" for the time of a with block."""
    autocast = torch.autocast

    def cast(device: str, *args: Any, **kwargs: Any) -> Any:
        return autocast("cpu", *args, **kwargs)

    replaced: dict[str, Callable[..., Any]] = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "mem_get_info": lambda *_: (8 << 30, 16 << 30),
        "get_device_capability": lambda *_: (8, 0),
        "get_device_name": lambda *_: "stand-in",
        "synchronize": lambda *_: WAITS.append("synchronize"),
        "empty_cache": lambda: None,
        "get_rng_state": lambda *_: torch.zeros(16, dtype=torch.uint8),
        "set_rng_state": lambda *_: None,
    }
    with contextlib.ExitStack() as stack:
        for name, function in replaced.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, function))
        stack.enter_context(mock.patch.object(torch.accelerator, "is_available", return_value=False))
        stack.enter_context(mock.patch.object(torch, "autocast", cast))
        stack.enter_context(mock.patch.object(torch, "_has_compatible_shallow_copy_type", _alike))
        stack.enter_context(mock.patch.object(torch._C, "_InferenceMode", _no_gradients))
        stack.enter_context(_Asked())
        yield THERE
