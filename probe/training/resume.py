"""Checkpoints of unfinished trainings and transfers: written after every epoch, resumed only by the same request."""

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import nn

from probe.atomic_files import replacing, temporary_path
from probe.errors import UserError
from probe.model.cards import Card, read_card
from probe.model.checkpoints import DAMAGED, write_state
from probe.precision import choose_precision
from probe.training.distributed import Processes
from probe.training.progress import open_display
from probe.training.request import TrainingRequest
from probe.training.splits import Splits

TRAINING_CHECKPOINT = "training.pt"
TRANSFER_CHECKPOINT = "transfer.pt"


def training_identity(
    request: TrainingRequest, splits: Splits, device: torch.device, processes: Processes
) -> dict[str, Any]:
    """All that the bytes of the result depend on, besides the machine and its versions."""
    config = request.config
    return {
        "architecture": request.arch,
        "data": splits.train.digest,
        "test": splits.test.digest,
        "precision": choose_precision(config.precision, device),
        "processes": processes.world_size,
        **config.model_dump(mode="json", exclude={"precision", "save_epochs", "fp16", *config.unused}),
    }


def load_checkpoint(
    out: Path, identity: dict[str, Any], file: str = TRAINING_CHECKPOINT
) -> dict[str, Any] | None:
    """The checkpoint `file` in `out`, or None where there is none.

    A checkpoint of another training that holds no progress yet, because its loss was not finite, say, is ignored.
    Raises UserError for a checkpoint of another training, for one that cannot be read, and for a folder of other files.
    """
    path, kind = out / file, Path(file).stem
    if not path.exists():
        if out.is_dir() and any(other != temporary_path(path) for other in out.iterdir()):
            raise UserError(f"{out} is not empty and contains no {kind}: choose another --out")
        return None
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        saved = checkpoint["identity"]
    except (pickle.UnpicklingError, *DAMAGED) as error:
        raise UserError(
            f"{path} cannot be read ({type(error).__name__}): remove {out} or choose another"
        ) from None
    differing = [name for name in identity if saved.get(name) != identity[name]]
    if not differing:
        return checkpoint
    if not checkpoint.get("has_progress", True):
        return None
    name = differing[0]
    difference = (
        "other images" if name in ("data", "test") else f"{name} {saved.get(name)!r}, not {identity[name]!r}"
    )
    raise UserError(
        f"{out} contains an unfinished {kind} with {difference}: resume it with the same settings, or choose another --out"
    )


def read_finished(out: Path, command: str, *, quiet: bool) -> Card:
    """The card in `out` if `command` wrote it, with a message. Raises UserError if something else did."""
    card = read_card(out)
    if card.training.get("command") != command:
        raise UserError(f"{out} already holds {card.name}: choose another --out or remove it")
    with open_display(0, quiet=quiet) as display:
        display.message(f"{out} already holds the finished result of this command: nothing to do")
    return card


def save_checkpoint(out: Path, checkpoint: dict[str, Any], file: str = TRAINING_CHECKPOINT) -> None:
    """Write the checkpoint atomically. Raises UserError where the folder cannot be written."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with replacing(out / file) as temporary:
            torch.save(checkpoint, temporary)
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror or error}") from None
    except RuntimeError:
        # torch reports an error of its zip writer here, whatever the file system returned.
        raise UserError(f"{out} could not be written completely: is the disk full?") from None


def save_epoch_weights(out: Path, network: nn.Module, epoch: int) -> None:
    """Write the weights after an epoch to epochs/; epoch 0 is the initialisation."""
    (out / "epochs").mkdir(parents=True, exist_ok=True)
    write_state(network, out / "epochs" / f"{epoch:03d}.safetensors")
