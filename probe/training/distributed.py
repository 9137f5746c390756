"""Data-parallel training over several processes that torchrun started; one process without it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from probe.device import choose_device


@dataclass(frozen=True)
class Processes:
    """This process's rank among `world_size` processes; the first one writes and prints."""

    rank: int = 0
    world_size: int = 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    @property
    def shard(self) -> slice:
        """The positions of a batch that belong to this process: every world_size-th."""
        return slice(self.rank, None, self.world_size)

    def sum(self, values: Tensor) -> Tensor:
        """The sum of `values` over all processes, in place."""
        if self.world_size > 1:
            torch.distributed.all_reduce(values)
        return values

    def barrier(self) -> None:
        """Wait until all processes have come here."""
        if self.world_size > 1:
            torch.distributed.barrier()

    def batch_norm_note(self, network: nn.Module, device: torch.device) -> str:
        """How batch norm over several processes differs from one process; empty where it does not."""
        has_batch_norm = any(
            isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules()
        )
        if self.world_size == 1 or device.type == "cuda" or not has_batch_norm:
            return ""
        return (
            f"Batch norm normalised each batch in {self.world_size} shards, one per process: the loss differs slightly "
            "from that of a single process (on CUDA it would not)."
        )

    def wrap(self, network: nn.Module, device: torch.device) -> nn.Module:
        """The network with gradients averaged over the processes.

        Batch norm is computed over the joint batch on CUDA. On CPU, where torch has no such layer, each process
        normalises by its own shard of the batch, and the running statistics of the first one are kept.
        """
        if self.world_size == 1:
            return network
        # torchvision's auxiliary heads take no part in the loss.
        unused = bool(getattr(network, "aux_logits", False))
        if device.type == "cuda":
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
            return DistributedDataParallel(network, device_ids=[device.index], find_unused_parameters=unused)
        return DistributedDataParallel(network, find_unused_parameters=unused)


@contextmanager
def join_processes(device: torch.device) -> Iterator[Processes]:
    """The processes that torchrun started, connected while inside; a single one without torchrun."""
    if "RANK" not in os.environ or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Processes()
        return
    if device.type == "cuda":
        # Otherwise all processes of a machine would wait for each other on its first device.
        torch.cuda.set_device(device)
        torch.distributed.init_process_group("nccl", device_id=device)
    else:
        torch.distributed.init_process_group("gloo")
    try:
        yield Processes(torch.distributed.get_rank(), torch.distributed.get_world_size())
    finally:
        torch.distributed.destroy_process_group()


def local_device(device: torch.device) -> torch.device:
    """The CUDA device of this process on its machine, where torchrun started several."""
    if device.type == "cuda" and "LOCAL_RANK" in os.environ:
        return choose_device(f"cuda:{os.environ['LOCAL_RANK']}")
    return device
