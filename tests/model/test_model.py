"""Pixel space, digests and the state of the network."""

import pytest
import torch
from torch import nn

from probe.errors import UserError
from probe.model.batching import in_batches
from probe.model.model import Model
from tests.conftest import model_of


def test_pixels_are_normalised_once_inside(convnet: Model) -> None:
    pixels = torch.rand(3, 3, 32, 32)
    assert torch.equal(convnet.logits(pixels), convnet.network((pixels - 0.5) / 0.5))


def test_the_network_is_in_evaluation_mode_and_frozen(convnet: Model) -> None:
    assert not any(module.training for module in convnet.network.modules())
    assert not any(parameter.requires_grad for parameter in convnet.network.parameters())


def test_pixels_of_another_shape_are_refused(convnet: Model) -> None:
    with pytest.raises(ValueError, match=r"takes pixels of shape \(n, 3 x 32 x 32\), got \(1, 1, 32, 32\)"):
        convnet.logits(torch.rand(1, 1, 32, 32))


def test_one_changed_weight_changes_the_digest(convnet: Model) -> None:
    before = convnet.digest
    other = Model(convnet.network, convnet.card)
    assert other.digest == before
    other = convnet.double()
    assert other.digest != before
    convnet.network[0].weight.data[0, 0, 0, 0] += 1e-6
    assert Model(convnet.network, convnet.card).digest != before


def test_a_model_in_float64_is_a_copy(convnet: Model) -> None:
    pixels = torch.rand(2, 3, 32, 32)
    double = convnet.double()
    assert double.logits(pixels.double()).dtype == torch.float64
    assert torch.allclose(double.logits(pixels.double()).float(), convnet.logits(pixels), atol=1e-5)


def test_a_compiled_network_is_unwrapped_and_a_scripted_one_refused() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    assert model_of(torch.compile(network, backend="eager"), (3, 2, 2), 2).network is network  # pyrefly: ignore
    with pytest.warns(FutureWarning):
        scripted = torch.jit.script(network)
    with pytest.raises(UserError, match="ScriptModule"):
        model_of(scripted, (3, 2, 2), 2)


def test_a_batch_that_exceeds_memory_is_halved() -> None:
    sizes = []

    def greedy(x: torch.Tensor) -> torch.Tensor:
        sizes.append(len(x))
        if len(x) > 3:
            raise torch.OutOfMemoryError("no memory")
        return x * 2

    values = torch.arange(10.0)
    assert torch.equal(in_batches(greedy, values, batch=8), values * 2)
    assert sizes == [8, 4, 2, 2, 2, 2, 2]


def test_other_errors_are_not_mistaken_for_a_lack_of_memory() -> None:
    def broken(x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        in_batches(broken, torch.arange(10.0), batch=8)
