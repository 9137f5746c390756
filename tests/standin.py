"""A stand-in for a CUDA device: refuses the operations that CUDA refuses, and computes the others on the CPU.

Most errors that occur on a GPU alone are tensors on the wrong device. Here a tensor "on cuda:0" is a wrapper of a CPU
tensor, and every operation is checked before it runs: operands on two devices, NumPy reading device memory and results
written to the other device are errors, as with CUDA. Speed, kernels and their rounding, streams and memory are not
simulated; tests marked `cuda` test those on a real device.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import torch
import torch._dynamo  # imported by optimisers; it inspects the functions that are replaced below
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)

_aten = torch.ops.aten
_CROSSING = {_aten.copy_.default}  # copies between devices
_INDEXING = {  # accept indices on the CPU
    _aten.index.Tensor,
    _aten.index_put.default,
    _aten.index_put_.default,
    _aten._index_put_impl_.default,
}
_NO_SCALARS = {_aten.cat.default, _aten.stack.default}  # refuse even a scalar on another device


_SYNCHRONISING = {  # read a value, or have an output shape that depends on values
    _aten._local_scalar_dense.default,
    _aten.nonzero.default,
    _aten.masked_select.default,
    _aten.equal.default,
    _aten.bincount.default,
    _aten._unique2.default,
    _aten.repeat_interleave.Tensor,
    _aten._linalg_check_errors.default,
}

SYNCHRONISATIONS: list[str] = []
"""Synchronisations of CPU and device since the list was last cleared: values read, blocking copies, shapes that depend
on values."""


class StandInTensor(torch.Tensor):
    """A tensor whose device is cuda:0. `cpu_tensor` has its values."""

    cpu_tensor: torch.Tensor

    __torch_function__ = torch._C._disabled_torch_function_impl
    device = property(lambda self: CUDA)  # type: ignore[assignment]
    is_cuda = property(lambda self: True)  # type: ignore[assignment]
    is_cpu = property(lambda self: False)  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, values: torch.Tensor) -> "StandInTensor":
        tensor = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            values.size(),
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
        )
        tensor.cpu_tensor = values
        return tensor

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _compute(func, args, kwargs or {})

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"StandInTensor({self.cpu_tensor!r})"

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.cpu_tensor.__reduce_ex__(protocol)  # saved, and read again with map_location="cpu"

    def __deepcopy__(self, memo: dict[int, Any]) -> "StandInTensor":
        copied = StandInTensor(self.cpu_tensor.detach().clone()).requires_grad_(self.requires_grad)
        copied._is_param = isinstance(self, torch.nn.Parameter)  # type: ignore[attr-defined]
        return memo.setdefault(id(self), copied)

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first.")

    def numpy(self, *_: Any, **__: Any) -> Any:
        return self.__array__()

    def tolist(self) -> Any:
        SYNCHRONISATIONS.append("tolist")
        return self.cpu_tensor.tolist()

    def data_ptr(self) -> int:
        return self.cpu_tensor.data_ptr()


def _compute(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """The result of an operation, on the device if an operand is; raises RuntimeError for operands on two devices."""
    if func in _SYNCHRONISING or (func in _INDEXING and any(_is_mask(x) or _on_cpu(x) for x in args[1])):
        SYNCHRONISATIONS.append(str(func))
    if func in _CROSSING and _on_cpu(args[0]) != _on_cpu(args[1]):
        SYNCHRONISATIONS.append("a copy")
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
    if not any(isinstance(x, StandInTensor) for x in tensors):
        return func(*args, **kwargs)
    if func not in _CROSSING:
        _check_devices(func, args, tensors)
    cpu_args, cpu_kwargs = tree_map(_values, (args, kwargs))
    out = func(*cpu_args, **cpu_kwargs)
    return (
        _mutated(func, args, kwargs)
        if func._schema.is_mutable and out is not None
        else tree_map(_wrapped, out)
    )


def _mutated(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """The operands that an in-place operation has changed, which it returns."""
    given = zip(func._schema.arguments, args, strict=False)
    changed = [value for argument, value in given if argument.alias_info and argument.alias_info.is_write]
    changed += [kwargs[a.name] for a in func._schema.arguments if a.name in kwargs and a.alias_info]
    return changed[0] if len(func._schema.returns) == 1 else tuple(changed)


def _check_devices(func: Any, args: Any, tensors: list[torch.Tensor]) -> None:
    """Refuse operands on two devices; a scalar on the CPU may be an operand, but not receive the result."""
    checked = tensors
    if func in _INDEXING and isinstance(args[0], StandInTensor):
        checked = [args[0], *[x for x in tree_leaves(args[2:]) if isinstance(x, torch.Tensor)]]
    min_dim = 0 if func in _NO_SCALARS else 1
    stray = [x for x in checked if not isinstance(x, StandInTensor) and x.dim() >= min_dim]
    if torch._C._current_graph_task_id() != -1:
        # The second derivative of max-pooling adds zeros that C++ creates with the options of the wrapper: on a real
        # device they lie there.
        stray = [x for x in stray if x.requires_grad or bool(x.any())]
    written = (
        func._schema.is_mutable
        and isinstance(args[0], torch.Tensor)
        and not isinstance(args[0], StandInTensor)
    )
    if stray or written:
        raise RuntimeError(f"Expected all tensors to be on the same device, but got cuda:0 and cpu: {func}")


def _is_mask(x: Any) -> bool:
    return isinstance(x, torch.Tensor) and x.dtype == torch.bool


def _on_cpu(x: Any) -> bool:
    return isinstance(x, torch.Tensor) and not isinstance(x, StandInTensor)


def _values(x: Any) -> Any:
    return x.cpu_tensor if isinstance(x, StandInTensor) else x


def _wrapped(x: Any) -> Any:
    return StandInTensor(x) if isinstance(x, torch.Tensor) else x


class _Move(torch.autograd.Function):
    """Copy between the two devices, with gradients."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, to_cuda: bool) -> torch.Tensor:
        ctx.from_cuda = isinstance(x, StandInTensor)
        values = _values(x).clone()
        return StandInTensor(values) if to_cuda else values

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        values = _values(gradient)
        return (StandInTensor(values) if ctx.from_cuda else values), None


def _moved(x: torch.Tensor, device: Any) -> torch.Tensor:
    to_cuda = torch.device(device).type == "cuda"
    return x if to_cuda == isinstance(x, StandInTensor) else _Move.apply(x, to_cuda)


def _no_gradients(mode: bool) -> Any:
    """Replaces inference mode, whose tensors cannot be wrapped."""
    return torch.no_grad() if mode else torch.enable_grad()


def _compatible(parameter: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether a module may assign `other` to the data of `parameter`: not across devices."""
    return not isinstance(parameter, StandInTensor) and not isinstance(other, StandInTensor)


class _DeviceArguments(TorchFunctionMode):
    """Handles calls with a device argument."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.Tensor.to:
            return _to(*args, **kwargs)
        if func in (torch.Tensor.cpu, torch.Tensor.cuda):
            return _to(args[0], CPU if func is torch.Tensor.cpu else CUDA)
        if func is torch.Tensor.pin_memory:
            pinned = args[0].detach()
            pinned.pinned = True
            return pinned
        # It creates a tensor without a device argument.
        if func is functional.one_hot and isinstance(args[0], StandInTensor):
            return _wrapped(func(_values(args[0]), *args[1:], **kwargs))
        if func is torch.Tensor.new_tensor:
            return _to(torch.tensor(*args[1:], **kwargs), args[0].device)
        if kwargs.get("device") is not None:
            generator = kwargs.get("generator")
            if generator is not None and generator.device.type != torch.device(kwargs["device"]).type:
                raise RuntimeError(f"Expected a 'cuda' device type for generator but found 'cpu': {func}")
            device, needs = torch.device(kwargs.pop("device")), kwargs.pop("requires_grad", False)
            created = func(*args, **kwargs)
            if func in (torch.tensor, torch.as_tensor):
                return _to(created, device).requires_grad_(needs)
            return _moved(created, device).requires_grad_(needs)
        return func(*args, **kwargs)


def _to(x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """Tensor.to: first to the other device if requested, then to other types and formats."""
    given = [*args, *kwargs.values()]
    like = [value for value in given if isinstance(value, torch.Tensor)]
    devices = [value.device for value in like]
    devices += [torch.device(value) for value in given if isinstance(value, str | torch.device)]
    types = [value.dtype for value in like] + [value for value in given if isinstance(value, torch.dtype)]
    for device in devices:
        if (device.type == "cuda") != isinstance(x, StandInTensor):
            if not (getattr(x, "pinned", False) and kwargs.get("non_blocking")):
                SYNCHRONISATIONS.append(f"a copy to {device.type}")
            x = _moved(x, device)
    with torch._C.DisableTorchFunction():
        for dtype in types:
            x = torch.Tensor.to(x, dtype)
        return torch.Tensor.to(x, memory_format=kwargs["memory_format"]) if kwargs.get("memory_format") else x


@contextlib.contextmanager
def stand_in() -> Iterator[torch.device]:
    """Provide a device "cuda:0" until the block ends."""
    autocast = torch.autocast

    def cast(device: str, *args: Any, **kwargs: Any) -> Any:
        return autocast("cpu", *args, **kwargs)

    replaced: dict[str, Callable[..., Any]] = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "mem_get_info": lambda *_: (8 << 30, 16 << 30),
        "get_device_capability": lambda *_: (8, 0),
        "get_device_name": lambda *_: "stand-in",
        "synchronize": lambda *_: SYNCHRONISATIONS.append("synchronize"),
        "empty_cache": lambda: None,
        "get_rng_state": lambda *_: torch.zeros(16, dtype=torch.uint8),
        "set_rng_state": lambda *_: None,
    }
    with contextlib.ExitStack() as stack:
        for name, function in replaced.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, function))
        stack.enter_context(mock.patch.object(torch.accelerator, "is_available", return_value=False))
        stack.enter_context(mock.patch.object(torch, "autocast", cast))
        stack.enter_context(mock.patch.object(torch, "_has_compatible_shallow_copy_type", _compatible))
        stack.enter_context(mock.patch.object(torch._C, "_InferenceMode", _no_gradients))
        stack.enter_context(_DeviceArguments())
        yield CUDA
