"""The stand-in for a CUDA device refuses what CUDA refuses, computes like the CPU, and records synchronisations."""

import copy

import pytest
import torch
from torch import nn

from tests import standin
from tests.standin import CUDA, StandInTensor, stand_in


@pytest.fixture
def device():
    standin.SYNCHRONISATIONS.clear()
    with stand_in() as device:
        yield device


@pytest.mark.parametrize(
    "mixed",
    [
        lambda x: x + torch.ones(4),
        lambda x: torch.ones(4).add_(x),
        lambda x: torch.ones(())[None] * x,
        lambda x: torch.cat([x, torch.ones(4)]),
        lambda x: torch.stack([x[0], torch.ones(())]),
        lambda x: torch.ones(4)[torch.zeros(2, dtype=torch.long, device=CUDA)],
        lambda x: x.gather(0, torch.tensor([0])),
        lambda x: x.masked_fill(torch.ones(4, dtype=torch.bool), 0),
        lambda x: nn.Linear(4, 2)(x),
        lambda x: x + torch.zeros(4).new_tensor([1.0, 2, 3, 4]),
        lambda x: nn.Linear(4, 2).to(x.device)(torch.ones(4)),
    ],
)
def test_operands_on_two_devices_are_refused(device, mixed):
    with pytest.raises(RuntimeError, match="same device"):
        mixed(torch.rand(4, device=device))


def test_random_numbers_on_a_device_need_a_generator_on_the_device(device):
    with pytest.raises(RuntimeError, match="generator"):
        torch.rand(3, generator=torch.Generator(), device=device)


def test_numpy_cannot_read_device_memory(device):
    with pytest.raises(TypeError, match="cuda:0"):
        torch.rand(4, device=device).numpy()


def test_operations_that_cuda_allows_are_allowed(device):
    x = torch.arange(4.0, device=device)
    assert (x * torch.tensor(2.0)).tolist() == [0, 2, 4, 6]
    assert x[torch.tensor([1, 3])].tolist() == [1, 3]
    copied = torch.zeros(4)
    copied.copy_(x)
    assert copied.tolist() == [0, 1, 2, 3]
    assert torch.where(x > 1, x, torch.tensor(0.0)).tolist() == [0, 0, 2, 3]


def test_training_on_the_stand_in_equals_training_on_the_cpu():
    """The same forward, backward and step; a copy of the network keeps its own weights."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(144, 3)
    )
    images, labels = torch.rand(5, 3, 8, 8), torch.tensor([0, 1, 2, 1, 0])

    def trained(device: torch.device | str) -> list[torch.Tensor]:
        net, pixels = copy.deepcopy(network).to(device), images.clone().to(device).requires_grad_()
        optimiser = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9, nesterov=True)
        for _ in range(3):
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(pixels), labels.to(device)).backward()
            optimiser.step()
        assert next(net.parameters()).device.type == torch.device(device).type
        return [value.detach().cpu() for value in (*net.state_dict().values(), pixels.grad)]

    on_cpu = trained("cpu")
    with stand_in() as device:
        on_device = trained(device)
    for expected, value in zip(on_cpu, on_device, strict=True):
        assert not isinstance(value, StandInTensor)
        assert torch.equal(expected, value)


def test_synchronisations_are_recorded_and_queued_work_is_not(device):
    x = torch.rand(4, 4, device=device)
    (x @ x).relu().sum(), x[:, 1:3].clone(), torch.zeros(3, device=device), x.argmax(1)
    torch.rand(3).pin_memory().to(device, non_blocking=True)
    assert standin.SYNCHRONISATIONS == []
    for synchronise in (
        lambda: x.sum().item(),
        lambda: bool((x > 0).all()),
        lambda: x.tolist(),
        lambda: x.cpu(),
        lambda: torch.rand(3).to(device),
        lambda: torch.rand(3).to(device, non_blocking=True),
        lambda: torch.tensor([1.0], device=device),
        lambda: x[x > 0.5],
        lambda: x.nonzero(),
        lambda: x.unique(),
        lambda: torch.equal(x, x),
        lambda: x.argmax(1).bincount(),
        lambda: torch.linalg.inv(x),
        lambda: x[torch.tensor([0, 1])],
        lambda: x.index_put_((x > 0.5,), torch.zeros((), device=device)),
        lambda: x.copy_(torch.zeros(4, 4)),
        lambda: torch.zeros(4, 4).copy_(x),
        lambda: torch.cuda.synchronize(),
    ):
        standin.SYNCHRONISATIONS.clear()
        synchronise()
        assert standin.SYNCHRONISATIONS
