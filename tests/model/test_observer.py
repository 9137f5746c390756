"""One observer reads, records and replaces what modules and functions compute, in place and reused ones too."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from probe.model.model import Model
from probe.model.observer import observing, recording
from probe.model.tracing import trace_layers
from tests.conftest import model_of


class Block(nn.Module):
    """A residual block that computes by functions: an in-place ReLU, an in-place sum, a ReLU whose result is not bound."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.shortcut = nn.Sequential()

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.conv1(x), inplace=True)
        out = self.conv2(out)
        out += self.shortcut(x)
        F.relu_(out)
        return out


class Functional(nn.Module):
    """As others write ResNets: no module but convolutions and a head, global pooling by a function."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.layer1, self.linear = (
            nn.Conv2d(3, 6, 3),
            nn.Sequential(Block(6), Block(6)),
            nn.Linear(6, 4),
        )

    def forward(self, x: Tensor) -> Tensor:
        out = self.layer1(F.relu(self.conv1(x)))
        out = F.avg_pool2d(out, out.size()[3])
        return self.linear(out.view(out.size(0), -1))


@pytest.fixture
def functional() -> Model:
    torch.manual_seed(0)
    return model_of(Functional(), (3, 10, 10), 4, "functional")


def by_hand(model: Model, pixels: Tensor) -> dict[str, Tensor]:
    """What each address holds, computed without in-place functions."""
    network: Functional = model.network  # pyrefly: ignore[bad-assignment]
    held: dict[str, Tensor] = {}
    held["conv1"] = network.conv1(model.normalise(pixels))
    held["/relu"] = x = held["conv1"].relu()
    for i, block in enumerate(network.layer1):
        held[f"layer1.{i}.conv1"] = block.conv1(x)
        held[f"layer1.{i}/relu"] = held[f"layer1.{i}.conv1"].relu()
        held[f"layer1.{i}.conv2"] = block.conv2(held[f"layer1.{i}/relu"])
        held[f"layer1.{i}/add"] = held[f"layer1.{i}.conv2"] + x
        held[f"layer1.{i}/relu#2"] = held[f"layer1.{i}"] = x = held[f"layer1.{i}/add"].relu()
    held["/avg_pool2d"] = x.mean((2, 3), keepdim=True)
    held["linear"] = network.linear(x.mean((2, 3)))
    return held


def test_functions_have_addresses_below_the_module_that_calls_them(functional: Model) -> None:
    leaves = [layer.address for layer in functional.layers if layer.leaf and layer.kind != "Sequential"]
    assert leaves == [
        *("conv1", "/relu"),
        *("layer1.0.conv1", "layer1.0/relu", "layer1.0.conv2", "layer1.0/add", "layer1.0/relu#2"),
        *("layer1.1.conv1", "layer1.1/relu", "layer1.1.conv2", "layer1.1/add", "layer1.1/relu#2"),
        *("/avg_pool2d", "linear"),
    ]
    kinds = [functional.layers.find(a).kind for a in ("/relu", "layer1.0/add", "/avg_pool2d")]
    assert kinds == ["ReLU", "Add", "AvgPool2d"]
    assert functional.layers.find("layer1.0/relu").calls == 2


def test_every_activation_is_what_the_network_computes(functional: Model) -> None:
    pixels = torch.rand(2, 3, 10, 10)
    expected = by_hand(functional, pixels)
    recorded = functional.features(pixels, *expected)
    for address, activation in expected.items():
        torch.testing.assert_close(recorded[address], activation, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "address", ["/relu", "layer1.0/relu", "layer1.0/add", "layer1.0/relu#2", "layer1.1.conv2"]
)
def test_gradients_and_replacement_at_an_address_are_those_of_the_computation(
    functional: Model, address: str
) -> None:
    pixels = torch.rand(2, 3, 10, 10)
    with recording(functional.network, [address]) as recorded, torch.enable_grad():
        leaf = pixels.clone().requires_grad_()
        logits = functional.logits(leaf)
        (gradient,) = torch.autograd.grad(logits[:, 1].sum(), recorded[address])
    torch.testing.assert_close(logits.detach(), functional.logits(pixels))
    # A small change of the activation changes the score by gradient times change, where no ReLU switches.
    change = 1e-4 * torch.randn_like(gradient)
    with observing(functional.network, [address], lambda _, output: output + change):
        moved = functional.logits(pixels)
    torch.testing.assert_close(
        (moved - logits)[:, 1].detach(), (gradient * change).flatten(1).sum(1), rtol=0.05, atol=1e-6
    )


def test_a_lesion_of_a_residual_branch_leaves_the_skip(functional: Model) -> None:
    pixels = torch.rand(2, 3, 10, 10)
    network: Functional = functional.network  # pyrefly: ignore[bad-assignment]
    with observing(network, ["layer1.0.conv2"], lambda _, output: torch.zeros_like(output)):
        lesioned = functional.features(pixels, "layer1.0/relu#2")["layer1.0/relu#2"]
    torch.testing.assert_close(lesioned, network.conv1(functional.normalise(pixels)).relu())


def test_a_forward_pass_stops_after_a_function_too(functional: Model) -> None:
    functional.layers  # noqa: B018  the trace runs the whole network once
    calls: list[int] = []
    handle = functional.network.linear.register_forward_pre_hook(lambda *_: calls.append(1))
    functional.features(torch.rand(1, 3, 10, 10), "layer1.0/add")
    handle.remove()
    assert not calls


def test_the_exact_name_of_a_module_wins_over_parsing() -> None:
    network = nn.Sequential()
    network.add_module("a/relu", nn.Conv2d(3, 4, 1))
    network.add_module("b#2", nn.Flatten())
    model = model_of(network, (3, 2, 2), 16, "odd names")
    assert [layer.address for layer in model.layers] == ["a/relu", "b#2"]
    pixels = torch.rand(1, 3, 2, 2)
    torch.testing.assert_close(model.features(pixels, "b#2")["b#2"], model.logits(pixels))


def test_functions_outside_the_network_have_no_address_and_hooks_go(functional: Model) -> None:
    observed: list[str] = []
    with observing(
        functional.network, ["/relu", "layer1.1/add"], lambda address, _: observed.append(address)
    ):
        torch.relu(torch.ones(2, 2)) + torch.ones(2, 2)
        logits = functional.logits(torch.rand(1, 3, 10, 10))
        torch.relu(logits) + logits
    assert observed == ["/relu", "layer1.1/add"]


def test_what_is_computed_with_the_logits_is_not_taken_for_the_network(functional: Model) -> None:
    observed: list[str] = []
    second = "/relu#2"  # the network calls it once at its top
    with observing(functional.network, [second], lambda address, _: observed.append(address)):
        functional.logits(torch.rand(1, 3, 10, 10)).relu()
    assert not observed


def test_hooks_go_after_an_exception_too(functional: Model) -> None:
    with pytest.raises(RuntimeError, match="on purpose"), observing(functional.network, ["/relu"], _fail):
        functional.logits(torch.rand(1, 3, 10, 10))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in functional.network.modules())
    functional.logits(torch.rand(1, 3, 10, 10))


def _fail(address: str, output: Tensor) -> None:
    raise RuntimeError("on purpose")


def test_what_a_layer_is_given_is_followed(functional: Model) -> None:
    given = {layer.address: layer.given for layer in functional.layers}
    assert given["/relu"] == "conv1"
    assert given["layer1.0/relu"] == "layer1.0.conv1"
    assert given["layer1.0/add"] == "layer1.0.conv2"
    assert given["layer1.0/relu#2"] == "layer1.0/add"


@pytest.mark.parametrize(
    ("name", "feature_map"),
    [
        ("resnet18", "layer4.1.relu#2"),
        ("googlenet", "inception5b/cat"),
        ("squeezenet1_0", "classifier.2"),
        ("mobilenet_v3_small", "features.12.2"),
        ("efficientnet_b0", "features.8.2"),
        ("convnext_tiny", "features.7.2/add"),
        ("densenet121", "/relu"),
        ("shufflenet_v2_x0_5", "conv5.2"),
    ],
)
def test_the_maps_that_feed_the_classifier_are_found_by_following_the_computation(
    name: str, feature_map: str
) -> None:
    options = {"init_weights": False} if name == "googlenet" else {}
    layers = trace_layers(
        torchvision.models.get_model(name, weights=None, **options).eval(), (3, 96, 96), name
    )
    assert layers.feature_map == feature_map
    assert layers.find(feature_map).spatial


def test_the_functional_network_is_pooled_after_its_last_relu(functional: Model) -> None:
    assert functional.layers.feature_map == "layer1.1/relu#2"


def test_what_every_path_goes_through_is_told_from_branches(functional: Model) -> None:
    through = [layer.address for layer in functional.layers if layer.leaf and layer.on_every_path]
    blocks = ("layer1.0/add", "layer1.0/relu#2", "layer1.1/add", "layer1.1/relu#2")
    assert through == ["conv1", "/relu", *blocks, "/avg_pool2d", "linear"]
