"""The folder of a trained model: its weights are measured as stored, and the card is written last."""

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import probe
from probe.atomic_files import write_whole
from probe.exhibits.exhibits import Exhibit
from probe.model.cards import Card, Input, Weights, write_card
from probe.model.checkpoints import load_state, read_state, write_state
from probe.model.model import Model
from probe.statistics import wilson_interval
from probe.training.adversarial import measure_robustness, overfitting_warning
from probe.training.config import TrainingConfig
from probe.training.exhibits import confusion_counts, confusion_matrix, learning_curves
from probe.training.history import History, downsample, write_history
from probe.training.published import published_result
from probe.training.request import TrainingRequest
from probe.training.splits import Splits, image_notes
from probe.training.trainer import Trainer

_TRAIN_IMAGES = 10_000  # training images on which the final training accuracy is measured
_ROBUST_IMAGES = 1_000  # test images on which the robust accuracy is measured


def make_card(request: TrainingRequest, splits: Splits, trainer: Trainer, seconds: float) -> Card:
    """The card of a training, except for what is measured on its result."""
    config = trainer.config
    note = trainer.processes.batch_norm_note(trainer.network, trainer.device)
    return Card(
        name=request.out.resolve().name,
        architecture=request.card_architecture,
        options=config.architecture_options(),
        classes=splits.classes,
        input=Input(
            shape=splits.shape,
            mean=trainer.normalisation.mean,
            std=trainer.normalisation.std,
            preprocess=splits.preprocess,
        ),
        training={
            "command": request.command,
            "data": splits.train.name,
            "data_sha256": splits.train.digest,
            "images": len(splits.train),
            "notes": [*image_notes(splits.train, splits.test), *([note] if note else [])],
            "config": {
                **config.model_dump(
                    mode="json",
                    exclude={
                        "options",
                        "preprocess",
                        "size",
                        "save_epochs",
                        "fp16",
                        "seed",
                        *config.unused,
                    },
                ),
                "lr": trainer.peak_lr,
                "precision": trainer.precision,
            },
            "epochs": len(trainer.epochs),
            "steps": len(trainer.losses),
            "seed": config.seed,
            "seconds": round(seconds, 1),
            "machine": describe_machine(trainer.device, trainer.processes.world_size),
            "versions": package_versions(),
        },
    )


def describe_machine(device: torch.device, processes: int = 1) -> str:
    """The hardware, without a name that identifies the machine."""
    hardware = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"{os.cpu_count()}-core CPU, threads: {torch.get_num_threads()}"
    )
    return hardware if processes == 1 else f"{processes} processes, each: {hardware}"


def package_versions() -> dict[str, str]:
    """The versions on which the bytes of a training depend."""
    return {
        "probe": probe.__version__,
        "python": platform.python_version(),
        "torch": metadata.version("torch"),
    }


def history_of(trainer: Trainer) -> History:
    """The history of all epochs so far."""
    return History(epochs=trainer.epochs, steps=downsample(trainer.losses))


def write_model(card: Card, trainer: Trainer, splits: Splits, out: Path) -> Card:
    """Write the finished network, measure it as stored, and write its folder; returns the completed card."""
    network, path = trainer.finished(), out / card.weights.file
    digest = write_state(network, path, half=trainer.config.fp16)
    load_state(network, read_state(path), what=str(path))
    model = Model(network, card, trainer.device)
    counts = confusion_counts(model, splits.test)
    card = card.model_copy(
        update={
            "weights": Weights(sha256=digest),
            "results": {
                **accuracy_results(int(counts.trace()), int(counts.sum()), splits.test_split),
                **_train_results(model, splits),
                **_robust_results(model, splits, trainer.config),
                "measured_by": "probe train, in float32 on the weights as stored",
                **published_result(card.architecture.removeprefix("zoo:"), splits.train.name),
            },
            "limits": {"notes": _limits(card, splits, trainer)},
        }
    )
    history = history_of(trainer)
    write_history(history, out)
    write_png(out / "learning-curves.png", learning_curves(history, card.name))
    write_png(out / "confusion.png", confusion_matrix(counts, card.classes, splits.test_split))
    write_card(card, out)
    return card


def accuracy_results(correct: float, n: int, split: str) -> dict[str, Any]:
    """The entries of a card for the accuracy on `n` test images, with its 95% interval."""
    low, high = wilson_interval(correct, n)
    return {
        "test_split": split,
        "test_images": n,
        "test_accuracy": round(correct / n, 6),
        "test_accuracy_interval": [round(low, 5), round(high, 5)],
    }


def _train_results(model: Model, splits: Splits) -> dict[str, Any]:
    images = splits.train.preprocessed(splits.shape, splits.preprocess).take(_TRAIN_IMAGES)
    counts = confusion_counts(model, images)
    return {"train_images": len(images), "train_accuracy": round(float(counts.trace() / counts.sum()), 6)}


def _robust_results(model: Model, splits: Splits, config: TrainingConfig) -> dict[str, Any]:
    if config.adversarial == "none":
        return {}
    images = splits.test.take(_ROBUST_IMAGES)
    assert images.labels is not None
    pixels = images.pixels(model.device)
    return measure_robustness(model, pixels, images.labels.to(model.device), config.eps)


def _limits(card: Card, splits: Splits, trainer: Trainer) -> list[str]:
    config, last = trainer.config, trainer.epochs[-1]
    notes = [
        f"It predicts one of its {len(card.classes)} classes for any image, whatever the image shows; it was tested on "
        f"{splits.test_split} only.",
        f"It was built with {', '.join(config.options)}, unlike the published network."
        if config.options
        else "",
        "It was not trained to be robust: small adversarial perturbations change its predictions."
        if config.adversarial == "none"
        else f"It was trained to be robust to perturbations of at most {config.eps:.4g} per pixel, not to others: small "
        "perturbations in other norms, shifts and rotations were not part of the training.",
        overfitting_warning(last.epoch, last.fgsm_accuracy, last.pgd_accuracy),
    ]
    return [note for note in notes if note]


def write_png(path: Path, exhibit: Exhibit) -> None:
    """Write an exhibit as PNG."""
    from probe.exhibits.static import png

    write_whole(path, png(exhibit))
