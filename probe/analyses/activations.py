"""What do the layers answer to an image, and which channels never do?"""

from dataclasses import dataclass

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from probe.analyses.analysis import Analysis, Job
from probe.data.images import Images
from probe.exhibits.exhibits import Array, Cell, Chart, Exhibit, Line, Matrix, Pictures, Scale, Table
from probe.exhibits.result import Number, Result
from probe.methods.bends import BENT
from probe.params import Names
from probe.subject.layers import Layer
from probe.subject.subject import Subject

_HANDFUL = 5
_MEASURED = 40


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


def responses(subject: Subject, images: Images, addresses: list[str], job: Job) -> dict[str, Response]:
    """Each layer's Response over all `images`, in one pass that keeps no activation."""
    size = subject.batch(gradient=True)
    low: dict[str, Tensor] = {}
    high: dict[str, Tensor] = {}
    zeros: dict[str, Tensor] = {}
    count = dict.fromkeys(addresses, 0)
    batches = job.progress(images.batches(size, subject.device), "activations", -(-len(images) // size))
    with torch.inference_mode():
        for batch in batches:
            for address, seen in subject.features(batch.pixels, *addresses).items():
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


class Activations(Analysis):
    """What do the layers answer to an image, and how many channels never answer?"""

    name = "activations"
    title = "Activations"
    source = "Zeiler & Fergus 2014, arXiv 1311.2901; Lu et al. 2020, arXiv 1903.06733 (dead units)"

    layers: Names = Field((), description="layers to show (default: a handful from the first to the last)")
    pictures: int = Field(
        3, ge=1, le=20, description="images to show maps for, of different classes where there are"
    )
    channels: int = Field(10, ge=1, le=64, description="channels to show of a layer, the strongest first")
    sample: int = Field(
        512, ge=1, le=100_000, description="images over which zeros and dead channels are counted"
    )

    def run(self, subject: Subject, images: Images, job: Job) -> Result:
        bent = [one for one in subject.layers.of_kind(*BENT) if one.leaf and one.shape] or [
            one for one in subject.layers if one.leaf and one.kind in ("Conv2d", "Linear")
        ]
        chosen = [subject.layers.find(address) for address in dict.fromkeys(self.layers)] or _spread(
            [one for one in bent if one.spatial and one.shape[1] > 1] or subject.layers.maps or bent, _HANDFUL
        )
        order = {layer.address: place for place, layer in enumerate(subject.layers)}
        counted = sorted({one.address for one in [*chosen, *_spread(bent, _MEASURED)]}, key=order.__getitem__)
        sample = images.take(self.sample)
        found = responses(subject, sample, counted, job)

        shown = images.select(_different(images, self.pictures))
        pixels = shown.pixels(subject.device)
        with torch.inference_mode():
            seen = subject.features(pixels, *[layer.address for layer in chosen])
        heads = _names(shown)
        faces = [picture.permute(1, 2, 0).cpu().numpy() for picture in pixels]
        exhibits = [
            self._layer(layer, seen[layer.address].float().cpu().numpy(), faces, heads, found[layer.address])
            for layer in chosen
        ]
        dead = {address: float(response.dead.float().mean()) for address, response in found.items()}
        total = sum(len(response.dead) for response in found.values())
        gone = sum(int(response.dead.sum()) for response in found.values())
        values = sum(response.count for response in found.values())
        zeros = sum(response.zeros * response.count for response in found.values()) / values
        warnings = [
            f"{share:.0%} of the channels of {address} never change over {len(sample)} images."
            for address, share in dead.items()
            if share > 0.3
        ]
        if len(sample) < 100:
            warnings.append(
                f"Only {len(sample)} image{'s' if len(sample) > 1 else ''}: a channel that looks dead may answer to others."
            )
        return Result(
            exhibits=[*exhibits, *_health(found, len(sample))],
            numbers={
                "dead channels": Number(value=gone / total, n=total, format="{:.1%}"),
                "share of zeros": Number(value=zeros, n=len(sample), format="{:.0%}"),
            },
            warnings=warnings,
        )

    def _layer(
        self, layer: Layer, seen: Array, faces: list[Array], heads: list[str], response: Response
    ) -> Exhibit:
        """Maps of the channels that respond most, image by image, beside the image itself."""
        strength = np.abs(seen).reshape(*seen.shape[:2], -1).max((0, 2))
        order = np.argsort(-strength, kind="stable")[: self.channels]
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
            f"The {len(order)} of {layer.channels} {what} of {layer.address} that respond most to these images, strongest "
            f"first: {order[0]} reaches {strength[order[0]]:.3g}, the median {what[:-1]} {np.median(strength):.3g}. "
            f"{response.zeros:.0%} of the layer's values are 0, {dead} {what if dead != 1 else what[:-1]} "
            f"never change{'' if dead != 1 else 's'}."
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
        return Pictures(
            title=f"Maps of {layer.address}",
            caption=finding
            + f" Maps are {layer.shape[1]} x {layer.shape[2]}, on a scale of this layer alone.",
            images=[one for face, maps in zip(faces, top, strict=True) for one in (face, *maps)],
            columns=len(order) + 1,
            column_heads=["image", *(str(channel) for channel in order)],
            row_heads=heads,
            scale=scale,
        )


def _spread(layers: list[Layer], count: int) -> list[Layer]:
    """`count` of the layers, evenly from the first to the last."""
    places = np.unique(np.linspace(0, len(layers) - 1, min(count, len(layers))).round().astype(int))
    return [layers[place] for place in places]


def _different(images: Images, count: int) -> list[int]:
    """Positions of `count` images: the first of each class in turn, then the first that are left."""
    if images.labels is None:
        return list(range(min(count, len(images))))
    labels = images.labels.numpy()
    firsts = np.sort(np.unique(labels, return_index=True)[1])[:count].tolist()
    rest = (place for place in range(len(labels)) if place not in set(firsts))
    return firsts + [place for place, _ in zip(rest, range(count - len(firsts)), strict=False)]


def _names(images: Images) -> list[str]:
    if images.labels is None or images.classes is None:
        return [str(name) for name in images.ids]
    return [images.classes[label] for label in images.labels.tolist()]


def _health(found: dict[str, Response], n: int) -> list[Exhibit]:
    addresses = list(found)
    zeros = np.array([found[address].zeros for address in addresses])
    dead = np.array([float(found[address].dead.float().mean()) for address in addresses])
    gone = sum(int(response.dead.sum()) for response in found.values())
    worst = addresses[int(dead.argmax())]
    where = f" ({worst} has most, {dead.max():.0%})" if gone else ""
    caption = (
        f"From {addresses[0]} to {addresses[-1]} the share of zeros goes from {zeros[0]:.0%} to {zeros[-1]:.0%}; {gone} of "
        f"{sum(len(r.dead) for r in found.values()):,} channels are dead{where}: over {n:,} images they never change."
    )
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
        caption=f"Over {n:,} images. The largest response of a channel differs from channel to channel: its median over the "
        f"channels of {addresses[-1]} is {float(last.high.median()):.3g}, the largest {float(last.high.max()):.3g}.",
        columns=["layer", "channels", "zeros", "dead", "least", "median of the largest", "largest"],
        rows=rows,
        formats={
            "zeros": "{:.0%}",
            "least": "{:.3g}",
            "median of the largest": "{:.3g}",
            "largest": "{:.3g}",
        },
    )
    return [chart, table] if len(addresses) > 1 else [table]
