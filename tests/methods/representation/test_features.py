"""Default layers, and features against a plain forward pass."""

import pytest
import torch
import torchvision
from torch import nn

from probe.data.images import Images
from probe.errors import UserError
from probe.methods.representation.features import features, penultimate_layer, stages
from probe.model.cards import Card, Input
from probe.model.model import Model
from probe.model.tracing import trace_layers


def _model(network: nn.Module, shape: tuple[int, int, int] = (3, 16, 16), classes: int = 5) -> Model:
    c = shape[0]
    card = Card(
        name="net",
        architecture="none",
        classes=tuple(map(str, range(classes))),
        input=Input(shape=shape, mean=(0.4,) * c, std=(0.3,) * c, preprocess=""),
    )
    return Model(network, card)


def _small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(150, 5),
    )


@pytest.mark.parametrize(
    ("name", "penultimate", "maps"),
    [
        ("squeezenet1_0", "features.12", "features.12"),
        ("resnet18", "avgpool", "layer4.1"),
        ("mobilenet_v2", "/adaptive_avg_pool2d", "features.18"),
    ],
)
def test_the_default_layers_of_known_networks_are_those_of_the_literature(name, penultimate, maps):
    side = 227 if name == "squeezenet1_0" else 64
    layers = trace_layers(torchvision.models.get_model(name).eval(), (3, side, side), name)
    assert penultimate_layer(layers).address == penultimate
    assert stages(layers, 1)[0].address == maps
    assert len({layer.shape[1] for layer in stages(layers)}) == len(stages(layers))


def test_a_network_without_layers_before_its_classifier_is_refused_in_one_line():
    layers = trace_layers(nn.Sequential(nn.Flatten(), nn.Linear(12, 5)), (3, 2, 2), "flat")
    with pytest.raises(UserError, match="flat has no layer before its classifier"):
        penultimate_layer(layers)
    dense = trace_layers(
        nn.Sequential(nn.Flatten(), nn.Linear(12, 7), nn.ReLU(), nn.Linear(7, 5)), (3, 2, 2), "d"
    )
    assert penultimate_layer(dense).address == "2"
    with pytest.raises(UserError, match="no feature maps"):
        stages(dense)


@pytest.mark.parametrize("pool", ["mean", "max", "none"])
def test_features_are_what_a_plain_forward_pass_gives_at_that_layer(pool):
    network = _small()
    model = _model(network)
    pixels = torch.rand(7, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    values = features(model, Images.from_tensor(pixels).batches(3), ["0", "4", "7"], n=7, pool=pool)
    # out of place, so that nothing overwrites the first convolution's output
    x = (pixels - 0.4) / 0.3
    expected = {}
    for i, module in enumerate(network):
        x = torch.relu(x) if isinstance(module, nn.ReLU) else module(x)
        expected[str(i)] = x
    reduce = {
        "mean": lambda m: m.mean((2, 3)),
        "max": lambda m: m.amax((2, 3)),
        "none": lambda m: m.flatten(1),
    }
    for address in ("0", "4"):
        torch.testing.assert_close(values[address], reduce[pool](expected[address]), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(values["7"], expected["7"], rtol=1e-5, atol=1e-5)


def test_features_leave_no_hook_behind_even_when_a_batch_fails():
    model = _model(_small())
    with pytest.raises(ValueError, match="takes pixels"):
        features(model, Images.from_tensor(torch.rand(2, 3, 8, 8)).batches(2), ["4"], n=2)
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.network.modules())


def test_features_that_are_not_finite_or_too_many_are_refused():
    network = _small()
    model = _model(network)
    with torch.no_grad():
        network.get_parameter("3.bias")[2] = float("nan")
    images = Images.from_tensor(torch.rand(2, 3, 16, 16))
    with pytest.raises(UserError, match="NaN"):
        features(model, images.batches(2), ["4"], n=2)
    with pytest.raises(UserError, match="GiB of features"):
        features(model, images.batches(2), ["0"], n=10**8, pool="none")
