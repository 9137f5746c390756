"""Train a network from the name of its architecture and of its data into a folder that is a model."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from probe.device import choose_device, deterministic_float32
from probe.errors import UserError, first_line
from probe.interrupts import restated
from probe.locks import exclusive
from probe.model.cards import FILE, Card
from probe.model.loading import build, code_file, load
from probe.model.model import Model
from probe.model.trust import trust
from probe.params import validate
from probe.precision import choose_precision
from probe.regular_files import user_path
from probe.training.adversarial import overfitting_warning
from probe.training.config import TrainingConfig
from probe.training.datasets import (
    MAX_RESIDENT_BYTES,
    Datasets,
    DeviceDataset,
    Normalisation,
    measure_normalisation,
)
from probe.training.distributed import Processes, join_processes, local_device
from probe.training.history import write_history
from probe.training.progress import Display, open_display
from probe.training.request import TrainingRequest
from probe.training.resume import (
    TRAINING_CHECKPOINT,
    load_checkpoint,
    read_finished,
    save_checkpoint,
    save_epoch_weights,
    training_identity,
)
from probe.training.save import history_of, make_card, write_model
from probe.training.splits import Splits, image_notes, open_splits
from probe.training.trainer import Trainer

_MIN_SHARD = 4  # images of a batch for each process


def train(
    architecture: str,
    data: str = "digits",
    out: str | Path = "",
    *,
    device: str = "auto",
    root: str | Path | None = None,
    download: bool = False,
    quiet: bool = False,
    **parameters: Any,
) -> Model:
    """Train a network and return it as a Model; its folder `out` can be passed to `probe.load` and `--model`.

        probe.train("lenet5", "digits", out="mylenet", epochs=20, augment="crop")

    architecture: a name of the zoo, torchvision:NAME, timm:NAME or FILE.py:FUNCTION. data: a source with a train split,
    or folder:PATH. parameters: those of TrainingConfig, the flags of `probe train`. root: the folder of the data sets.
    The same call continues an interrupted training, and returns a finished one as it is.
    Raises UserError for invalid input.
    """
    if not str(out):
        raise UserError("train needs the folder to write, such as out='mynet'")
    folder = user_path(out)
    request = TrainingRequest(architecture, data, folder, validate(TrainingConfig, parameters))
    run_training(
        request, device=device, root=None if root is None else Path(root), download=download, quiet=quiet
    )
    return load(folder, device=device)


def run_training(
    request: TrainingRequest,
    *,
    device: str = "auto",
    root: Path | None = None,
    download: bool = False,
    max_resident_bytes: int = MAX_RESIDENT_BYTES,
    quiet: bool = False,
) -> Card:
    """Train as `request` describes and return the card of the trained model.

    Its folder gets card.toml, weights.safetensors, history.json and .csv, learning-curves.png, confusion.png and,
    with `save_epochs`, epochs/. An unfinished training found there continues after its last complete epoch and
    ends with the same bytes; a finished one is left as it is. Under torchrun the processes share each batch.
    root: folder of the data sets. max_resident_bytes: of training pixels to keep on the device.
    Raises UserError for wrong input, and where the loss is not finite.
    """
    architecture, out = request.architecture(), request.out
    on = local_device(choose_device(device))
    if (out / FILE).exists():
        return read_finished(out, request.command, quiet=quiet)
    splits = open_splits(request.data, architecture, request.config, root=root, download=download)
    with join_processes(on) as processes, torch.random.fork_rng([on] if on.type == "cuda" else []):
        batch_size, minimum = request.config.batch_size, _MIN_SHARD * processes.world_size
        if batch_size < minimum:
            raise UserError(
                f"batch_size must be at least {minimum} for {processes.world_size} processes, got {batch_size}"
            )
        quiet = quiet or not processes.is_first
        with deterministic_float32(), _exclusive_for_all(out, processes, on):
            if (out / FILE).exists():  # another process has finished it meanwhile
                return read_finished(out, request.command, quiet=quiet)
            return _train(request, splits, on, processes, max_resident_bytes, quiet)


@contextmanager
def _exclusive_for_all(out: Path, processes: Processes, device: torch.device) -> Iterator[None]:
    """The first process locks `out` for all; if it cannot, every process raises UserError."""
    refused: UserError | None = None
    with ExitStack() as stack:
        if processes.is_first:
            try:
                stack.enter_context(exclusive(out))
            except UserError as error:
                refused = error
        if bool(processes.sum(torch.tensor([int(refused is not None)], device=device))):
            raise refused or UserError(f"the first process could not lock {out}")
        yield


def _train(
    request: TrainingRequest,
    splits: Splits,
    device: torch.device,
    processes: Processes,
    max_resident_bytes: int,
    quiet: bool,
) -> Card:
    config, out = request.config, request.out
    identity = training_identity(request, splits, device, processes)
    checkpoint = load_checkpoint(out, identity)
    processes.barrier()
    trainer = _make_trainer(request, splits, processes, _load_datasets(splits, device, max_resident_bytes))
    seconds = 0.0
    if checkpoint is not None:
        trainer.restore(checkpoint["trainer"])
        seconds = checkpoint["seconds"]
    with open_display(config.epochs, len(trainer.epochs), quiet=quiet) as display:
        trainer.on_step = display.step
        if checkpoint is not None:
            display.message(f"resuming the unfinished training in {out} after epoch {len(trainer.epochs)}")
        for message in _messages(trainer, splits, config.batch_size):
            display.message(message)
        if checkpoint is None and processes.is_first:
            # Written before anything is computed, so that a folder that cannot be written is an error right away.
            save_checkpoint(out, _checkpoint(identity, seconds, trainer))
            if config.save_epochs:
                save_epoch_weights(out, trainer.network, 0)
        try:
            seconds = _run_epochs(trainer, out, identity, seconds, display)
        except KeyboardInterrupt as stop:
            done = len(trainer.epochs)
            raise restated(
                stop,
                f"stopped in epoch {done + 1} of {config.epochs}: the same command resumes after epoch {done}",
            ) from None
    card = make_card(request, splits, trainer, seconds)
    if not processes.is_first:
        return card
    card = write_model(card, trainer, splits, out)
    (out / TRAINING_CHECKPOINT).unlink(missing_ok=True)
    return card


def _make_trainer(
    request: TrainingRequest, splits: Splits, processes: Processes, datasets: Datasets
) -> Trainer:
    config, device = request.config, datasets.train.device
    normalisation = measure_normalisation(datasets.train)
    if (
        config.whiten
    ):  # the first layer divides by the deviation; only the mean over all channels is subtracted
        channels = len(normalisation.mean)
        mean = round(sum(normalisation.mean) / channels, 4)
        normalisation = Normalisation((mean,) * channels, (1.0,) * channels)
    torch.manual_seed(config.seed)
    if (code := code_file(request.card_architecture)) is not None:
        trust(code)  # the user has named it
    network = build(
        request.card_architecture,
        classes=len(splits.classes),
        shape=splits.shape,
        options=config.architecture_options(),
    )
    _check_input(network, splits, request.arch)
    precision = choose_precision(config.precision, device)
    return Trainer(network, datasets, config, normalisation, precision=precision, processes=processes)


def _load_datasets(splits: Splits, device: torch.device, max_resident_bytes: int) -> Datasets:
    train = DeviceDataset(splits.train, device, max_resident_bytes=max_resident_bytes)
    # Where the training images stream, the others may not fill the memory that this leaves free.
    limit = max_resident_bytes if train.pool is not None else max_resident_bytes // 8
    validation = splits.validation
    return Datasets(
        train=train,
        test=DeviceDataset(splits.test, device, max_resident_bytes=limit),
        validation=None
        if validation is None
        else DeviceDataset(validation, device, max_resident_bytes=limit),
    )


def _run_epochs(
    trainer: Trainer, out: Path, identity: dict[str, Any], seconds_before: float, display: Display
) -> float:
    """Run the remaining epochs, with a checkpoint after each; returns the seconds of all epochs."""
    start = time.monotonic()
    while not trainer.done:
        epoch = trainer.epoch()
        if trainer.processes.is_first:
            seconds = seconds_before + time.monotonic() - start
            save_checkpoint(out, _checkpoint(identity, seconds, trainer))
            write_history(history_of(trainer), out)
            if trainer.config.save_epochs:
                save_epoch_weights(out, trainer.network, epoch.epoch)
        display.epoch(epoch)
        if message := overfitting_warning(epoch.epoch, epoch.fgsm_accuracy, epoch.pgd_accuracy):
            display.message(message)
    return seconds_before + time.monotonic() - start


def _checkpoint(identity: dict[str, Any], seconds: float, trainer: Trainer) -> dict[str, Any]:
    return {
        "identity": identity,
        "seconds": seconds,
        "has_progress": bool(trainer.epochs),
        "trainer": trainer.state(),
    }


def _messages(trainer: Trainer, splits: Splits, batch_size: int) -> list[str]:
    """Messages before the first epoch: how the images were read, and what differs from the request."""
    messages = [f"images: {note}" for note in image_notes(splits.train, splits.test)]
    if batch_size > len(splits.train):
        messages.append(
            f"images: each step uses all {len(splits.train)} training images, fewer than the batch size of {batch_size}"
        )
    note = trainer.processes.batch_norm_note(trainer.network, trainer.device)
    return [*messages, note] if note else messages


def _check_input(network: nn.Module, splits: Splits, arch: str) -> None:
    """Raise UserError for an input shape that the network cannot take."""
    was_training = network.training
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, *splits.shape))
    except RuntimeError as error:
        size = " x ".join(map(str, splits.shape))
        raise UserError(f"{arch} cannot take {size} images ({first_line(error)})") from None
    finally:
        network.train(was_training)
