"""What layers answered, measured in one pass and shown: maps, zeros over depth, a table."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from probe.analyses.job import Job
from probe.data.images import Images
from probe.exhibits.exhibits import Array, Cell, Chart, Exhibit, ImageGrid, Line, Matrix, Scale, Table
from probe.exhibits.wording import counted
from probe.model.layers import Layer
from probe.model.model import Model


@dataclass
class Response:
    """What a layer answered to many images. low, high: (channels,) least and largest value of each channel.

    zeros: share of values that are exactly 0. count: values seen.
    """

    low: Tensor
    high: Tensor
    zeros: float
    count: int

    @property
    def dead(self) -> Tensor:
        """(channels,) whether a channel had one and the same value everywhere, in every image."""
        return self.low == self.high


def responses(model: Model, images: Images, addresses: list[str], job: Job) -> dict[str, Response]:
    """Each layer's Response over all `images`, in one pass that keeps no activation."""
    size = model.batch(gradient=True)
    low: dict[str, Tensor] = {}
    high: dict[str, Tensor] = {}
    zeros: dict[str, Tensor] = {}
    count = dict.fromkeys(addresses, 0)
    batches = job.progress(images.batches(size, model.device), "activations", -(-len(images) // size))
    with torch.inference_mode():
        for batch in batches:
            for address, seen in model.features(batch.pixels, *addresses).items():
                flat = seen.flatten(2).movedim(1, 0).flatten(1) if seen.ndim > 2 else seen.T
                least, most = flat.aminmax(dim=1)
                low[address] = torch.minimum(low.get(address, least), least)
                high[address] = torch.maximum(high.get(address, most), most)
                zeros[address] = zeros.get(address, 0) + (seen == 0).sum()
                count[address] += seen.numel()
    return {
        address: Response(
            low[address].cpu(), high[address].cpu(), int(zeros[address]) / count[address], count[address]
        )
        for address in addresses
    }


def maps(
    layer: Layer, seen: Array, faces: list[Array], heads: list[str], response: Response, *, most: int
) -> Exhibit:
    """Maps of the channels that respond most, image by image, beside the image itself."""
    strength = np.abs(seen).reshape(*seen.shape[:2], -1).max((0, 2))
    order = np.argsort(-strength, kind="stable")[:most]
    top = seen[:, order]
    low, high = float(top.min()), float(top.max())
    limit = max(abs(low), abs(high), 1e-12)
    scale = (
        Scale(low=0, high=max(high, 1e-12), kind="sequential", label="activation")
        if low >= 0
        else Scale(low=-limit, high=limit, kind="diverging", label="activation")
    )
    dead = int(response.dead.sum())
    what = "channels" if layer.spatial else "units"
    finding = (
        f"{_which(len(order), layer, what)}: {order[0]} reaches {strength[order[0]]:.3g}, the median {what[:-1]} "
        f"{np.median(strength):.3g}. "
        f"{response.zeros:.0%} of the layer's values are 0, {dead} {what if dead != 1 else what[:-1]} "
        f"never change{'' if dead != 1 else 's'} over the sample."
    )
    if not layer.spatial:
        return Matrix(
            title=f"Units of {layer.address}",
            caption=finding,
            values=top.reshape(len(seen), len(order), -1).mean(2),
            row_labels=heads,
            column_labels=[str(unit) for unit in order],
            row_title="image",
            column_title="unit",
            scale=scale,
        )
    return ImageGrid(
        title=f"Maps of {layer.address}",
        caption=finding + f" Maps are {layer.shape[1]} x {layer.shape[2]}, on a scale of this layer alone.",
        images=[one for face, maps in zip(faces, top, strict=True) for one in (face, *maps)],
        columns=len(order) + 1,
        column_headers=["image", *(str(channel) for channel in order)],
        row_headers=heads,
        scale=scale,
    )


def health(found: dict[str, Response], n: int) -> list[Exhibit]:
    """Zeros and dead channels layer by layer, drawn where there are any; and a table of all that was measured."""
    addresses = list(found)
    zeros = np.array([found[address].zeros for address in addresses])
    dead = np.array([float(found[address].dead.float().mean()) for address in addresses])
    gone = sum(int(response.dead.sum()) for response in found.values())
    worst = addresses[int(dead.argmax())]
    where = f" ({worst} has most, {dead.max():.0%})" if gone and len(found) > 1 else ""
    total = sum(len(r.dead) for r in found.values())
    if gone:
        never = "is dead{}: it never changes" if gone == 1 else "are dead{}: they never change"
        said = f"{gone} of {total:,} channels {never.format(where)} over {counted(n)}."
    else:
        said = f"None of {total:,} channels is dead: each changes over {counted(n)}."
    caption = f"From {addresses[0]} to {addresses[-1]} the share of zeros goes from {zeros[0]:.0%} to {zeros[-1]:.0%}. {said}"
    place = np.arange(len(addresses))
    chart = Chart(
        title="Zeros and dead channels over depth",
        caption=caption,
        lines=[Line(name="zeros", x=place, y=zeros), Line(name="dead channels", x=place, y=dead)],
        x_label="layer, in the order of the network",
        y_label="share",
        kind="bar" if len(addresses) <= 20 else "line",
        y_range=(0, 1),
        ticks=addresses if len(addresses) <= 20 else [],
    )
    rows: list[list[Cell]] = [
        [
            address,
            len(r.dead),
            r.zeros,
            int(r.dead.sum()),
            float(r.low.min()),
            float(r.high.median()),
            float(r.high.max()),
        ]
        for address, r in found.items()
    ]
    last = found[addresses[-1]]
    table = Table(
        title="Responses of each layer",
        caption=f"{said} The highest response of a channel, its peak, differs from channel to channel: its median "
        f"over the channels of {addresses[-1]} is {float(last.high.median()):.3g}, the highest {float(last.high.max()):.3g}.",
        columns=["layer", "channels", "zeros", "dead", "least", "median peak", "highest peak"],
        rows=rows,
        formats={
            "zeros": "{:.0%}",
            "least": "{:.3g}",
            "median peak": "{:.3g}",
            "highest peak": "{:.3g}",
        },
    )
    return [chart, table] if len(addresses) > 1 and (zeros.any() or gone) else [table]


def _which(shown: int, layer: Layer, what: str) -> str:
    if layer.channels == 1:
        return f"The only {what[:-1]} of {layer.address}"
    if shown == layer.channels:
        return f"All {shown} {what} of {layer.address}, strongest first"
    if shown == 1:
        return f"The one of {layer.channels} {what} of {layer.address} that responds most to these images"
    return f"The {shown} of {layer.channels} {what} of {layer.address} that respond most to these images, strongest first"
