"""Addresses, recording and stopping early."""

import pytest
import torch
from torch import Tensor, nn

from probe.errors import UserError
from probe.model.model import Model
from probe.model.observer import recording
from tests.conftest import model_of


class Reused(nn.Module):
    """One in-place ReLU called twice, as torchvision's ResNet does."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(4, 2)
        self.heads_run = 0

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.second(self.relu(self.first(x))))
        self.heads_run += 1
        return self.head(x.mean((2, 3)))


@pytest.fixture
def reused() -> Model:
    return model_of(Reused(), (3, 12, 12), 2, "reused")


def test_every_call_of_a_module_has_an_address_of_its_own(reused: Model) -> None:
    assert [layer.address for layer in reused.layers] == [
        "first",
        "relu",
        "second",
        "relu#2",
        "/mean",
        "head",
    ]
    assert reused.layers.find("relu").calls == 2


def test_the_requested_call_is_recorded(reused: Model) -> None:
    pixels = torch.rand(2, 3, 12, 12)
    network: Reused = reused.network  # pyrefly: ignore[bad-assignment]
    first = network.first(reused.normalise(pixels))
    second = network.second(first.relu())
    activations = reused.features(pixels, "relu", "relu#2")
    assert torch.equal(activations["relu"], first.relu())
    assert torch.equal(activations["relu#2"], second.relu())


def test_an_in_place_relu_does_not_overwrite_what_was_recorded(reused: Model) -> None:
    activations = reused.features(torch.rand(2, 3, 12, 12), "first", "relu#2")
    assert bool((activations["first"] < 0).any())


def test_a_forward_pass_stops_after_the_deepest_layer(reused: Model) -> None:
    assert len(reused.layers) == 6  # the survey runs the whole network once
    before = reused.network.heads_run
    reused.features(torch.rand(1, 3, 12, 12), "second", "first")
    assert reused.network.heads_run == before


def test_a_gradient_with_respect_to_what_was_recorded_is_that_of_the_score(reused: Model) -> None:
    pixels = torch.rand(2, 3, 12, 12, requires_grad=True)
    with recording(reused.network, ["first"]) as activations:
        logits = reused.logits(pixels)
        (gradient,) = torch.autograd.grad(logits[:, 0].sum(), activations["first"])
    network: Reused = reused.network  # pyrefly: ignore[bad-assignment]
    start = network.first(reused.normalise(pixels)).detach().requires_grad_()
    rest = network.head(network.second(start.relu()).relu().mean((2, 3)))
    (expected,) = torch.autograd.grad(rest[:, 0].sum(), start)
    assert torch.allclose(gradient, expected, atol=1e-7)


def test_nothing_is_left_on_the_network_after_an_exception(reused: Model) -> None:
    with pytest.raises(RuntimeError), recording(reused.network, ["first", "relu#2"]):
        raise RuntimeError("on purpose")
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in reused.network.modules())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("frist", "no layer 'frist'. Did you mean first? `probe layers reused` lists all 6."),
        ("first:4", "layer first has 4 channels, 0 to 3: there is no channel 4"),
        ("first:1:10,2", "the maps of first are 10 x 10: there is no unit 10,2"),
        ("head:1:0,0", "layer head has no maps"),
        ("first:x", "not a layer address"),
    ],
)
def test_a_wrong_address_is_refused_with_a_valid_one(reused: Model, text: str, message: str) -> None:
    with pytest.raises(UserError, match=r"^[^\n]+$") as error:
        reused.layers.parse(text)
    assert message in str(error.value)


def test_addresses_survive_writing_and_parsing(reused: Model) -> None:
    for text in ("first", "relu#2:3", "second:0:7,0"):
        assert str(reused.layers.parse(text)) == text
