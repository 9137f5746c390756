"""Cards that do not describe their network, weights of another kind, damaged checkpoints, disks that fill: one line."""

import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import probe
from probe.errors import UserError
from probe.model.cards import FILE, read_card
from probe.model.checkpoints import load_state, read_state
from probe.model.importing import AdoptOptions, adopt
from probe.model.loading import load
from probe.training.config import TrainingConfig
from probe.training.request import TrainingRequest
from probe.training.train import run_training
from probe.zoo import build
from tests.memory import peak_memory, restart_peak

HOME = Path(probe.__file__).parents[1]
ONE_LINE = r"^[^\n]{1,600}$"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a card and weights of LeNet-5."""
    folder = tmp_path_factory.mktemp("model")
    torch.save(build("lenet5").state_dict(), folder / "net.pth")
    adopt(folder / "net.pth", AdoptOptions(arch="zoo:lenet5"), folder / "model")
    return folder / "model"


def changed(model: Path, tmp_path: Path, change: Callable[[str], str]) -> Path:
    """A copy of `model` with another card."""
    folder = tmp_path / "changed"
    shutil.copytree(model, folder)
    (folder / FILE).write_text(change((model / FILE).read_text()))
    return folder


def replaced(old: str, new: str) -> Callable[[str], str]:
    def change(card: str) -> str:
        lines = [new if line.startswith(old) else line for line in replace_lists(card).splitlines()]
        assert new in lines
        return "\n".join(lines)

    return change


def replace_lists(card: str) -> str:
    """The card with each list in one line."""
    parts = card.split("[\n")
    return parts[0] + "".join(
        "[" + " ".join(part.partition("]")[0].split()) + "]" + part.partition("]")[2] for part in parts[1:]
    )


CARDS = {
    "mean of another length": replaced("mean =", "mean = [0.5, 0.5]"),
    "std of another length": replaced("std =", "std = []"),
    "std zero": replaced("std =", "std = [0.0]"),
    "std negative": replaced("std =", "std = [-1.0]"),
    "std nan": replaced("std =", "std = [nan]"),
    "std subnormal": replaced("std =", "std = [1e-300]"),
    "mean infinite": replaced("mean =", "mean = [inf]"),
    "mean huge": replaced("mean =", "mean = [1e300]"),
    "side too small": replaced("shape =", "shape = [1, 4, 4]"),
    "side zero": replaced("shape =", "shape = [1, 0, 32]"),
    "side negative": replaced("shape =", "shape = [1, -32, 32]"),
    "side huge": replaced("shape =", "shape = [1, 100000, 100000]"),
    "side beyond 2^63": replaced("shape =", f"shape = [1, {2**70}, 32]"),
    "other channels": replaced("shape =", "shape = [3, 32, 32]"),
    "preprocess": replaced("preprocess =", 'preprocess = "sharpen 3"'),
    "no classes": replaced("classes =", "classes = []"),
    "a class fewer": replaced("classes =", 'classes = ["a", "b"]'),
    "unknown option": lambda card: card + "\n[options]\ndepth = 3\n",
    "architecture": replaced("architecture =", 'architecture = "zoo:lenet6"'),
    "other architecture": replaced("architecture =", 'architecture = "zoo:resnet20"'),
    "depth": lambda card: (
        replaced("architecture =", 'architecture = "zoo:resnet20"')(card) + "\n[options]\ndepth = 60000002\n"
    ),
    "depth in words": lambda card: (
        replaced("architecture =", 'architecture = "zoo:resnet20"')(card) + '\n[options]\ndepth = "deep"\n'
    ),
    "width": lambda card: (
        replaced("architecture =", 'architecture = "zoo:mnist-convnet"')(card)
        + "\n[options]\nwidth = 100000\n"
    ),
    "width below zero": lambda card: (
        replaced("architecture =", 'architecture = "zoo:mnist-convnet"')(card) + "\n[options]\nwidth = -4\n"
    ),
    "widths": lambda card: (
        replaced("architecture =", 'architecture = "zoo:dense-baseline"')(card)
        + "\n[options]\nwidths = [100000, 100000]\n"
    ),
    "torchvision": lambda card: (
        replaced("architecture =", 'architecture = "torchvision:resnet18"')(card)
        + "\n[options]\nwidth_per_group = 100000\n"
    ),
    "torchvision option": lambda card: (
        replaced("architecture =", 'architecture = "torchvision:resnet18"')(card)
        + "\n[options]\nweights = 1\n"
    ),
    "weights elsewhere": lambda card: card.replace("weights.safetensors", "w" * 300),
    "weights null": lambda card: card.replace("weights.safetensors", "w\\u0000"),
    "weights gone": lambda card: card.replace("weights.safetensors", "../other"),
    "deep": lambda card: "a = " + "[" * 30_000 + "]" * 30_000 + "\n" + card,
    "deep tables": lambda card: card + "\n[training." + "a." * 20_000 + "b]\n",
    "digits": lambda card: card + "\n[results]\nn = " + "9" * 5_000,
    "unknown key": lambda card: "colour = 3\n" + card,
    "text": lambda card: "not a card",
    "empty": lambda card: "",
    "name": replaced("name =", "name = 3"),
}


@pytest.mark.parametrize("name", CARDS)
def test_a_card_that_does_not_describe_its_network_is_one_line_that_names_it(
    name: str, model: Path, tmp_path: Path
) -> None:
    folder = changed(model, tmp_path, CARDS[name])
    restart_peak()
    before = peak_memory()
    with pytest.raises(UserError, match=ONE_LINE) as error:
        load(folder, device="cpu")
    assert str(folder) in str(error.value)
    assert peak_memory() - before < 400e6


def test_an_unchanged_card_loads(model: Path, tmp_path: Path) -> None:
    assert load(changed(model, tmp_path, lambda card: card)).parameters == 61_706


@pytest.mark.parametrize("dtype", ["complex64", "bool", "int64", "uint8", "int8"])
def test_weights_of_another_kind_are_refused(dtype: str) -> None:
    network = build("lenet5")
    state = {name: value.to(getattr(torch, dtype)) for name, value in network.state_dict().items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # complex to real
        with pytest.raises(UserError, match=rf"^[^\n]*whose type differs[^\n]*{dtype}, not float32"):
            load_state(network, state, what="net")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "float8_e4m3fn"])
def test_weights_of_another_precision_are_loaded(dtype: str) -> None:
    network = build("lenet5")
    rng = torch.Generator().manual_seed(0)
    state = {
        name: torch.randn(value.shape, generator=rng).to(getattr(torch, dtype))
        for name, value in network.state_dict().items()
    }
    load_state(network, state, what="net")
    for name, value in network.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, state[name].float())


@pytest.mark.filterwarnings("ignore:torch.quantize")
def test_quantised_weights_are_refused(tmp_path: Path) -> None:
    quantised = torch.quantize_per_tensor(torch.zeros(3), 0.1, 0, torch.qint8)
    torch.save({"weight": quantised}, tmp_path / "net.pth")
    with pytest.raises(UserError, match=r"^[^\n]*quantised[^\n]*$"):
        read_state(tmp_path / "net.pth")


class _Huge:
    def __reduce__(self) -> tuple[type, tuple[int]]:
        return bytearray, (10**11,)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_bytearray_of_any_size_is_refused(legacy: bool, tmp_path: Path) -> None:
    torch.save(
        {"weight": torch.zeros(3), "x": _Huge()},
        tmp_path / "net.pth",
        pickle_module=_Pickles,
        _use_new_zipfile_serialization=not legacy,
    )
    with pytest.raises(UserError, match=r"^[^\n]*bytearray[^\n]*$"):
        read_state(tmp_path / "net.pth")


class _Pickles:
    """The pickle module for torch.save, whose protocol is 2."""

    Pickler = pickle.Pickler
    dump = staticmethod(pickle.dump)


@pytest.mark.parametrize("format", ["zip", "legacy", "safetensors"])
def test_a_damaged_checkpoint_is_one_line(format: str, tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    whole = io.BytesIO()
    if format == "safetensors":
        from safetensors.torch import save

        whole.write(save(network.state_dict()))
    else:
        torch.save(network.state_dict(), whole, _use_new_zipfile_serialization=format == "zip")
    path = tmp_path / f"net.{'safetensors' if format == 'safetensors' else 'pt'}"
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(250):
        content = bytearray(whole.getvalue())
        if rng.random() < 0.3:
            del content[int(rng.integers(len(content))) :]
        else:
            for _ in range(int(rng.integers(1, 6))):
                content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(content)
        try:
            load_state(network, read_state(path), what="net")
        except UserError:
            refused += 1
    assert refused > 50


ADOPT = """
import resource, sys
from pathlib import Path
from probe.cli import main
import probe.model.importing
size = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
sys.exit(main(["adopt", sys.argv[2], "--arch", "zoo:lenet5", "--out", sys.argv[3]]))
"""


@pytest.mark.parametrize("size", [0, 100, 247_000])
def test_adopt_on_a_disk_that_fills_leaves_nothing_behind(size: int, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "parent" / "out"
    environment = os.environ | {"PYTHONPATH": str(HOME), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    done = subprocess.run(
        [sys.executable, "-c", ADOPT, str(size), str(model.parent / "net.pth"), str(out)],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "parent").exists()


def test_adopt_removes_its_weights_when_the_card_does_not_fit(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("probe.model.importing.write_card", full)
    with pytest.raises(UserError, match="No space left"):
        adopt(model.parent / "net.pth", AdoptOptions(arch="zoo:lenet5"), tmp_path / "parent" / "out")
    assert not (tmp_path / "parent").exists()


def test_a_folder_that_is_removed_during_a_training_is_an_error_of_one_line_at_most(tmp_path: Path) -> None:
    out, ended = tmp_path / "out", threading.Event()

    def remove() -> None:
        while not ended.wait(0.003):
            shutil.rmtree(out, ignore_errors=True)

    thread = threading.Thread(target=remove)
    thread.start()
    config = TrainingConfig(epochs=3, save_epochs=True)
    try:
        for _ in range(4):  # each ends, or with an error that the command line prints in one line
            with suppress(UserError, FileNotFoundError):
                run_training(TrainingRequest("dense-baseline", "digits", out, config), quiet=True)
    finally:
        ended.set()
        thread.join()


def test_what_tests_write_on_cards_is_what_they_read(model: Path) -> None:
    assert read_card(model).classes[0] == "class 0"
    json.dumps(read_card(model).model_dump(mode="json"))
