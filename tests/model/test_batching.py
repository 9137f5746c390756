"""Batch sizes from free memory, halved if it runs out."""

import pytest
import torch

from probe.model.batching import batch_in_cache, batch_size, in_batches
from probe.model.model import Model
from tests.conftest import model_of
from tests.standin import stand_in


def test_memory_cached_by_torch_counts_as_free(convnet: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    with stand_in() as device:
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (1 << 20, 16 << 30))
        without_cache = batch_size(convnet.layers, device)
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda *_: 6 << 30)
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda *_: 1 << 30)
        assert without_cache < batch_size(convnet.layers, device) == 1024


@pytest.mark.parametrize(
    "message",
    [
        "DefaultCPUAllocator: can't allocate memory",
        "GET was unable to find an engine to execute this computation",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    ],
)
def test_slices_are_halved_for_every_message_of_a_lack_of_memory(message: str) -> None:
    sizes = []

    def small(x: torch.Tensor) -> torch.Tensor:
        sizes.append(len(x))
        if len(x) > 2:
            raise RuntimeError(message)
        return x + 1

    assert in_batches(small, torch.arange(5), batch=8).tolist() == [1, 2, 3, 4, 5]
    assert sizes == [5, 4, 2, 2, 1]


def test_no_rows_give_no_rows() -> None:
    assert in_batches(lambda x: x[:, :1] + 1, torch.zeros(0, 3), batch=8).shape == (0, 1)


def test_other_errors_are_raised() -> None:
    def wrong(x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        in_batches(wrong, torch.arange(5), batch=8)


def test_a_batch_on_a_cpu_keeps_the_largest_activation_in_its_cache() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3, padding=1), torch.nn.Flatten())
    layers = model_of(network, (3, 32, 32), 16 * 32 * 32).layers  # 64 KiB an image: 48 fit 3 MiB
    assert batch_in_cache(layers, torch.device("cpu"), 1024) == 32
    assert batch_in_cache(layers, torch.device("cpu"), 4) == 4
    assert batch_in_cache(layers, torch.device("cuda"), 1024) == 1024
