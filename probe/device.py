"""Choose a device, copy tensors to it without waiting, and fix the arithmetic of its convolutions."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from probe.errors import UserError


def choose_device(name: str) -> torch.device:
    """The device called `name`: "auto" (CUDA if there is any, else the CPU), "cpu", "cuda" or "cuda:N".

    Raises UserError for any other name and for a CUDA device that does not exist.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"device must be auto, cpu, cuda or cuda:N, got {name!r}") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"there is no device {name!r}: torch finds {torch.cuda.device_count()} CUDA devices")
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"device must be auto, cpu, cuda or cuda:N, got {name!r}")
    return device


def usable_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """Copy `values` to `device`; to CUDA through page-locked memory, so that the copy is queued.

    A plain copy to a CUDA device first waits for all queued work, and leaves the device idle afterwards.
    """
    if device.type != "cuda" or values.is_cuda:
        return values.to(device)
    return values.contiguous().pin_memory().to(device, non_blocking=True)


@contextmanager
def deterministic_float32() -> Iterator[None]:
    """Convolve in full float32 and by deterministic kernels on CUDA; nothing changes on a CPU.

    By default torch lets cuDNN use TF32, which rounds each factor to ten bits (about 1/4000 for a pixel). Attacks,
    completeness checks and comparisons with the CPU need more. Explicit bf16 is not affected.
    """
    cudnn = torch.backends.cudnn
    with cudnn.flags(enabled=cudnn.enabled, benchmark=False, deterministic=True, allow_tf32=False):
        yield
