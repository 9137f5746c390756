"""What is asked of the network: a class, a difference of classes, a channel or one unit of each image."""

from dataclasses import dataclass

import torch
from torch import Tensor

from probe.errors import UserError, unknown
from probe.model.layers import Address
from probe.model.model import Model


@dataclass(frozen=True)
class UnitTargets:
    """A unit for every image: its channel, and its place in the map or the sum of the map.

    layer: address without channel. channels: (n,). positions: (n, 2) row and column, or None for the sum.
    """

    layer: str
    channels: Tensor
    positions: Tensor | None = None

    def __len__(self) -> int:
        return len(self.channels)

    def __getitem__(self, rows: Tensor) -> "UnitTargets":
        rows = rows.to(self.channels.device)
        positions = None if self.positions is None else self.positions[rows]
        return UnitTargets(self.layer, self.channels[rows], positions)


Targets = Tensor | UnitTargets
"""(n,) whole numbers: the logit of a class. (n, classes) floats: that sum of logits. Units: their activation."""


def scores(model: Model, pixels: Tensor, targets: Targets) -> Tensor:
    """The number that `targets` ask for, one an image: (n, c, h, w) in [0, 1] -> (n,), differentiable.

    Raises UserError where the network answers NaN or infinity: no picture can be made of that.
    """
    if isinstance(targets, UnitTargets):
        maps = model.features(pixels, targets.layer)[targets.layer]
        found = _picked(maps, targets)
    elif targets.is_floating_point():
        found = (model.logits(pixels) * targets).sum(1)
    else:
        found = model.logits(pixels).gather(1, targets[:, None])[:, 0]
    if not bool(torch.isfinite(found.detach()).all()):
        bad = int((~torch.isfinite(found.detach())).sum())
        raise UserError(
            f"{model.name} answers NaN or infinity for {bad} of {len(found)} images: nothing can be traced back from that"
        )
    return found


def _picked(maps: Tensor, units: UnitTargets) -> Tensor:
    rows = torch.arange(len(maps), device=maps.device)
    chosen = maps[rows, units.channels.to(maps.device)]
    if units.positions is not None:
        place = units.positions.to(maps.device)
        return chosen[rows, place[:, 0], place[:, 1]]
    return chosen.flatten(1).sum(1) if chosen.ndim > 1 else chosen


def expanded(model: Model, pixels: Tensor, targets: Targets | Address) -> tuple[Tensor, Targets]:
    """One target for every image: one image may be asked for many units, and one address of many images.

    Raises UserError for a class or channel that does not exist, ValueError where the numbers of images and
    targets do not fit.
    """
    if isinstance(targets, Address):
        targets = units(targets, len(pixels))
    if len(pixels) == 1 < len(targets):
        pixels = pixels.expand(len(targets), -1, -1, -1)
    if len(pixels) != len(targets):
        raise ValueError(f"{len(pixels)} images and {len(targets)} targets: one target an image is needed")
    if isinstance(targets, UnitTargets):
        layer = model.layers.find(targets.layer)
        _exists("channel", targets.channels, layer.channels, f"layer {layer.address}")
        return pixels, targets
    if targets.is_floating_point():
        return pixels, targets.to(pixels)
    _exists("class", targets, len(model.classes), model.name)
    return pixels, targets.to(pixels.device)


def _exists(kind: str, asked: Tensor, count: int, owner: str) -> None:
    if len(asked) and not 0 <= int(asked.min()) <= int(asked.max()) < count:
        worst = int(asked.max()) if int(asked.max()) >= count else int(asked.min())
        raise UserError(f"there is no {kind} {worst}: {owner} has 0 to {count - 1}")


def units(address: Address, n: int) -> UnitTargets:
    """The unit or channel at `address`, for each of `n` images. A UserError for a whole layer."""
    if address.channel is None:
        raise UserError(
            f"{address.layer} is a whole layer: say which channel, as in {address.layer}:0, or which unit, {address.layer}:0:3,4"
        )
    places = None if address.position is None else torch.tensor([address.position]).expand(n, 2)
    return UnitTargets(address.layer, torch.full((n,), address.channel), places)


def parse_target(model: Model, text: str) -> int | Address:
    """The class (by its name or number) or the channel or unit (by its address) that `text` names.

    Raises UserError with the nearest names for what is neither.
    """
    text = text.strip()
    if text in model.classes:
        return model.classes.index(text)
    if text.isdigit():
        if int(text) >= len(model.classes):
            raise UserError(
                f"{model.name} has classes 0 to {len(model.classes) - 1}: there is no class {text}"
            )
        return int(text)
    if ":" not in text and text not in model.layers:
        raise unknown(
            "class",
            text,
            model.classes,
            hint=f"Channels are written layer:channel; `probe layers {model.name}` lists the layers.",
        )
    address = model.layers.parse(text)
    units(address, 1)
    return address


def describe(model: Model, target: int | Address) -> str:
    """A target in words, for captions."""
    if isinstance(target, int):
        return f"the score of {model.classes[target]}"
    what = "channel" if target.position is None else "unit"
    return f"{what} {target}"


def contrast(classes: Tensor, others: Tensor, count: int) -> Tensor:
    """Targets (n, count) that ask how far the score of `classes` (n,) lies above that of `others` (n,)."""
    weights = torch.zeros(len(classes), count)
    rows = torch.arange(len(classes))
    weights[rows, classes.cpu()] += 1
    weights[rows, others.cpu()] -= 1
    return weights
