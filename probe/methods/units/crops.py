"""What did a unit look at, and what in it drove the unit? Exact crops and reconstructions, laid side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from probe.data.images import Images
from probe.errors import UserError
from probe.methods.attribution.relu_rules import NoRelu, Rule, backpropagate
from probe.methods.units.top_patches import Strongest
from probe.model.layers import Layer
from probe.model.model import Model
from probe.model.targets import UnitTargets

Box = tuple[int, int, int, int]
PAPER = 0.92  # what lies outside the image


def seen_by(layer: Layer, row: int, column: int, size: tuple[int, int]) -> Box:
    """Left, top, right, bottom (exclusive) of what a unit sees of an image of `size` (h, w); all where unknown."""
    if layer.receptive_field is None or not layer.spatial:
        return 0, 0, size[1], size[0]
    return layer.receptive_field.box(row, column, *size)


def window(layer: Layer, size: tuple[int, int]) -> tuple[int, int]:
    """Height and width that a crop of this layer has at most, in an image of `size` (h, w)."""
    if layer.receptive_field is None or not layer.spatial:
        return size
    return min(layer.receptive_field.size[0], size[0]), min(layer.receptive_field.size[1], size[1])


def tile(picture: Tensor, box: Box, frame: tuple[int, int], *, limit: int, blank: float = PAPER) -> Tensor:
    """What `box` cuts out of a picture (c, h, w), set in a `frame` (h, w) that it may not fill: (c, h', w').

    A crop at the border of the image stands at that border of the frame, the rest is `blank`.
    limit: the longer side of a larger frame is brought down to it.
    """
    left, top, right, bottom = box
    crop = picture[:, top:bottom, left:right]
    tall, wide = crop.shape[1:]
    above = frame[0] - tall if top == 0 and bottom < picture.shape[1] else 0
    before = frame[1] - wide if left == 0 and right < picture.shape[2] else 0
    framed = functional.pad(
        crop, (before, frame[1] - wide - before, above, frame[0] - tall - above), value=blank
    )
    if max(frame) <= limit:
        return framed
    size = [max(1, round(side * limit / max(frame))) for side in frame]
    return functional.interpolate(framed[None], size, mode="bilinear", antialias=True, align_corners=False)[0]


def mosaic(tiles: Sequence[Tensor], columns: int, *, blank: float = 1.0) -> np.ndarray:
    """Tiles (c, h, w) of one size in rows of `columns`, a gap between them: (H, W, c)."""
    channels, tall, wide = tiles[0].shape
    gap = max(1, round(max(tall, wide) / 32))
    rows = -(-len(tiles) // columns)
    sheet = torch.full((channels, rows * (tall + gap) - gap, columns * (wide + gap) - gap), blank)
    for i, one in enumerate(tiles):
        y, x = i // columns * (tall + gap), i % columns * (wide + gap)
        sheet[:, y : y + tall, x : x + wide] = one
    return shown(sheet)


def signed(picture: Tensor) -> Tensor:
    """A signed picture (c, h, w) around mid-grey on its own scale: all but the strongest 0.2 % of values lie in [0, 1]."""
    sizes = picture.abs().flatten()
    reach = sizes.kthvalue(max(1, int(0.998 * len(sizes)))).values
    # Few pixels may carry all of a signal.
    reach = reach if reach > 0.05 * sizes.amax() else sizes.amax()
    return (0.5 + 0.5 * picture / reach.clamp(min=1e-12)).clamp(0, 1)


def outlined(picture: Tensor, box: Box, colour: tuple[float, float, float] = (1.0, 0.35, 0.0)) -> Tensor:
    """A picture (c, h, w) as (3, h, w) with the border of `box` drawn in it."""
    left, top, right, bottom = box
    drawn = picture.expand(3, -1, -1).clone()
    thick = max(1, round(max(picture.shape[1:]) / 100))
    ink = torch.tensor(colour)[:, None, None]
    drawn[:, top:bottom, left : left + thick] = ink
    drawn[:, top:bottom, right - thick : right] = ink
    drawn[:, top : top + thick, left:right] = ink
    drawn[:, bottom - thick : bottom, left:right] = ink
    return drawn


def shown(picture: Tensor) -> np.ndarray:
    """(c, h, w) in about [0, 1] -> (h, w, c) float32 in [0, 1], as exhibits want it."""
    return picture.clamp(0, 1).permute(1, 2, 0).cpu().float().numpy()


@dataclass(frozen=True)
class Figure:
    """The k strongest patches of a channel: crops and reconstructions (c, h, w), whole images with the crop outlined."""

    crops: list[Tensor]
    reconstructions: list[Tensor]
    wholes: list[Tensor]
    rule: Rule
    warning: str = ""


def figure(
    model: Model, images: Images, layer: Layer, found: Strongest, channel: int, *, rule: Rule, limit: int
) -> Figure:
    """Cut the strongest patches of a channel out of their images and run each of its units back on its own.

    The patch is the exact receptive field of the unit. The reconstruction starts from that one unit alone; where a
    rule cannot be had, it is the plain gradient and `warning` says why. limit: longest side of a picture in pixels.
    """
    live = (
        found.value[channel] > 0
        if bool((found.value[channel] > 0).any())
        else found.value[channel] > -torch.inf
    )
    rows, columns = found.row[channel][live], found.column[channel][live]
    pixels = images.select(found.image[channel][live]).pixels(model.device)
    places = torch.stack([rows, columns], 1) if layer.spatial else None
    units = UnitTargets(layer.address, torch.full((len(rows),), channel), places)
    warning = ""
    try:
        back = backpropagate(model, pixels, units, rule=rule)
    except NoRelu:  # before the first ReLU all rules are the gradient
        rule, back = "gradient", backpropagate(model, pixels, units)
    except UserError as error:
        rule, back, warning = "gradient", backpropagate(model, pixels, units), f"{error}."
    size = (pixels.shape[2], pixels.shape[3])
    boxes = [seen_by(layer, r, c, size) for r, c in zip(rows.tolist(), columns.tolist(), strict=True)]
    frame = window(layer, size)
    whole = (0, 0, size[1], size[0])
    crops, parts, wholes = [], [], []
    for picture, signal, box in zip(pixels.cpu(), back.cpu(), boxes, strict=True):
        left, top, right, bottom = box
        crops.append(tile(picture, box, frame, limit=limit))
        part = torch.full_like(signal, 0.5)
        part[:, top:bottom, left:right] = signed(signal[:, top:bottom, left:right])
        parts.append(tile(part, box, frame, limit=limit, blank=0.5))
        wholes.append(tile(outlined(picture, box), whole, size, limit=limit))
    return Figure(crops, parts, wholes, rule, warning)
