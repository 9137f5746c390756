"""`probe adopt` without a size: it is found where one fits, asked for where several do, and taken from torchvision."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torchvision
from torch import nn

from probe.errors import UserError
from probe.model.cards import read_card
from probe.model.importing import AdoptOptions, adopt
from probe.model.input_size import find_size, published_preprocess, size_after, timm_size

SOURCE = """
from torch import nn

def layers(channels, pool, inputs):
    return nn.Sequential(nn.Conv2d(channels, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(), *pool, nn.Flatten(), nn.Linear(inputs, 5))

def of_96():
    return layers(3, [], 4 * 47 * 47)

def grey_of_28():
    return layers(1, [], 4 * 13 * 13)

def of_72():
    return layers(3, [], 4 * 35 * 35)

def of_any():
    return layers(3, [nn.AdaptiveAvgPool2d(1)], 4)

def of_13():
    return layers(3, [], 4 * 6 * 6)

def of_two_channels():
    return layers(2, [nn.AdaptiveAvgPool2d(1)], 4)
"""


@pytest.fixture(autouse=True)
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    path = tmp_path / "net.py"
    path.write_text(SOURCE)
    return path


def adopted(source: Path, function: str, **options: object) -> tuple[tuple[int, ...], str, str]:
    """Shape, preprocessing and origin on the card of a network with random weights."""
    scope: dict[str, object] = {}
    exec(SOURCE, scope)
    torch.save(scope[function]().state_dict(), source.parent / "net.pth")  # pyrefly: ignore
    out = source.parent / "out"
    adopt(source.parent / "net.pth", AdoptOptions(arch=f"{source}:{function}", **options), out)  # pyrefly: ignore
    card = read_card(out)
    return card.input.shape, card.input.preprocess, card.training["origin"]


@pytest.mark.parametrize(
    ("function", "shape"), [("of_96", (3, 96, 96)), ("grey_of_28", (1, 28, 28)), ("of_72", (3, 72, 72))]
)
def test_the_one_size_that_fits_is_taken_and_noted(
    function: str, shape: tuple[int, ...], source: Path
) -> None:
    found, preprocess, origin = adopted(source, function)
    side = shape[1]
    assert (found, preprocess) == (shape, f"resize {side}, centre crop {side}")
    assert f"{side} x {side} pixels, the only size tried that fits" in origin


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        ("of_any", {}, "works for images of 28, 32, 64, 96, 128, 224 and 299 pixels: specify the size"),
        ("of_13", {}, "works for none of the image sizes from 8 to 512 pixels that were tried"),
        ("of_two_channels", {}, "the first convolution of .* takes 2 channels"),
        ("of_two_channels", {"size": 32}, "the first convolution of .* takes 2 channels"),
        ("of_any", {"channels": 2}, r"channels must be 1 \(grey\) or 3 \(colour\), got 2"),
        ("of_any", {"preprocess": "resize 32"}, "does not produce square images: end it with 'centre crop"),
    ],
)
def test_what_cannot_be_found_is_asked_for_in_one_line(
    function: str, options: dict[str, object], message: str, source: Path
) -> None:
    with pytest.raises(UserError, match=message) as error:
        adopted(source, function, **options)
    assert "\n" not in str(error.value)
    assert not (source.parent / "out").exists()


def test_a_preprocessing_that_is_stated_states_the_size(source: Path) -> None:
    assert adopted(source, "of_any", preprocess="resize 72, centre crop 64")[0] == (3, 64, 64)
    assert size_after("resize 256, centre crop 227") == 227
    assert size_after("") is size_after("resize 256") is None


def test_finding_the_size_leaves_the_network_as_it_was() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3 * 32 * 32, 4)).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert find_size(network, 3, 4, "net") == 32
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("file", "options", "preprocess"),
    [
        ("mine.pth", {}, "resize 256, centre crop 224"),
        ("shufflenetv2_x0.5-f707e7126e.pth", {}, "resize 256, centre crop 224"),
        ("mine.pth", {"size": 64}, "resize 64, centre crop 64"),
        ("mine.pth", {"preprocess": "resize 96, centre crop 64"}, "resize 96, centre crop 64"),
    ],
)
def test_networks_of_torchvision_have_its_preprocessing(
    file: str, options: dict[str, object], preprocess: str, tmp_path: Path
) -> None:
    network = torchvision.models.shufflenet_v2_x0_5(weights=None, num_classes=3)
    torch.save(network.state_dict(), tmp_path / file)
    out = tmp_path / "out"
    adopt(tmp_path / file, AdoptOptions(arch="torchvision:shufflenet_v2_x0_5", **options), out)  # pyrefly: ignore
    card = read_card(out)
    assert card.input.preprocess == preprocess
    assert ("preprocessing of torchvision's ShuffleNet" in card.training["origin"]) == (not options)


@pytest.mark.parametrize("norm", ["weight_norm", "spectral_norm"])
def test_the_channels_are_those_of_a_convolution_that_computes_its_weights(norm: str, source: Path) -> None:
    source.write_text(
        "from torch import nn\nfrom torch.nn.utils import parametrizations\n"
        f"def make():\n    return nn.Sequential(parametrizations.{norm}(nn.Conv2d(3, 4, 3)), nn.Flatten(), nn.Linear(4 * 30 * 30, 5))\n"
    )
    scope: dict[str, object] = {}
    exec(source.read_text(), scope)
    torch.save(scope["make"]().state_dict(), source.parent / "net.pth")  # pyrefly: ignore
    model = adopt(source.parent / "net.pth", AdoptOptions(arch=f"{source}:make"), source.parent / "out")
    assert model.shape == (3, 32, 32)


def test_the_interpolation_is_that_of_torchvisions_weights(tmp_path: Path) -> None:
    rule, weights = published_preprocess("efficientnet_b0", tmp_path / "mine.pth")
    assert rule == "resize 256 bicubic, centre crop 224"
    assert weights.endswith("IMAGENET1K_V1")
    assert published_preprocess("resnet18", tmp_path / "mine.pth")[0] == "resize 256, centre crop 224"


def test_the_size_of_a_network_of_timm_is_that_of_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"small": (3, 288, 288), "wide": (3, 224, 320)}
    timm = SimpleNamespace(
        is_model=sizes.__contains__,
        get_pretrained_cfg=lambda name: SimpleNamespace(input_size=sizes[name]),
    )
    monkeypatch.setitem(sys.modules, "timm", timm)
    assert [timm_size(name) for name in ("small", "wide", "unknown")] == [288, None, None]
    monkeypatch.setitem(sys.modules, "timm", None)
    assert timm_size("small") is None, "it is not installed, which building the network says"
