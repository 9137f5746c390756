"""Which of several processes is this one, and how do they agree? Alone unless torchrun started it."""

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
    """This process's number among `count`; the first one writes and speaks."""

    number: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        return self.number == 0

    @property
    def share(self) -> slice:
        """Every count-th position of a batch is this process's."""
        return slice(self.number, None, self.count)

    def total(self, values: Tensor) -> Tensor:
        """The sum of `values` over all processes."""
        if self.count > 1:
            torch.distributed.all_reduce(values)
        return values

    def wait(self) -> None:
        """Go on when all processes have come here."""
        if self.count > 1:
            torch.distributed.barrier()

    def caveat(self, network: nn.Module, device: torch.device) -> str:
        """In what several processes differ from one, else nothing."""
        norms = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())
        if self.count == 1 or device.type == "cuda" or not norms:
            return ""
        return (
            f"Batch norm normalised each batch in {self.count} shares, one a process: the loss is not quite that of "
            "one process (on CUDA it would be)."
        )

    def wrap(self, network: nn.Module, device: torch.device) -> nn.Module:
        """The network with gradients averaged over the processes.

        Batch norm takes the joint batch on CUDA. On CPU, where torch has no such layer, each process
        normalises by its own share of the batch, and the first one's running statistics are kept.
        """
        if self.count == 1:
            return network
        # torchvision's auxiliary heads take no part in the loss.
        idle = bool(getattr(network, "aux_logits", False))
        if device.type == "cuda":
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
            return DistributedDataParallel(network, device_ids=[device.index], find_unused_parameters=idle)
        return DistributedDataParallel(network, find_unused_parameters=idle)


@contextmanager
def processes(device: torch.device) -> Iterator[Processes]:
    """The processes that torchrun started, joined while inside; one alone without torchrun."""
    if "RANK" not in os.environ or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Processes()
        return
    if device.type == "cuda":
        # Else all processes of a machine would wait for each other on its first device.
        torch.cuda.set_device(device)
        torch.distributed.init_process_group("nccl", device_id=device)
    else:
        torch.distributed.init_process_group("gloo")
    try:
        yield Processes(torch.distributed.get_rank(), torch.distributed.get_world_size())
    finally:
        torch.distributed.destroy_process_group()


def own_device(device: torch.device) -> torch.device:
    """The CUDA device of this process on its machine, where torchrun started several."""
    if device.type == "cuda" and "LOCAL_RANK" in os.environ:
        return choose_device(f"cuda:{os.environ['LOCAL_RANK']}")
    return device
