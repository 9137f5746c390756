"""In which arithmetic does a CUDA device convolve? In float32, and by the same steps every time."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def exact() -> Iterator[None]:
    """Without TF32, which torch lets convolutions take and which reads ten bits of each number: a pixel to 1 / 4000.

    Attacks, completeness and what is compared with the CPU need more; bf16 where it was asked for is not touched.
    Kernels are those that give the same sums each time. Nothing changes on a CPU.
    """
    cudnn = torch.backends.cudnn
    with cudnn.flags(enabled=cudnn.enabled, benchmark=False, deterministic=True, allow_tf32=False):
        yield
