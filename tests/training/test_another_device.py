"""A training on a stand-in for a CUDA device: nothing in the wrong place, and no step that waits for the device."""

from pathlib import Path

import pytest
import torch
from torch import nn

from probe.data.images import Images
from probe.training import device_idle as idling
from probe.training.config import TrainingConfig
from probe.training.datasets import DeviceDataset
from probe.training.history import read_history
from probe.training.precision import choose_precision
from probe.training.train import run_training
from probe.training.trainer import Sets, Trainer
from probe.training.transfer.run import run_transfer
from probe.training.transfer.strategies import Transfer
from tests import standin
from tests.standin import stand_in

QUICK = TrainingConfig(epochs=2, batch=128, augment=("crop", "jitter", "cutout"), precision="float32")


class Silent:
    """No profiler listens to a stand-in."""

    def spans(self) -> list[tuple[float, float]]:
        return [(0, 1)]


@pytest.fixture(autouse=True)
def no_profiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idling, "Recorder", Silent)


def train(out: Path, device: str, recipe: TrainingConfig = QUICK) -> list[tuple[float, float]]:
    run_training("lenet5", "digits", out, recipe, device=device, quiet=True)
    return [(epoch.loss, epoch.test_loss) for epoch in read_history(out).epochs]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"optimiser": "adam", "validation": 0.2, "early_stopping": 1},
        {"adversarial": "pgd", "steps": 2, "epochs": 1},
        {"precision": "bf16", "epochs": 1},
    ],
    ids=["sgd", "adam", "adversarial", "bf16"],
)
def test_the_losses_are_those_of_the_cpu(tmp_path: Path, more: dict) -> None:
    recipe = QUICK.model_copy(update=more)
    expected = train(tmp_path / "here", "cpu", recipe)
    with stand_in():
        assert train(tmp_path / "there", "cuda", recipe) == [
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
    one, other = ((tmp_path / name / "weights.safetensors").read_bytes() for name in ("whole", "parts"))
    assert one == other


def test_transfer_in_all_its_ways(tmp_path: Path) -> None:
    with stand_in():
        options = Transfer(images=30, epochs=1)
        run_transfer("lenet5-digits", "digits", tmp_path / "t", options, device="cuda", quiet=True)
    assert (tmp_path / "t" / "card.toml").exists()


@pytest.mark.parametrize(
    ("more", "resident"),
    [
        ({"augment": ("crop", "flip")}, 2**20),
        ({"augment": ("flip", "jitter", "cutout"), "optimiser": "adam"}, 2**20),
        ({"adversarial": "pgd", "steps": 2}, 2**20),
        ({"augment": ("crop", "flip"), "precision": "bf16"}, 0),
        ({}, 0),
    ],
)
def test_no_step_of_an_epoch_waits_for_the_device(more: dict, resident: int) -> None:
    """Twice the steps have no more waits: the losses are looked at now and then, batches and draws are only sent."""
    recipe = TrainingConfig(epochs=3, batch=10, **more)

    def waits(count: int) -> list[str]:
        rng = torch.Generator().manual_seed(0)
        raw = torch.randint(0, 256, (count, 3, 16, 16), dtype=torch.uint8, generator=rng)
        network = nn.Sequential(nn.Conv2d(3, 4, 5, 2), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 10))
        images = Images.from_tensor(raw, torch.arange(count) % 10, classes=tuple("abcdefghij"))
        with stand_in() as there:
            sets = Sets(
                DeviceDataset(images, there, resident=resident),
                DeviceDataset(images.select(torch.arange(20)), there),
            )
            means = {"mean": (0.5,) * 3, "std": (0.25,) * 3}
            trainer = Trainer(
                network, sets, recipe, **means, precision=choose_precision(recipe.precision, there)
            )
            standin.WAITS.clear()
            trainer.epoch()
        return list(standin.WAITS)

    assert waits(150) == waits(300)
