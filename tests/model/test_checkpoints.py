"""Importing checkpoints of other code, and refusing files that are not checkpoints."""

import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from probe.errors import UserError
from probe.model.cards import read_card
from probe.model.checkpoints import load_state, read_state
from probe.model.importing import AdoptOptions, adopt
from probe.model.loading import build, load

SOURCE = """
import torch
from torch import nn

def make_net(classes):
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(4, classes))

def make_text():
    return "a text"

def make_error():
    raise RuntimeError("there is\\nno network here")

def make_deep(depth):
    return nn.Sequential()

def make_pairs(classes):
    class Pairs(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = make_net(classes)
        def forward(self, x):
            return self.net(x), -self.net(x)
    return Pairs()
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "net.py"
    path.write_text(SOURCE)
    return path


@pytest.fixture
def network(source: Path) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return build(f"{source}:make_net", classes=5, shape=(3, 16, 16)).eval()


def options(source: Path, **more: object) -> AdoptOptions:
    return AdoptOptions(arch=f"{source}:make_net", size=16, **more)  # pyrefly: ignore[bad-argument-type]


@pytest.mark.parametrize("form", ["bare", "state_dict", "model", "net", "module", "compiled", "safetensors"])
def test_checkpoints_are_read_in_every_common_layout(
    form: str, source: Path, network: nn.Module, tmp_path: Path
) -> None:
    state = network.state_dict()
    path = tmp_path / "net.pth"
    if form == "safetensors":
        path = tmp_path / "net.safetensors"
        save_file(state, path)
    elif form == "module":
        torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}, "best_prec1": 0.9}, path)
    elif form == "compiled":
        torch.save({f"_orig_mod.module.{k}": v for k, v in state.items()}, path)
    else:
        torch.save(state if form == "bare" else {form: state, "epoch": 3}, path)
    model = adopt(path, options(source), tmp_path / "adopted")
    again = load(tmp_path / "adopted", device="cpu")
    pixels = torch.rand(4, 3, 16, 16)
    expected = network((pixels - again._mean) / again._std)
    assert torch.allclose(again.logits(pixels), expected, atol=1e-6)
    assert again.digest == model.digest
    assert again.classes == tuple(f"class {index}" for index in range(5))
    assert read_card(tmp_path / "adopted").weights.sha256


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch /tmp/probe-was-here",)


def test_a_pickle_that_would_execute_code_is_refused_and_never_executed(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "bomb.pth"
    with path.open("wb") as file:
        pickle.dump({"state_dict": Bomb()}, file)
    torch.save({"weight": Bomb()}, tmp_path / "bomb.pt")
    for name in ("bomb.pth", "bomb.pt"):
        with pytest.raises(UserError, match="would execute code when loaded, so it was refused"):
            adopt(tmp_path / name, options(source), tmp_path / "adopted")
    assert not Path("/tmp/probe-was-here").exists()
    assert not (tmp_path / "adopted").exists()


def test_a_file_that_is_not_a_checkpoint_gets_one_line(
    source: Path, network: nn.Module, tmp_path: Path
) -> None:
    whole = tmp_path / "whole.pth"
    torch.save(network.state_dict(), whole)
    (tmp_path / "cut.pth").write_bytes(whole.read_bytes()[:-600])
    (tmp_path / "half.pth").write_bytes(whole.read_bytes()[:900])
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "text.pth").write_text("these are not weights")
    (tmp_path / "text.safetensors").write_text("these are not weights")
    torch.save([1, 2, 3], tmp_path / "list.pth")
    torch.save({"epoch": 3}, tmp_path / "none.pth")
    for name in (
        "cut.pth",
        "half.pth",
        "empty.pth",
        "text.pth",
        "text.safetensors",
        "list.pth",
        "none.pth",
        "gone.pth",
    ):
        with pytest.raises(UserError) as error:
            adopt(tmp_path / name, options(source), tmp_path / "adopted")
        assert "\n" not in str(error.value), name
        assert name in str(error.value)
    assert not (tmp_path / "adopted").exists()


def test_a_checkpoint_for_another_network_gets_a_readable_difference(network: nn.Module) -> None:
    state = dict(network.state_dict())
    state["extra.weight"] = state.pop("0.bias")
    state["5.weight"] = torch.zeros(7, 4)
    with pytest.raises(UserError) as error:
        load_state(network, state, what="net.pth")
    message = str(error.value)
    assert "1 missing (0.bias)" in message
    assert "1 unexpected (extra.weight)" in message
    assert "5.weight is 7x4, not 5x4" in message


def test_weights_that_are_not_finite_are_refused(network: nn.Module) -> None:
    state = {name: value.clone() for name, value in network.state_dict().items()}
    state["5.weight"][0, 0] = float("nan")
    with pytest.raises(UserError, match=r"NaN or infinite: 5\.weight"):
        load_state(network, state, what="net.pth")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arch": "zoo:resnet57"}, "Did you mean resnet"),
        ({"arch": "torchvision:resnet19"}, "no torchvision network 'resnet19'"),
        ({"arch": "resnet20"}, "not an architecture"),
        ({"arch": "nothing.py:make_net"}, "no file nothing.py"),
        ({"mean": "0.5"}, "mean must have 3 numbers"),
        ({"std": "0,1,1"}, "std must be above 0"),
        ({"mean": "124,116,104"}, "mean must lie in [0, 1], got 124"),
        ({"preprocess": "banana"}, "'banana' is not a preprocessing step"),
        ({"preprocess": "resize 20, centre crop 18"}, "does not produce 16 x 16 pixels"),
    ],
)
def test_wrong_options_of_adopt_get_one_line(
    change: dict[str, str], message: str, source: Path, network: nn.Module, tmp_path: Path
) -> None:
    torch.save(network.state_dict(), tmp_path / "net.pth")
    with pytest.raises(UserError) as error:
        adopt(
            tmp_path / "net.pth",
            AdoptOptions(**{"arch": f"{source}:make_net", "size": 16, **change}),
            tmp_path / "adopted",
        )  # pyrefly: ignore
    assert message in str(error.value)
    assert not (tmp_path / "adopted").exists()


def test_a_network_without_one_output_per_class_is_refused(
    source: Path, network: nn.Module, tmp_path: Path
) -> None:
    torch.save({f"net.{k}": v for k, v in network.state_dict().items()}, tmp_path / "pairs.pth")
    with pytest.raises(UserError, match="a tuple with 2 tensors of 5 numbers per image"):
        adopt(
            tmp_path / "pairs.pth", AdoptOptions(arch=f"{source}:make_pairs", size=16), tmp_path / "adopted"
        )
    with pytest.raises(UserError, match=r"must return a torch\.nn\.Module, got str"):
        adopt(tmp_path / "pairs.pth", AdoptOptions(arch=f"{source}:make_text", size=16), tmp_path / "adopted")


@pytest.mark.parametrize(
    ("function", "message"),
    [("make_error", "RuntimeError: there is"), ("make_deep", "TypeError: make_deep() missing 1 required")],
)
def test_a_function_that_fails_is_a_user_error(
    function: str, message: str, source: Path, network: nn.Module, tmp_path: Path
) -> None:
    torch.save(network.state_dict(), tmp_path / "net.pth")
    with pytest.raises(UserError) as error:
        adopt(tmp_path / "net.pth", AdoptOptions(arch=f"{source}:{function}", size=16), tmp_path / "adopted")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_an_adopted_folder_is_never_overwritten(source: Path, network: nn.Module, tmp_path: Path) -> None:
    torch.save(network.state_dict(), tmp_path / "net.pth")
    adopt(tmp_path / "net.pth", options(source), tmp_path / "adopted")
    with pytest.raises(UserError, match="already contains a model"):
        adopt(tmp_path / "net.pth", options(source), tmp_path / "adopted")


def test_class_names_are_one_per_line(source: Path, network: nn.Module, tmp_path: Path) -> None:
    torch.save(network.state_dict(), tmp_path / "net.pth")
    (tmp_path / "names.txt").write_text("ant\nbee\ncat\ndog\nelk\n")
    adopt(tmp_path / "net.pth", options(source, classes=tmp_path / "names.txt"), tmp_path / "adopted")
    assert load(tmp_path / "adopted").classes == ("ant", "bee", "cat", "dog", "elk")


def test_weights_that_are_not_those_of_the_card_are_refused(
    source: Path, network: nn.Module, tmp_path: Path
) -> None:
    torch.save(network.state_dict(), tmp_path / "net.pth")
    adopt(tmp_path / "net.pth", options(source), tmp_path / "adopted")
    weights = tmp_path / "adopted" / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(UserError, match="not the file that its card describes"):
        load(tmp_path / "adopted")


def test_an_invalid_card_is_refused_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "card.toml").write_text("name = ")
    with pytest.raises(UserError, match=r"card\.toml is not TOML"):
        load(tmp_path)
    (tmp_path / "card.toml").write_text('name = "x"\narchitecture = "zoo:lenet5"\nclasses = ["a"]\n')
    with pytest.raises(UserError, match="input is required"):
        load(tmp_path)
    with (tmp_path / "card.toml").open("a") as card:
        card.write('[input]\nshape = [1, 32, 32]\nmean = [0.0]\nstd = [1.0]\nfit = "pad 32"\n')
    with pytest.raises(UserError, match="fit is now called preprocess"):
        load(tmp_path)


def test_published_weights_that_cannot_be_downloaded_name_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"copy squeezenet1_0-.*\.pth to ") as error:
        load("torchvision:squeezenet1_0")
    assert str(tmp_path) in str(error.value)
    with pytest.raises(UserError, match="Did you mean squeezenet"):
        load("torchvision:squeezenet")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("lenet5-digit", "Did you mean"),
        ("/nowhere/at/all", "no such folder. A model is a folder with a card.toml"),
    ],
)
def test_an_unknown_model_gets_the_nearest_names(spec: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        load(spec)
    assert message in str(error.value)


def test_a_device_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UserError, match="device must be auto, cpu, cuda"):
        load("lenet5-digits", device="gpu")
    with pytest.raises(UserError, match="no device 'cuda:99'"):
        load("lenet5-digits", device="cuda:99")


def test_digest_of_a_safetensors_file_is_checked_before_it_is_read(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "a.safetensors")
    with pytest.raises(UserError, match="sha256"):
        read_state(tmp_path / "a.safetensors", sha256="0" * 64)


def test_assumed_normalisation_is_noted_on_the_card(source: Path, network: nn.Module, tmp_path: Path) -> None:
    torch.save(network.state_dict(), tmp_path / "net.pth")
    half = (0.5, 0.5, 0.5)
    for name, given, message in (
        ("neither", {}, "net.pth, mean and std assumed;"),
        ("one", {"mean": half}, "net.pth, std assumed;"),
        ("both", {"mean": half, "std": half}, "net.pth;"),
    ):
        adopt(tmp_path / "net.pth", options(source, **given), tmp_path / name)
        assert message in str(load(tmp_path / name).card.training)


def test_a_torchscript_file_is_refused_with_what_to_do(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "net.pt", "w") as archive:
        archive.writestr("net/data.pkl", b"")
        archive.writestr("net/code/__torch__.py", "class Net(Module): ...")
    with pytest.raises(UserError, match=r"TorchScript file.*state_dict"):
        read_state(tmp_path / "net.pt")
