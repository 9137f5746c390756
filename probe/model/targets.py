"""Targets: the scores that attributions and syntheses are about, such as a class, a contrast of classes or a unit."""

from dataclasses import dataclass

import torch
from torch import Tensor

from probe.errors import UserError, unknown
from probe.model.layers import Address
from probe.model.model import Model


@dataclass(frozen=True)
class UnitTargets:
    """One unit, or one whole channel, for every image.

    layer: address without channel. channels: (n,). positions: (n, 2) row and column, or None for the sum over the map.
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
"""(n,) integers: the logit of a class. (n, classes) floats: that weighted sum of logits. UnitTargets: an activation."""


def scores(model: Model, pixels: Tensor, targets: Targets) -> Tensor:
    """The score of each image's target: (n, c, h, w) in [0, 1] -> (n,), differentiable.

    Raises UserError where a score is NaN or infinite.
    """
    if isinstance(targets, UnitTargets):
        score = _unit_scores(model.features(pixels, targets.layer)[targets.layer], targets)
    elif targets.is_floating_point():
        score = (model.logits(pixels) * targets).sum(1)
    else:
        score = model.logits(pixels).gather(1, targets[:, None])[:, 0]
    finite = torch.isfinite(score.detach())
    if not bool(finite.all()):
        raise UserError(
            f"{model.name} produces NaN or infinity for {int((~finite).sum())} of {len(score)} images: "
            "there is no gradient to propagate"
        )
    return score


def _unit_scores(activations: Tensor, units: UnitTargets) -> Tensor:
    rows = torch.arange(len(activations), device=activations.device)
    maps = activations[rows, units.channels.to(activations.device)]
    if units.positions is not None:
        positions = units.positions.to(activations.device)
        return maps[rows, positions[:, 0], positions[:, 1]]
    return maps.flatten(1).sum(1) if maps.ndim > 1 else maps


def expanded(model: Model, pixels: Tensor, targets: Targets | Address) -> tuple[Tensor, Targets]:
    """Images and targets of equal number: one image is repeated for many targets, an address for many images.

    Raises UserError for a class or channel that does not exist, ValueError where the numbers of images and
    targets differ.
    """
    if isinstance(targets, Address):
        targets = units(targets, len(pixels))
    if len(pixels) == 1 < len(targets):
        pixels = pixels.expand(len(targets), -1, -1, -1)
    if len(pixels) != len(targets):
        raise ValueError(f"{len(pixels)} images and {len(targets)} targets: each image needs one target")
    if isinstance(targets, UnitTargets):
        layer = model.layers.find(targets.layer)
        _check_range("channel", targets.channels, layer.channels, f"layer {layer.address}")
        return pixels, targets
    if targets.is_floating_point():
        return pixels, targets.to(pixels)
    _check_range("class", targets, len(model.classes), model.name)
    return pixels, targets.to(pixels.device)


def _check_range(kind: str, indices: Tensor, count: int, owner: str) -> None:
    if len(indices) and not 0 <= int(indices.min()) <= int(indices.max()) < count:
        wrong = int(indices.max()) if int(indices.max()) >= count else int(indices.min())
        raise UserError(f"there is no {kind} {wrong}: {owner} has 0 to {count - 1}")


def as_targets(model: Model, targets: Targets | int | str, n: int) -> Targets:
    """Targets of `n` images; a number or name of a class, or an address such as "features.7:3", is that of each of them.

    Raises UserError for a class, channel or unit that does not exist.
    """
    if isinstance(targets, str):
        parsed = parse_target(model, targets)
        if isinstance(parsed, Address):
            return units(parsed, n)
        targets = parsed
    return torch.full((n,), targets) if isinstance(targets, int) else targets


def units(address: Address, n: int) -> UnitTargets:
    """The unit or channel at `address`, for each of `n` images. A UserError for a whole layer."""
    if address.channel is None:
        raise UserError(
            f"{address.layer} is a whole layer: name a channel, as in {address.layer}:0, or a unit, as in {address.layer}:0:3,4"
        )
    positions = None if address.position is None else torch.tensor([address.position]).expand(n, 2)
    return UnitTargets(address.layer, torch.full((n,), address.channel), positions)


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
                f"there is no class {text}: the classes of {model.name} are 0 to {len(model.classes) - 1}"
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
    """A target in words, for captions and titles."""
    if isinstance(target, int):
        return f"the score of {model.classes[target]}"
    kind = "channel" if target.position is None else "unit"
    return f"{kind} {target}"


def contrast(classes: Tensor, others: Tensor, count: int) -> Tensor:
    """Targets (n, count) whose score is the logit of `classes` (n,) minus that of `others` (n,)."""
    weights = torch.zeros(len(classes), count)
    rows = torch.arange(len(classes))
    weights[rows, classes.cpu()] += 1
    weights[rows, others.cpu()] -= 1
    return weights
