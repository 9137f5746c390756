"""What do the layers answer to an image, and which channels never do?"""

import numpy as np
import torch
from pydantic import Field

from probe.analyses.analysis import Analysis
from probe.analyses.job import Job
from probe.analyses.units import activations_exhibits as parts
from probe.data.images import Images
from probe.exhibits.result import Number, Result
from probe.model.layer_kinds import ACTIVATIONS
from probe.model.layers import Layer
from probe.model.model import Model
from probe.params import Names

_HANDFUL = 5
_MEASURED = 40


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

    def run(self, model: Model, images: Images, job: Job) -> Result:
        bent = [one for one in model.layers.of_kind(*ACTIVATIONS) if one.leaf and one.shape] or [
            one for one in model.layers if one.leaf and one.kind in ("Conv2d", "Linear")
        ]
        chosen = [model.layers.find(address) for address in dict.fromkeys(self.layers)] or _spread(
            [one for one in bent if one.spatial and one.shape[1] > 1] or model.layers.maps or bent, _HANDFUL
        )
        order = {layer.address: place for place, layer in enumerate(model.layers)}
        counted = sorted({one.address for one in [*chosen, *_spread(bent, _MEASURED)]}, key=order.__getitem__)
        sample = images.take(self.sample)
        found = parts.responses(model, sample, counted, job)

        shown = images.select(_different(images, self.pictures))
        pixels = shown.pixels(model.device)
        with torch.inference_mode():
            seen = model.features(pixels, *[layer.address for layer in chosen])
        heads = _names(shown)
        faces = [picture.permute(1, 2, 0).cpu().numpy() for picture in pixels]
        exhibits = [
            parts.maps(
                layer,
                seen[layer.address].float().cpu().numpy(),
                faces,
                heads,
                found[layer.address],
                most=self.channels,
            )
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
            exhibits=[*exhibits, *parts.health(found, len(sample))],
            numbers={
                "dead channels": Number(value=gone / total, n=total, format="{:.1%}"),
                "share of zeros": Number(value=zeros, n=len(sample), format="{:.0%}"),
            },
            warnings=warnings,
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
