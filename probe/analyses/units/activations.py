"""Activation maps of the layers, the proportion of zeros in them and dead channels."""

import numpy as np
import torch
from pydantic import Field

from probe.analyses.analysis import Analysis
from probe.analyses.job import Job
from probe.analyses.units import activations_exhibits as show
from probe.data.images import Images
from probe.exhibits.result import Number, Result
from probe.methods.inspection.responses import Response, responses
from probe.model.layer_kinds import ACTIVATIONS
from probe.model.layers import Layer
from probe.model.model import Model
from probe.params import Names

_SHOWN_LAYERS = 5
_MEASURED_LAYERS = 40


class Activations(Analysis):
    """What are the activations of the layers, and how many channels are dead?"""

    name = "activations"
    title = "Activations"
    source = "Zeiler & Fergus 2014, arXiv 1311.2901; Lu et al. 2020, arXiv 1903.06733 (dead units)"
    headlines = ("dead_channels",)

    layers: Names = Field(
        (), description="layers to show (default: up to five, spread from the first to the last)"
    )
    examples: int = Field(
        3,
        ge=1,
        le=20,
        description="number of images whose feature maps are shown, from different classes if possible",
    )
    channels: int = Field(
        10,
        ge=1,
        le=64,
        description="number of channels shown per layer, those with the largest activations first",
    )
    max_images: int = Field(
        512,
        ge=1,
        le=100_000,
        description="maximum number of images on which zeros and dead channels are counted",
    )

    def run(self, model: Model, images: Images, job: Job) -> Result:
        shown, measured = self._layers(model)
        sample = images.take(self.max_images)
        size = model.batch(gradient=True)
        batches = job.progress(sample.batches(size, model.device), "activations", -(-len(sample) // size))
        measurements = responses(model, batches, measured)

        examples = images.select(_of_different_classes(images, self.examples))
        pixels = examples.pixels(model.device)
        with torch.inference_mode():
            maps = model.features(pixels, *[layer.address for layer in shown])
        exhibits = [
            show.maps(
                layer,
                maps[layer.address].float().cpu().numpy(),
                pixels,
                _names(examples),
                measurements[layer.address],
                self.channels,
            )
            for layer in shown
        ]
        return Result(
            exhibits=[*exhibits, *show.depth(measurements, len(sample))],
            numbers=_numbers(measurements, len(sample)),
            warnings=show.warnings(measurements, len(sample)),
        )

    def _layers(self, model: Model) -> tuple[list[Layer], list[str]]:
        """The layers to show, and the addresses of those to measure in the order of the network."""
        nonlinear = [layer for layer in model.layers.of_kind(*ACTIVATIONS) if layer.leaf and layer.shape] or [
            layer for layer in model.layers if layer.leaf and layer.kind in ("Conv2d", "Linear")
        ]
        maps = [layer for layer in nonlinear if layer.spatial and layer.shape[1] > 1]
        shown = [model.layers.find(address) for address in dict.fromkeys(self.layers)]
        shown = shown or _spread(maps or model.layers.maps or nonlinear, _SHOWN_LAYERS)
        measured = {layer.address for layer in [*shown, *_spread(nonlinear, _MEASURED_LAYERS)]}
        return shown, [layer.address for layer in model.layers if layer.address in measured]


def _numbers(measurements: dict[str, Response], n: int) -> dict[str, Number]:
    dead, channels = show.count_dead(measurements)
    count = sum(response.count for response in measurements.values())
    zeros = sum(response.zeros * response.count for response in measurements.values()) / count
    return {
        "dead_channels": Number(value=dead / channels, label="dead channels", n=channels, format="{:.1%}"),
        "zeros": Number(value=zeros, label="activations that are zero", n=n, format="{:.0%}"),
    }


def _spread(layers: list[Layer], count: int) -> list[Layer]:
    """`count` of the layers, evenly from the first to the last."""
    indices = np.unique(np.linspace(0, len(layers) - 1, min(count, len(layers))).round().astype(int))
    return [layers[index] for index in indices]


def _of_different_classes(images: Images, count: int) -> list[int]:
    """Positions of `count` images: the first of each class in turn, then the first of the remaining ones."""
    if images.labels is None:
        return list(range(min(count, len(images))))
    labels = images.labels.numpy()
    firsts = np.sort(np.unique(labels, return_index=True)[1])[:count].tolist()
    rest = (position for position in range(len(labels)) if position not in set(firsts))
    return firsts + [position for position, _ in zip(rest, range(count - len(firsts)), strict=False)]


def _names(images: Images) -> list[str]:
    if images.labels is None or images.classes is None:
        return [str(name) for name in images.ids]
    return [images.classes[label] for label in images.labels.tolist()]
