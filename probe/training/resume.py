"""What lies in the folder of a training that is not finished, and when may it go on?"""

import contextlib
from pathlib import Path
from typing import Any

import torch
from torch import nn

from probe.errors import UserError
from probe.model.cards import Card, read_card
from probe.model.checkpoints import write_state
from probe.training.distributed import Processes
from probe.training.precision import choose_precision
from probe.training.progress import shown
from probe.training.request import TrainingRequest
from probe.training.splits import Splits

CHECKPOINT = "training.pt"
TRANSFER = "transfer.pt"


def identify(order: TrainingRequest, opened: Splits, device: torch.device, team: Processes) -> dict[str, Any]:
    """All that the bytes of the result depend on, besides the machine and its versions."""
    return {
        "architecture": order.arch,
        "data": opened.train.digest,
        "test": opened.test.digest,
        "precision": choose_precision(order.recipe.precision, device),
        "processes": team.count,
        **order.recipe.model_dump(
            mode="json", exclude={"precision", "keep_epochs", "half", *order.recipe.idle}
        ),
    }


def unfinished(out: Path, identity: dict[str, Any], file: str = CHECKPOINT) -> dict[str, Any] | None:
    """The checkpoint `file` in `out`, where there is one; a UserError where it is of another training.

    Another one that has learnt nothing yet, because its loss was no number, say, gives way.
    """
    path, what = out / file, Path(file).stem
    if not path.exists():
        if out.is_dir() and any(one.name != f"{file}.part" for one in out.iterdir()):
            raise UserError(f"{out} is not empty and holds no {what}: choose another --out")
        return None
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        theirs = checkpoint["identity"]
    except Exception as error:
        raise UserError(
            f"{path} cannot be read ({type(error).__name__}): remove {out} or choose another"
        ) from None
    differs = [name for name in identity if theirs.get(name) != identity[name]]
    if differs and not checkpoint.get("learnt", True):
        return None
    if differs:
        name = differs[0]
        values = (
            "other images"
            if name in ("data", "test")
            else f"{name} {theirs.get(name)!r}, not {identity[name]!r}"
        )
        raise UserError(
            f"{out} holds an unfinished {what} with {values}: go on with the same, or choose another --out"
        )
    return checkpoint


def finished(out: Path, command: str, *, quiet: bool) -> Card:
    """The card in `out` where `command` made it, which is said; a UserError where something else did."""
    card = read_card(out)
    if card.training.get("command") != command:
        raise UserError(f"{out} already holds {card.name}: choose another --out or remove it")
    with shown(0, quiet=quiet) as display:
        display.say(f"{out} already holds what this command makes, finished: nothing was done")
    return card


def save(out: Path, checkpoint: dict[str, Any], file: str = CHECKPOINT) -> None:
    """Write the checkpoint whole or not at all."""
    temporary = out / (file + ".part")
    try:
        out.mkdir(parents=True, exist_ok=True)
        torch.save(checkpoint, temporary)
        temporary.replace(out / file)
    except OSError as error:
        _forget(temporary)
        raise UserError(f"{out} cannot be written: {error.strerror or error}") from None
    except RuntimeError:
        # What torch says here is about its own zip writer, whatever the disk said to it.
        _forget(temporary)
        raise UserError(f"{out} cannot be written to the end: is the disk full?") from None


def _forget(temporary: Path) -> None:
    with contextlib.suppress(OSError):
        temporary.unlink(missing_ok=True)


def keep(out: Path, network: nn.Module, epoch: int) -> None:
    """Keep the weights after an epoch, in epochs/; epoch 0 is the start."""
    (out / "epochs").mkdir(parents=True, exist_ok=True)
    write_state(network, out / "epochs" / f"{epoch:03d}.safetensors")
