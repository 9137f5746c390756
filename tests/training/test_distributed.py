"""Data-parallel training, as far as one process can test it."""

import torch
from torch import nn

from probe.training.distributed import Processes

CPU = torch.device("cpu")


def test_batch_norm_over_shards_is_noted_on_cpu_and_nowhere_else():
    normalised, plain = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), nn.Linear(2, 2)
    assert "in 2 shards" in Processes(0, 2).batch_norm_note(normalised, CPU)
    assert Processes(0, 2).batch_norm_note(plain, CPU) == ""
    assert Processes(0, 2).batch_norm_note(normalised, torch.device("cuda")) == ""
    assert Processes().batch_norm_note(normalised, CPU) == ""


def test_several_processes_expect_no_gradient_of_auxiliary_heads(monkeypatch):
    """torchvision's GoogLeNet and Inception have them, and the loss takes the main logits alone."""
    monkeypatch.setattr(
        "probe.training.distributed.DistributedDataParallel", lambda network, **options: options
    )
    network = nn.Linear(2, 2)
    assert Processes(0, 2).wrap(network, CPU) == {"find_unused_parameters": False}
    network.aux_logits = True
    assert Processes(0, 2).wrap(network, CPU) == {"find_unused_parameters": True}
