"""Train a network from its name and the name of its data, and leave a folder that is a model."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from probe.device import choose_device, deterministic_float32
from probe.errors import UserError
from probe.locks import exclusive
from probe.model.cards import FILE, Card
from probe.model.loading import build, code_file
from probe.model.trust import trust
from probe.training.adversarial import warning
from probe.training.config import TrainingConfig
from probe.training.datasets import RESIDENT, DeviceDataset, mean_and_std
from probe.training.distributed import Processes, own_device, processes
from probe.training.history import write_history
from probe.training.progress import Display, shown
from probe.training.request import TrainingRequest
from probe.training.resume import CHECKPOINT, finished, identify, keep, save, unfinished
from probe.training.save import history_of, make_card, write_outcome
from probe.training.splits import Splits, notes, open_training
from probe.training.trainer import Sets, Trainer


def run_training(
    arch: str,
    data: str,
    out: Path,
    recipe: TrainingConfig,
    *,
    device: str = "auto",
    root: Path | None = None,
    download: bool = False,
    resident: int = RESIDENT,
    quiet: bool = False,
) -> Card:
    """Train `arch` (of the zoo, torchvision:NAME, timm:NAME or FILE.py:FUNCTION) on `data` (a source with a train split, or folder:PATH) into the folder `out`.

    `out` gets card.toml, weights.safetensors, history.json and .csv, learning-curves.png, confusion.png and,
    with `keep_epochs`, epochs/. An unfinished training found there goes on after its last whole epoch and
    ends with the same bytes; a finished one is left as it is. Under torchrun the processes share each batch.
    resident: bytes of training pixels to keep on the device. Returns the card.
    Raises UserError for all that the user can get wrong, and where the loss becomes NaN.
    """
    order = TrainingRequest(arch.removeprefix("zoo:"), data, out, recipe)
    known = order.architecture()
    where = own_device(choose_device(device))
    if (out / FILE).exists():
        return finished(out, order.command, quiet=quiet)
    opened = open_training(
        data,
        known,
        preprocess=recipe.preprocess,
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
        with deterministic_float32(), _claimed(out, team, where):
            if (out / FILE).exists():  # made by another process since
                return finished(out, order.command, quiet=quiet or not team.first)
            return _train(order, opened, where, team, resident, quiet or not team.first)


@contextmanager
def _claimed(out: Path, team: Processes, device: torch.device) -> Iterator[None]:
    """The first of the processes claims `out` for all; where it is refused, all of them are told."""
    refused: UserError | None = None
    with ExitStack() as stack:
        if team.first:
            try:
                stack.enter_context(exclusive(out))
            except UserError as error:
                refused = error
        if bool(team.total(torch.tensor([int(refused is not None)], device=device))):
            raise refused or UserError(f"the first process was refused {out}")
        yield


def _train(
    order: TrainingRequest, opened: Splits, device: torch.device, team: Processes, resident: int, quiet: bool
) -> Card:
    recipe, out = order.recipe, order.out
    identity = identify(order, opened, device, team)
    checkpoint = unfinished(out, identity)
    team.wait()
    seen = DeviceDataset(opened.train, device, resident=resident)
    # Where the training images stream, the others may not fill the memory that this leaves free.
    rest = resident if seen.pool is not None else resident // 8
    held = None if opened.validation is None else DeviceDataset(opened.validation, device, resident=rest)
    sets = Sets(seen, DeviceDataset(opened.test, device, resident=rest), held)
    mean, std = mean_and_std(sets.train)
    if recipe.whiten:  # the first layer divides, by what it finds in all channels together
        mean, std = (round(sum(mean) / len(mean), 4),) * len(mean), (1.0,) * len(std)
    torch.manual_seed(recipe.seed)
    if (code := code_file(order.named)) is not None:
        trust(code)  # the user has named it
    network = build(order.named, classes=len(opened.classes), shape=opened.shape, options=recipe.arguments())
    _runs(network, opened, order.arch)
    trainer = Trainer(network, sets, recipe, mean=mean, std=std, precision=identity["precision"], team=team)
    if checkpoint is not None:
        trainer.restore(checkpoint["trainer"])
    spent = checkpoint["seconds"] if checkpoint else 0.0
    with shown(recipe.epochs, len(trainer.epochs), quiet=quiet) as display:
        trainer.glance = display.glance
        if checkpoint is not None:
            display.say(f"going on after epoch {len(trainer.epochs)} of the unfinished training in {out}")
        for said in _remarks(trainer, opened, recipe.batch):
            display.say(said)
        if checkpoint is None and team.first:
            # Written before anything is computed: a folder that cannot be written is found out now.
            save(out, _checkpoint(identity, spent, trainer))
            if recipe.keep_epochs:
                keep(out, network, 0)
        try:
            seconds = _epochs(trainer, out, identity, spent, display, team)
        except KeyboardInterrupt:
            done = len(trainer.epochs)
            raise KeyboardInterrupt(
                f"stopped in epoch {done + 1} of {recipe.epochs}: the same command goes on after epoch {done}"
            ) from None
    card = make_card(order, opened, trainer, mean, std, seconds, identity)
    if not team.first:
        return card
    card = write_outcome(card, trainer, opened, out)
    (out / CHECKPOINT).unlink(missing_ok=True)
    return card


def _epochs(
    trainer: Trainer, out: Path, identity: dict[str, Any], spent: float, display: Display, team: Processes
) -> float:
    """Run what is left, with a checkpoint after every epoch; returns the seconds of all epochs."""
    start = time.monotonic()
    while not trainer.done:
        epoch = trainer.epoch()
        if team.first:
            save(out, _checkpoint(identity, spent + time.monotonic() - start, trainer))
            write_history(history_of(trainer), out)
            if trainer.recipe.keep_epochs:
                keep(out, trainer.network, epoch.epoch)
        display.epoch(epoch)
        if said := warning(epoch.epoch, epoch.one_step, epoch.many_steps):
            display.say(said)
    return spent + time.monotonic() - start


def _checkpoint(identity: dict[str, Any], seconds: float, trainer: Trainer) -> dict[str, Any]:
    learnt = bool(trainer.epochs)
    return {"identity": identity, "learnt": learnt, "seconds": seconds, "trainer": trainer.state()}


def _remarks(trainer: Trainer, opened: Splits, batch: int) -> list[str]:
    """What the user should know of the images and processes before the first epoch."""
    remarks = [f"images: {note}" for note in notes(opened.train, opened.test)]
    if batch > len(opened.train):
        remarks.append(f"images: a step takes all {len(opened.train)} training images, there are no more")
    caveat = trainer.team.caveat(trainer.network, trainer.device)
    return [*remarks, caveat] if caveat else remarks


def _runs(network: nn.Module, opened: Splits, arch: str) -> None:
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
