"""What is left of a finished training: measured once more, and written as a folder that is a model."""

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import probe
from probe.exhibits.exhibits import Exhibit
from probe.model.cards import Card, Input, Weights, write_card
from probe.model.checkpoints import load_state, read_state, write_state
from probe.model.model import Model
from probe.statistics import wilson_interval
from probe.training.adversarial import measured, warning
from probe.training.config import TrainingConfig
from probe.training.exhibits import confusion, confusion_matrix, learning_curves
from probe.training.history import History, thinned, write_history
from probe.training.published import published
from probe.training.request import TrainingRequest
from probe.training.splits import Splits, notes
from probe.training.trainer import Trainer

_MEASURED = 10_000  # training images on which the final training accuracy is measured
_ATTACKED = 1_000  # test images on which an adversarial training is measured


def make_card(
    order: TrainingRequest,
    opened: Splits,
    trainer: Trainer,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    seconds: float,
    identity: dict[str, Any],
) -> Card:
    """The card of a training, all but what is measured on its result."""
    recipe = trainer.recipe
    caveat = trainer.team.caveat(trainer.network, trainer.device)
    return Card(
        name=order.out.resolve().name,
        architecture=order.named,
        options=recipe.arguments(),
        classes=opened.classes,
        input=Input(shape=opened.shape, mean=mean, std=std, preprocess=opened.preprocess),
        training={
            "command": order.command,
            "data": opened.train.name,
            "data_sha256": opened.train.digest,
            "images": len(opened.train),
            "notes": [*notes(opened.train, opened.test), *([caveat] if caveat else [])],
            "recipe": {
                **recipe.model_dump(
                    mode="json",
                    exclude={"options", "preprocess", "size", "keep_epochs", "half", "seed", *recipe.idle},
                ),
                "lr": trainer.peak,
                "precision": identity["precision"],
            },
            "epochs": len(trainer.epochs),
            "steps": len(trainer.losses),
            "seed": recipe.seed,
            "seconds": round(seconds, 1),
            "machine": machine(trainer.device, identity["processes"]),
            "versions": versions(),
        },
    )


def machine(device: torch.device, count: int = 1) -> str:
    """What computed, in words that name no one's machine."""
    what = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"{os.cpu_count()}-core CPU, threads: {torch.get_num_threads()}"
    )
    return what if count == 1 else f"{count} processes, each: {what}"


def versions() -> dict[str, str]:
    """Of what decides the bytes of a training."""
    return {
        "probe": probe.__version__,
        "python": platform.python_version(),
        "torch": metadata.version("torch"),
    }


def history_of(trainer: Trainer) -> History:
    """What happened so far."""
    return History(epochs=trainer.epochs, steps=thinned(trainer.losses))


def write_outcome(card: Card, trainer: Trainer, opened: Splits, out: Path) -> Card:
    """Measure the finished network as any user of it would, and write its folder; the card comes last."""
    network, path = trainer.finished(), out / card.weights.file
    digest = write_state(network, path, half=trainer.recipe.half)
    load_state(network, read_state(path), what=str(path))
    model = Model(network, card, trainer.device)
    matrix = confusion(model, opened.test)
    seen = opened.train.preprocessed(opened.shape, opened.preprocess).take(_MEASURED)
    learnt = confusion(model, seen)
    right, n = int(matrix.trace()), int(matrix.sum())
    low, high = wilson_interval(right, n)
    card = card.model_copy(
        update={
            "weights": Weights(sha256=digest),
            "results": {
                "split": opened.tested_on,
                "n": n,
                "accuracy": round(right / n, 6),
                "interval": [round(low, 5), round(high, 5)],
                "train_accuracy": round(float(learnt.trace() / learnt.sum()), 6),
                "train_n": len(seen),
                "by": "probe train, in float32 on the weights as stored",
                **published(card.architecture.removeprefix("zoo:"), opened.train.name),
                **_robustness(model, opened, trainer.recipe),
            },
            "limits": {"notes": _limits(card, opened, trainer)},
        }
    )
    history = history_of(trainer)
    write_history(history, out)
    draw(out / "learning-curves.png", learning_curves(history, card.name))
    draw(out / "confusion.png", confusion_matrix(matrix, card.classes, opened.tested_on))
    write_card(card, out)
    return card


def _robustness(model: Model, opened: Splits, recipe: TrainingConfig) -> dict[str, Any]:
    if recipe.adversarial == "none":
        return {}
    images = opened.test.take(_ATTACKED)
    assert images.labels is not None
    pixels = images.pixels(model.device)
    return measured(model, pixels, images.labels.to(model.device), recipe.eps)


def _limits(card: Card, opened: Splits, trainer: Trainer) -> list[str]:
    recipe = trainer.recipe
    last = trainer.epochs[-1]
    said = warning(last.epoch, last.one_step, last.many_steps)
    robust = (
        "Nothing was done to make it robust: small adversarial changes fool it."
        if recipe.adversarial == "none"
        else f"It was made robust against changes of at most {recipe.eps:.4g} a pixel, not against others: small "
        "changes in another norm, shifts and turns were not trained for."
    )
    return [
        f"It answers one of its {len(card.classes)} classes for any image whatever; it was measured on "
        f"{opened.tested_on} alone.",
        *(
            [f"It was built with {', '.join(recipe.options)}, not as it was published."]
            if recipe.options
            else []
        ),
        robust,
        *([said] if said else []),
    ]


def draw(path: Path, exhibit: Exhibit) -> None:
    """Write an exhibit as PNG."""
    from probe.exhibits.static import png

    path.write_bytes(png(exhibit))
