"""Training on a stand-in for a CUDA device: no tensor on the wrong device, and no step that waits for the device."""

from pathlib import Path

import pytest
import torch
from torch import nn

from probe.data.images import Images
from probe.model.cards import read_card
from probe.precision import choose_precision
from probe.training import device_idle
from probe.training.config import TrainingConfig
from probe.training.datasets import Datasets, DeviceDataset, Normalisation
from probe.training.history import read_history
from probe.training.request import TrainingRequest
from probe.training.train import run_training
from probe.training.trainer import Trainer
from probe.training.transfer.config import TransferConfig, TransferRequest
from probe.training.transfer.run import run_transfer
from tests import standin
from tests.standin import stand_in

QUICK = TrainingConfig(epochs=2, batch_size=128, augment=("crop", "jitter", "cutout"), precision="float32")


class FakeRecorder:
    """The profiler cannot record a stand-in."""

    def intervals(self) -> list[tuple[float, float]]:
        return [(0, 1)]


@pytest.fixture(autouse=True)
def no_profiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_idle, "Recorder", FakeRecorder)


def train(out: Path, device: str, config: TrainingConfig = QUICK) -> list[tuple[float, float]]:
    run_training(TrainingRequest("lenet5", "digits", out, config), device=device, quiet=True)
    return [(epoch.loss, epoch.test_loss) for epoch in read_history(out).epochs]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"optimiser": "adam", "validation": 0.2, "early_stopping": 1},
        {"adversarial": "pgd", "attack_steps": 2, "epochs": 1},
        {"precision": "bf16", "epochs": 1},
    ],
    ids=["sgd", "adam", "adversarial", "bf16"],
)
def test_the_losses_are_those_of_the_cpu(tmp_path: Path, more: dict) -> None:
    config = QUICK.model_copy(update=more)
    expected = train(tmp_path / "here", "cpu", config)
    with stand_in():
        assert train(tmp_path / "there", "cuda", config) == [
            pytest.approx(pair, rel=1e-3) for pair in expected
        ]


def test_interrupted_and_resumed_it_has_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Trainer.epoch

    def stopping(self: Trainer):
        if self.epochs:
            raise KeyboardInterrupt
        return real(self)

    with stand_in():
        train(tmp_path / "whole", "cuda")
        with monkeypatch.context() as patch:
            patch.setattr(Trainer, "epoch", stopping)
            with pytest.raises(KeyboardInterrupt):
                train(tmp_path / "parts", "cuda")
        train(tmp_path / "parts", "cuda")
    whole, parts = ((tmp_path / name / "weights.safetensors").read_bytes() for name in ("whole", "parts"))
    assert whole == parts


def test_a_transfer_with_all_strategies_has_the_results_of_the_cpu(tmp_path: Path) -> None:
    config = TransferConfig(n=30, epochs=1)

    def results(name: str, device: str) -> dict[str, float]:
        request = TransferRequest("lenet5-digits", "digits", tmp_path / name, config)
        run_transfer(request, device=device, quiet=True)
        return read_card(tmp_path / name).results["strategies"]

    expected = results("here", "cpu")
    with stand_in():
        there = results("there", "cuda")
    assert len(expected) == 4
    assert there == pytest.approx(expected, abs=2 / 450), "of 450 test images"


@pytest.mark.parametrize(
    ("more", "max_resident_bytes"),
    [
        ({"augment": ("crop", "flip")}, 2**20),
        ({"augment": ("flip", "jitter", "cutout"), "optimiser": "adam"}, 2**20),
        ({"adversarial": "pgd", "attack_steps": 2}, 2**20),
        ({"augment": ("crop", "flip"), "precision": "bf16"}, 0),
        ({}, 0),
    ],
)
def test_no_step_of_an_epoch_waits_for_the_device(more: dict, max_resident_bytes: int) -> None:
    """Twice the steps have no more waits: losses are checked now and then, batches are copied without waiting."""
    config = TrainingConfig(epochs=3, batch_size=10, **more)

    def waits(count: int) -> list[str]:
        rng = torch.Generator().manual_seed(0)
        raw = torch.randint(0, 256, (count, 3, 16, 16), dtype=torch.uint8, generator=rng)
        network = nn.Sequential(nn.Conv2d(3, 4, 5, 2), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 10))
        images = Images.from_tensor(raw, torch.arange(count) % 10, classes=tuple("abcdefghij"))
        with stand_in() as device:
            datasets = Datasets(
                DeviceDataset(images, device, max_resident_bytes=max_resident_bytes),
                DeviceDataset(images.select(torch.arange(20)), device),
            )
            normalisation = Normalisation((0.5,) * 3, (0.25,) * 3)
            precision = choose_precision(config.precision, device)
            trainer = Trainer(network, datasets, config, normalisation, precision=precision)
            standin.SYNCHRONISATIONS.clear()
            trainer.epoch()
        return list(standin.SYNCHRONISATIONS)

    assert waits(150) == waits(300)
