"""How many images at a time: by the memory that is free, and less when it runs out."""

import pytest
import torch

from probe.model.batching import batch_size, in_batches
from probe.model.model import Model
from tests.standin import stand_in


def test_memory_that_torch_keeps_for_itself_counts_as_free(
    convnet: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stand_in() as there:
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (1 << 20, 16 << 30))
        poor = batch_size(convnet.layers, there)
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda *_: 6 << 30)
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda *_: 1 << 30)
        assert poor < batch_size(convnet.layers, there) == 1024


@pytest.mark.parametrize(
    "said",
    [
        "DefaultCPUAllocator: can't allocate memory",
        "GET was unable to find an engine to execute this computation",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    ],
)
def test_slices_are_halved_in_whatever_words_memory_runs_out(said: str) -> None:
    sizes = []

    def small(x: torch.Tensor) -> torch.Tensor:
        sizes.append(len(x))
        if len(x) > 2:
            raise RuntimeError(said)
        return x + 1

    assert in_batches(small, torch.arange(5), batch=8).tolist() == [1, 2, 3, 4, 5]
    assert sizes == [5, 4, 2, 2, 1]


def test_no_rows_are_answered_with_none() -> None:
    assert in_batches(lambda x: x[:, :1] + 1, torch.zeros(0, 3), batch=8).shape == (0, 1)


def test_other_mistakes_are_passed_on() -> None:
    def wrong(x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        in_batches(wrong, torch.arange(5), batch=8)
