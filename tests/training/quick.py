"""Trainings of seconds, and the images that they are given."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from probe.training.config import TrainingConfig
from probe.training.request import TrainingRequest
from probe.training.train import run_training

QUICK = TrainingConfig(epochs=3, batch_size=128, augment=("crop", "flip"), lr=0.05)


def train(out: Path, config: TrainingConfig = QUICK, arch: str = "lenet5", data: str = "digits", **more):
    return run_training(TrainingRequest(arch, data, out, config), device="cpu", quiet=True, **more)


def untimed_epochs(out: Path) -> list[dict]:
    """The epochs of a history without their durations."""
    epochs = json.loads((out / "history.json").read_text())["epochs"]
    return [
        {name: epoch[name] for name in epoch if name not in ("seconds", "images_per_second")}
        for epoch in epochs
    ]


def folder(path: Path, counts: dict[str, int], size: int = 32) -> str:
    """A folder of noise images, each class around a colour of its own."""
    rng = np.random.default_rng(0)
    for number, (name, count) in enumerate(counts.items()):
        (path / name).mkdir(parents=True)
        for index in range(count):
            pixels = rng.integers(0, 120, (size, size, 3))
            pixels[..., number % 3] += 120
            Image.fromarray(pixels.astype(np.uint8)).save(path / name / f"{index}.png")
    return f"folder:{path}"
