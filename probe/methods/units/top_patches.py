"""Top patches of channels: the images and positions of the largest activations, and reconstructions from them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from probe.data.images import Batch, Images
from probe.device import to_device
from probe.errors import UserError
from probe.methods.attribution.relu_rules import NoRelu, Rule, backpropagate
from probe.model.layers import Layer
from probe.model.model import Model
from probe.model.observer import observing, run_forward
from probe.model.targets import UnitTargets

Box = tuple[int, int, int, int]
"""Left, top, right, bottom of a part of an image, in pixels; the last two exclusive."""


@dataclass(frozen=True)
class TopActivations:
    """The k images with the largest activations of each channel of a layer, largest first, one unit an image.

    value: (channels, k) activations. image: (channels, k) positions in the data set. row, column: (channels, k)
    position of the unit in the map. n: images. positive: (channels,) images with an activation above zero.
    class_sums: (classes, channels) sum over the images of a class of a channel's largest activation, at least zero.
    class_counts: (classes,) images of each class, all 0 without labels. All on the CPU.
    """

    value: Tensor
    image: Tensor
    row: Tensor
    column: Tensor
    n: int
    positive: Tensor
    class_sums: Tensor
    class_counts: Tensor

    @property
    def active(self) -> Tensor:
        """(channels,) proportion of images with an activation above zero."""
        return self.positive / max(1, self.n)

    @property
    def class_means(self) -> Tensor | None:
        """(classes, channels) means of the largest activations; nan for a class without images, None without labels."""
        return self.class_sums / self.class_counts[:, None] if bool(self.class_counts.any()) else None

    @property
    def inactive(self) -> Tensor:
        """(channels,) whether no activation of a channel is above zero."""
        return self.value[:, 0] <= 0


def top_activations(
    model: Model, batches: Iterable[Batch], addresses: Sequence[str], *, k: int = 9
) -> dict[str, TopActivations]:
    """The `k` images with the largest activations of each channel of each layer, in one pass over `batches`.

    A layer without maps counts as maps of one unit. With fewer images than k, there are as many as images; of equal
    activations in different batches the earlier stays. Activations are reduced as they are computed and never kept:
    memory does not grow with the number of images.
    Raises UserError for an address that does not exist and where an activation is NaN.

    Zeiler and Fergus 2014, section 4.1.
    """
    running = {a: _Running(model.layers.find(a), k, len(model.classes), model.device) for a in addresses}
    positions, membership = torch.empty(0, dtype=torch.long), None

    def callback(address: str, output: Tensor) -> None:
        running[address].add(output, positions, membership)

    for batch in batches:
        positions = to_device(batch.positions, model.device)
        if batch.labels is not None:
            membership = functional.one_hot(batch.labels, len(model.classes)).float()
        with torch.inference_mode(), observing(model.network, running, callback, stop=True):
            run_forward(model.network, model.normalise(batch.pixels))
    results = {address: layer.result() for address, layer in running.items()}
    for address, top in results.items():
        if bool(top.value.isnan().any()):
            raise UserError(
                f"{address} of {model.name} produces NaN on these images: the largest activations are undefined"
            )
    return results


def merge_top_activations(parts: Sequence[TopActivations], k: int) -> TopActivations:
    """The top activations of several sets of images, whose positions differ; of equal activations the earlier stays."""
    value = torch.cat([part.value for part in parts], 1)
    order = value.sort(dim=1, descending=True, stable=True).indices[:, :k]

    def largest(name: str) -> Tensor:
        return torch.cat([getattr(part, name) for part in parts], 1).gather(1, order)

    def total(name: str) -> Tensor:
        return torch.stack([getattr(part, name) for part in parts]).sum(0)

    return TopActivations(
        **{name: largest(name) for name in ("value", "image", "row", "column")},
        n=sum(part.n for part in parts),
        **{name: total(name) for name in ("positive", "class_sums", "class_counts")},
    )


@dataclass(frozen=True)
class Patches:
    """The top patches of a channel. pixels: (n, c, h, w) whole images in [0, 1]. boxes: receptive field of each unit.

    reconstructions: (n, c, h, w) signed, backpropagated from the one unit to its image, zero outside its box. Both on
    the CPU. rule: of the reconstructions; fallback: why that is not the requested rule, empty where it is or
    where no ReLU makes a difference.
    """

    pixels: Tensor
    boxes: list[Box]
    reconstructions: Tensor
    rule: Rule
    fallback: str = ""


def top_patches(
    model: Model, images: Images, layer: Layer, top: TopActivations, channel: int, *, rule: Rule
) -> Patches:
    """The patches of the largest activations of a channel, with reconstructions by a ReLU backward rule.

    Activations above zero alone are shown where there are any. For a network without the rule the reconstructions are
    the plain gradient, and `fallback` gives the reason.
    """
    positive = top.value[channel] > 0
    shown = positive if bool(positive.any()) else top.value[channel] > -torch.inf
    rows, columns = top.row[channel][shown], top.column[channel][shown]
    pixels = images.select(top.image[channel][shown]).pixels(model.device)
    positions = torch.stack([rows, columns], 1) if layer.spatial else None
    units = UnitTargets(layer.address, torch.full((len(rows),), channel), positions)
    fallback = ""
    try:
        reconstructions = backpropagate(model, pixels, units, rule=rule)
    except NoRelu:  # before the first ReLU all rules are the gradient
        rule, reconstructions = "gradient", backpropagate(model, pixels, units)
    except UserError as error:
        rule, reconstructions, fallback = "gradient", backpropagate(model, pixels, units), str(error)
    size = (pixels.shape[2], pixels.shape[3])
    boxes = [receptive_box(layer, r, c, size) for r, c in zip(rows.tolist(), columns.tolist(), strict=True)]
    return Patches(pixels.cpu(), boxes, reconstructions.cpu(), rule, fallback)


def receptive_box(layer: Layer, row: int, column: int, size: tuple[int, int]) -> Box:
    """The receptive field of a unit in an image of `size` (h, w); the whole image where it is unknown."""
    if layer.receptive_field is None or not layer.spatial:
        return 0, 0, size[1], size[0]
    return layer.receptive_field.box(row, column, *size)


def patch_size(layer: Layer, size: tuple[int, int]) -> tuple[int, int]:
    """The largest height and width of a patch of this layer in an image of `size` (h, w)."""
    if layer.receptive_field is None or not layer.spatial:
        return size
    return min(layer.receptive_field.size[0], size[0]), min(layer.receptive_field.size[1], size[1])


def spatial_max(maps: Tensor) -> Tensor:
    """The largest value of each map: (n, c, h, w) -> (n, c)."""
    if maps.is_contiguous() or not maps.is_contiguous(memory_format=torch.channels_last):
        return maps.amax((2, 3))
    # Row by row: torch's own amax over both axes of a channels-last map is up to fifteen times slower on the CPU.
    n, c, h, w = maps.shape
    return maps.permute(0, 2, 3, 1).reshape(n, h, w * c).amax(1).view(n, w, c).amax(1)


def class_selectivity(class_means: Tensor) -> Tensor:
    """How much more a channel responds to its preferred class than to the others: (classes, channels) -> (channels,).

    (preferred - others) / (preferred + others) of the class means, from 0 (all equal) to 1 (one class alone);
    0 for an inactive channel. Morcos et al. 2018, section 2.2, with the largest activation of each image in place of
    its mean over space.
    """
    known = class_means[~class_means.isnan().any(1)].clamp(min=0)
    if len(known) < 2:
        return torch.zeros(class_means.shape[1])
    preferred = known.amax(0)
    others = (known.sum(0) - preferred) / (len(known) - 1)
    return (preferred - others) / (preferred + others).clamp(min=1e-12)


class _Running:
    """The largest activations of a layer over the batches so far, on the device."""

    def __init__(self, layer: Layer, k: int, classes: int, device: torch.device) -> None:
        shape = (k, layer.channels)
        self.width = layer.shape[2] if layer.spatial else 1
        self.value = torch.full(shape, -torch.inf, device=device)
        self.image = torch.full(shape, -1, device=device)
        self.unit = torch.zeros(shape, dtype=torch.long, device=device)
        self.active = torch.zeros(layer.channels, device=device)
        self.sums = torch.zeros(classes, layer.channels, device=device)
        self.counts = torch.zeros(classes, device=device)
        self.n = 0

    def add(self, output: Tensor, positions: Tensor, membership: Tensor | None) -> None:
        """positions: (b,) of the images. membership: (b, classes), 1 where an image is of a class."""
        maps = (
            output
            if output.ndim == 4
            else output.flatten(2)[..., None]
            if output.ndim > 2
            else output[..., None, None]
        )
        top = spatial_max(maps).float()
        self.n += len(top)
        self.active += (top > 0).sum(0)
        if membership is not None:
            # A product adds in the same order each time, which index_add_ on CUDA does not.
            self.sums += membership.T @ top.clamp(min=0)
            self.counts += membership.sum(0)
        value, rows = top.topk(min(len(self.value), len(top)), dim=0)
        # Only maps that enter are searched for the unit: after the first batches hardly any does.
        entering = ~(value <= self.value[-1])
        rank, channel = entering.nonzero(as_tuple=True)
        if not len(rank):
            return
        unit = torch.zeros_like(rows)
        unit[rank, channel] = maps[rows[rank, channel], channel].flatten(1).argmax(1)
        image = positions[rows]
        self.value, order = torch.cat([self.value, value]).topk(len(self.value), dim=0)
        self.image = torch.cat([self.image, image]).gather(0, order)
        self.unit = torch.cat([self.unit, unit]).gather(0, order)

    def result(self) -> TopActivations:
        k = min(len(self.value), self.n)
        unit = self.unit[:k].T.cpu()
        return TopActivations(
            value=self.value[:k].T.cpu(),
            image=self.image[:k].T.cpu(),
            row=unit // self.width,
            column=unit % self.width,
            n=self.n,
            positive=self.active.cpu(),
            class_sums=self.sums.cpu(),
            class_counts=self.counts.cpu(),
        )
