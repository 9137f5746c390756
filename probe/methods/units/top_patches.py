"""Which images drive each channel most, and where in them? One pass for all channels of all layers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from probe.data.images import Batch
from probe.device import to_device
from probe.errors import UserError
from probe.model.layers import Layer
from probe.model.model import Model
from probe.model.observer import observing, run_forward


@dataclass(frozen=True)
class Strongest:
    """The k images in which each channel of a layer answers most, strongest first, one unit an image.

    value: (channels, k) activations. image: (channels, k) positions in the data set. row, column: (channels, k)
    place of the unit in the map. active: (channels,) share of images with an activation above zero.
    by_class: (classes, channels) mean over the images of a class of a channel's largest activation, at least zero;
    nan for a class without images; None without labels. All on the CPU.
    """

    value: Tensor
    image: Tensor
    row: Tensor
    column: Tensor
    active: Tensor
    by_class: Tensor | None


def top_activations(
    model: Model, batches: Iterable[Batch], addresses: Sequence[str], *, k: int = 9
) -> dict[str, Strongest]:
    """Find the `k` images that drive each channel of each layer most, in one pass over `batches`.

    A layer without maps counts as maps of one unit. With fewer images than k, there are as many as images; of equal
    activations in different batches the earlier stays. Activations are reduced as they are heard and never kept:
    memory does not grow with the number of images.
    Raises UserError for an address that does not exist and for a network that answers NaN.

    Zeiler and Fergus 2014, section 4.1.
    """
    running = {a: _Running(model.layers.find(a), k, len(model.classes), model.device) for a in addresses}
    index, member = torch.empty(0, dtype=torch.long), None

    def hear(address: str, output: Tensor) -> None:
        running[address].add(output, index, member)

    for batch in batches:
        index = to_device(batch.positions, model.device)
        if batch.labels is not None:
            member = functional.one_hot(batch.labels, len(model.classes)).float()
        with torch.inference_mode(), observing(model.network, running, hear, stop=True):
            run_forward(model.network, model.normalise(batch.pixels))
    found = {address: one.result() for address, one in running.items()}
    for address, one in found.items():
        if bool(one.value.isnan().any()):
            raise UserError(
                f"{model.name} answers NaN in {address} on these images: there is no strongest patch"
            )
    return found


def spatial_max(maps: Tensor) -> Tensor:
    """The largest value of each map: (n, c, h, w) -> (n, c)."""
    if maps.is_contiguous() or not maps.is_contiguous(memory_format=torch.channels_last):
        return maps.amax((2, 3))
    # Row by row: torch's own amax over both axes of a channels-last map is up to fifteen times slower on the CPU.
    n, c, h, w = maps.shape
    return maps.permute(0, 2, 3, 1).reshape(n, h, w * c).amax(1).view(n, w, c).amax(1)


def selectivity(by_class: Tensor) -> Tensor:
    """How much more a channel answers to its favourite class than to the others: (classes, channels) -> (channels,).

    (favourite - others) / (favourite + others) of the mean answers, from 0 (alike) to 1 (to one class alone);
    0 for a channel that never answers. Morcos et al. 2018, section 2.2, with the largest answer of each image
    in place of its mean over space.
    """
    known = by_class[~by_class.isnan().any(1)].clamp(min=0)
    if len(known) < 2:
        return torch.zeros(by_class.shape[1])
    favourite = known.amax(0)
    others = (known.sum(0) - favourite) / (len(known) - 1)
    return (favourite - others) / (favourite + others).clamp(min=1e-12)


class _Running:
    """The strongest so far, on the device."""

    def __init__(self, layer: Layer, k: int, classes: int, device: torch.device) -> None:
        shape = (k, layer.channels)
        self.width = layer.shape[2] if layer.spatial else 1
        self.value = torch.full(shape, -torch.inf, device=device)
        self.image = torch.full(shape, -1, device=device)
        self.place = torch.zeros(shape, dtype=torch.long, device=device)
        self.active = torch.zeros(layer.channels, device=device)
        self.sums = torch.zeros(classes, layer.channels, device=device)
        self.counts = torch.zeros(classes, device=device)
        self.seen = 0

    def add(self, output: Tensor, index: Tensor, member: Tensor | None) -> None:
        """index: (b,) positions of the images. member: (b, classes), 1 where an image is of a class."""
        maps = (
            output
            if output.ndim == 4
            else output.flatten(2)[..., None]
            if output.ndim > 2
            else output[..., None, None]
        )
        top = spatial_max(maps).float()
        self.seen += len(top)
        self.active += (top > 0).sum(0)
        if member is not None:
            # A product adds in the same order each time, which index_add_ on CUDA does not.
            self.sums += member.T @ top.clamp(min=0)
            self.counts += member.sum(0)
        value, rows = top.topk(min(len(self.value), len(top)), dim=0)
        # Only the maps that enter are searched for the place: after the first batches hardly any does.
        entering = ~(value <= self.value[-1])
        rank, channel = entering.nonzero(as_tuple=True)
        if not len(rank):
            return
        place = torch.zeros_like(rows)
        place[rank, channel] = maps[rows[rank, channel], channel].flatten(1).argmax(1)
        image = index[rows]
        self.value, order = torch.cat([self.value, value]).topk(len(self.value), dim=0)
        self.image = torch.cat([self.image, image]).gather(0, order)
        self.place = torch.cat([self.place, place]).gather(0, order)

    def result(self) -> Strongest:
        k = min(len(self.value), self.seen)
        place = self.place[:k].T.cpu()
        known = bool(self.counts.any())
        return Strongest(
            value=self.value[:k].T.cpu(),
            image=self.image[:k].T.cpu(),
            row=place // self.width,
            column=place % self.width,
            active=(self.active / max(1, self.seen)).cpu(),
            by_class=(self.sums / self.counts[:, None]).cpu() if known else None,
        )
