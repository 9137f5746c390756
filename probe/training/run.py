"""Train a network from its name and the name of its data, and leave a folder that is a subject."""

import os
import platform
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import nn

import probe
from probe.errors import UserError
from probe.methods.intervals import wilson
from probe.subject.cards import FILE, Card, Input, Weights, read_card, write_card
from probe.subject.checkpoints import write_state
from probe.subject.loading import choose_device
from probe.subject.subject import Subject
from probe.training.feeding import RESIDENT, Feed, mean_and_std
from probe.training.hardened import measured, warning
from probe.training.history import History, thinned, write_history
from probe.training.loop import Sets, Trainer
from probe.training.opening import Opened, open_training
from probe.training.pages import confusion, confusion_matrix, learning_curves
from probe.training.precision import choose_precision
from probe.training.processes import Processes, own_device, processes
from probe.training.progress import Display, Silence, display
from probe.training.recipe import Recipe, flags
from probe.zoo import architecture, build

CHECKPOINT = "training.pt"
_ATTACKED = 1_000  # test images on which an adversarial training is measured
_MEASURED = 10_000  # training images on which the final training accuracy is measured


@dataclass(frozen=True)
class Order:
    """What is to be trained, on what, into which folder."""

    arch: str
    data: str
    out: Path
    recipe: Recipe

    @property
    def command(self) -> str:
        """As a user types it; the folder by its name alone."""
        return (
            f"probe train {self.arch} --data {self.data} --out {self.out.name} {flags(self.recipe)}".strip()
        )


def run_training(
    arch: str,
    data: str,
    out: Path,
    recipe: Recipe,
    *,
    device: str = "auto",
    root: Path | None = None,
    download: bool = False,
    resident: int = RESIDENT,
    quiet: bool = False,
) -> Card:
    """Train the zoo's `arch` on `data` (a source with a train split, or folder:PATH) into the folder `out`.

    `out` gets card.toml, weights.safetensors, history.json and .csv, learning-curves.png, confusion.png and,
    with `keep_epochs`, epochs/. An unfinished training found there goes on after its last whole epoch and
    ends with the same bytes; a finished one is left as it is. Under torchrun the processes share each batch.
    resident: bytes of training pixels to keep on the device. Returns the card.
    Raises UserError for all that the user can get wrong, and where the loss becomes NaN.
    """
    order = Order(arch.removeprefix("zoo:"), data, out, recipe)
    known = architecture(order.arch)
    where = own_device(choose_device(device))
    if (out / FILE).exists():
        return _finished(order, quiet)
    opened = open_training(
        data,
        known,
        fit=recipe.fit,
        crop="crop" in recipe.augment,
        validation=recipe.validation,
        seed=recipe.seed,
        root=root,
        download=download,
    )
    with processes(where) as team, torch.random.fork_rng([where] if where.type == "cuda" else []):
        if recipe.batch < 4 * team.count:
            raise UserError(
                f"batch must be at least {4 * team.count} for {team.count} processes, got {recipe.batch}"
            )
        return _train(order, opened, where, team, resident, quiet or not team.first)


def _train(
    order: Order, opened: Opened, device: torch.device, team: Processes, resident: int, quiet: bool
) -> Card:
    recipe, out = order.recipe, order.out
    identity = _identity(order, opened, device, team)
    checkpoint = _unfinished(out, identity)
    team.wait()
    sets = Sets(
        Feed(opened.train, device, resident=resident),
        Feed(opened.test, device, resident=resident),
        None if opened.validation is None else Feed(opened.validation, device, resident=resident),
    )
    mean, std = mean_and_std(sets.train)
    torch.manual_seed(recipe.seed)
    network = build(order.arch, classes=len(opened.classes), channels=opened.shape[0], **recipe.arguments())
    _runs(network, opened, order.arch)
    trainer = Trainer(network, sets, recipe, mean=mean, std=std, precision=identity["precision"], team=team)
    if checkpoint is not None:
        trainer.restore(checkpoint["trainer"])
    spent = checkpoint["seconds"] if checkpoint else 0.0
    with _shown(quiet, recipe.epochs, len(trainer.epochs)) as shown:
        trainer.glance = shown.glance
        if checkpoint is not None:
            shown.say(f"going on after epoch {len(trainer.epochs)} of the unfinished training in {out}")
        elif team.first:
            # Written before anything is computed: a folder that cannot be written is found out now.
            _save(out, {"identity": identity, "seconds": spent, "trainer": trainer.state()})
            if recipe.keep_epochs:
                _keep(out, network, 0)
        try:
            seconds = _epochs(trainer, out, identity, spent, shown, team)
        except KeyboardInterrupt:
            done = len(trainer.epochs)
            raise KeyboardInterrupt(
                f"stopped in epoch {done + 1} of {recipe.epochs}: the same command goes on after epoch {done}"
            ) from None
    card = _card(order, opened, trainer, mean, std, seconds, identity)
    return _write(card, trainer, opened, out) if team.first else card


def _epochs(
    trainer: Trainer, out: Path, identity: dict[str, Any], spent: float, shown: Display, team: Processes
) -> float:
    """Run what is left, with a checkpoint after every epoch; returns the seconds of all epochs."""
    start = time.monotonic()
    while not trainer.done:
        epoch = trainer.epoch()
        if team.first:
            seconds = spent + time.monotonic() - start
            _save(out, {"identity": identity, "seconds": seconds, "trainer": trainer.state()})
            write_history(_history(trainer), out)
            if trainer.recipe.keep_epochs:
                _keep(out, trainer.network, epoch.epoch)
        shown.epoch(epoch)
        if said := warning(epoch.epoch, epoch.one_step, epoch.many_steps):
            shown.say(said)
    return spent + time.monotonic() - start


def _identity(order: Order, opened: Opened, device: torch.device, team: Processes) -> dict[str, Any]:
    """All that the bytes of the result depend on, besides the machine and its versions."""
    return {
        "architecture": order.arch,
        "data": opened.train.digest,
        "test": opened.test.digest,
        "precision": choose_precision(order.recipe.precision, device),
        "processes": team.count,
        **order.recipe.model_dump(mode="json", exclude={"precision", "keep_epochs", *order.recipe.idle}),
    }


def _unfinished(out: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """The checkpoint in `out`, where there is one; a UserError where it is of another training."""
    path = out / CHECKPOINT
    if not path.exists():
        if out.is_dir() and any(out.iterdir()):
            raise UserError(f"{out} is not empty and holds no training: choose another --out")
        return None
    try:
        checkpoint = torch.load(path, weights_only=True)
    except Exception as error:
        raise UserError(
            f"{path} cannot be read ({type(error).__name__}): remove {out} or choose another"
        ) from None
    theirs = checkpoint["identity"]
    differs = [name for name in identity if theirs.get(name) != identity[name]]
    if differs:
        name = differs[0]
        values = (
            "other images"
            if name in ("data", "test")
            else f"{name} {theirs.get(name)!r}, not {identity[name]!r}"
        )
        raise UserError(
            f"{out} holds an unfinished training with {values}: go on with the same, or choose another --out"
        )
    return checkpoint


def _finished(order: Order, quiet: bool) -> Card:
    card = read_card(order.out)
    if card.training.get("command") != order.command:
        raise UserError(f"{order.out} already holds {card.name}: choose another --out or remove it")
    with _shown(quiet, order.recipe.epochs, order.recipe.epochs) as shown:
        shown.say(f"{order.out} already holds this training, finished: nothing was done")
    return card


def _runs(network: nn.Module, opened: Opened, arch: str) -> None:
    """Refuse in one line an input that the network cannot take."""
    was = network.training
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, *opened.shape))
    except RuntimeError as error:
        size = " x ".join(map(str, opened.shape))
        raise UserError(f"{arch} cannot take {size} images ({str(error).splitlines()[0]})") from None
    finally:
        network.train(was)


def _history(trainer: Trainer) -> History:
    return History(epochs=trainer.epochs, steps=thinned(trainer.losses))


def _save(out: Path, checkpoint: dict[str, Any]) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        temporary = out / (CHECKPOINT + ".part")
        torch.save(checkpoint, temporary)
        temporary.replace(out / CHECKPOINT)
    except (OSError, RuntimeError) as error:
        raise UserError(f"{out} cannot be written: {error}") from None


def _keep(out: Path, network: nn.Module, epoch: int) -> None:
    (out / "epochs").mkdir(parents=True, exist_ok=True)
    write_state(network, out / "epochs" / f"{epoch:03d}.safetensors")


def _shown(quiet: bool, epochs: int, done: int) -> AbstractContextManager[Display]:
    return nullcontext(Silence()) if quiet else display(epochs, done)


def _card(
    order: Order,
    opened: Opened,
    trainer: Trainer,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    seconds: float,
    identity: dict[str, Any],
) -> Card:
    recipe = order.recipe
    notes = list(dict.fromkeys((*opened.train.notes, *opened.test.notes)))
    return Card(
        name=order.out.resolve().name,
        architecture=f"zoo:{order.arch}",
        options=recipe.arguments(),
        classes=opened.classes,
        input=Input(shape=opened.shape, mean=mean, std=std, fit=opened.fit),
        training={
            "command": order.command,
            "data": opened.train.name,
            "data_sha256": opened.train.digest,
            "images": len(opened.train),
            "notes": notes,
            "recipe": {
                **recipe.model_dump(
                    mode="json", exclude={"options", "fit", "keep_epochs", "seed", *recipe.idle}
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


def _write(card: Card, trainer: Trainer, opened: Opened, out: Path) -> Card:
    """Measure the finished network as any user of it would, and write its folder; the card comes last."""
    subject = Subject(trainer.finished(), card, trainer.device)
    matrix = confusion(subject, opened.test)
    seen = opened.train.fitted(opened.shape, opened.fit).take(_MEASURED)
    learnt = confusion(subject, seen)
    right, n = int(matrix.trace()), int(matrix.sum())
    low, high = wilson(right, n)
    card = card.model_copy(
        update={
            "weights": Weights(sha256=write_state(subject.network, out / card.weights.file)),
            "results": {
                "split": opened.tested_on,
                "n": n,
                "accuracy": round(right / n, 6),
                "interval": [round(low, 5), round(high, 5)],
                "train_accuracy": round(float(learnt.trace() / learnt.sum()), 6),
                "train_n": len(seen),
                "by": "probe train, in float32 on the weights as stored",
                **_robustness(subject, opened, trainer.recipe),
            },
            "limits": {"notes": _limits(card, opened, trainer)},
        }
    )
    history = _history(trainer)
    write_history(history, out)
    _draw(out / "learning-curves.png", learning_curves(history, card.name))
    _draw(out / "confusion.png", confusion_matrix(matrix, card.classes, opened.tested_on))
    write_card(card, out)
    (out / CHECKPOINT).unlink(missing_ok=True)
    return card


def _robustness(subject: Subject, opened: Opened, recipe: Recipe) -> dict[str, Any]:
    if recipe.adversarial == "none":
        return {}
    images = opened.test.take(_ATTACKED)
    assert images.labels is not None
    pixels = images.pixels(subject.device)
    return measured(subject, pixels, images.labels.to(subject.device), recipe.eps)


def _limits(card: Card, opened: Opened, trainer: Trainer) -> list[str]:
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
        robust,
        *([said] if said else []),
    ]


def _draw(path: Path, exhibit: Any) -> None:
    from probe.exhibits.static import png

    path.write_bytes(png(exhibit))
