"""Which image raises a class or a channel most?"""

from typing import Literal
from zlib import crc32

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from probe.analyses.analysis import Analysis
from probe.analyses.job import Job
from probe.analyses.synthesis.maximise_exhibits import Found
from probe.data.images import Images
from probe.errors import UserError, unknown
from probe.exhibits.result import Result
from probe.methods.synthesis.evaluation import confidence_under_transforms, dataset_maxima
from probe.methods.synthesis.objectives import LOGITS, Channel, Logit, LogProbability
from probe.methods.synthesis.optimise import Adam, Optimised, Schedule, optimise
from probe.methods.synthesis.parametrisation import Fourier, Parametrisation, Pixels, mean_and_covariance
from probe.methods.synthesis.transforms import RandomAffine
from probe.model.layer_kinds import pre_activation_layer
from probe.model.model import Model
from probe.params import Fraction, Names


class Maximise(Analysis):
    """Which image does the network answer to most, for each class or for channels of a layer?"""

    name = "maximise"
    title = "Activation maximisation"
    source = "Olah et al. 2017, Feature Visualization; Simonyan et al. 2014, arXiv 1312.6034"
    quick = {"count": 4, "steps": 24}

    layer: str = Field("", description="layer whose channels are maximised (default: the classes)")
    units: Names = Field(
        (), description="classes by name or number, or channels by number (default: a spread)"
    )
    count: int = Field(10, ge=1, le=512, description="how many units, where none are named")
    steps: int = Field(128, ge=1, le=5000, description="steps of the ascent")
    rate: float = Field(
        0, ge=0, le=1, description="step length (Adam); 0: 0.05, and 0.02 for images above 96 pixels"
    )
    canvas: Literal["fourier", "pixels"] = Field(
        "fourier",
        description="what is changed: Fourier coefficients as natural images have them, or bare pixels",
    )
    decay: float = Field(
        1.0,
        ge=0,
        le=3,
        description="Fourier: power of the frequency that coefficients fall with (larger: smoother)",
    )
    moves: Fraction = Field(
        1.0,
        ge=0,
        le=5,
        description="how far the image is moved at each step; 0: not, 1: 3 pixels and 10 degrees at 32 pixels",
    )

    def run(self, model: Model, images: Images, job: Job) -> Result:
        layer = pre_activation_layer(model, self.layer) if self.layer else LOGITS
        units, names = self._units(model)
        best, where = dataset_maxima(model, images, layer)
        canvas = self._canvas(model, images)
        transforms = RandomAffine.for_side(min(model.shape[1:]), self.moves) if self.moves else None
        schedule = Schedule(self.steps, transforms)
        base = job.seed()
        seeds = [base ^ crc32(f"{layer}:{unit}".encode()) for unit in units.tolist()]
        parts: list[Optimised] = []
        size = model.batch(gradient=True)
        for start in range(0, len(units), size):
            some = units[start : start + size]
            parts.append(
                optimise(
                    model,
                    Channel(layer, some) if layer else Logit(some) + LogProbability(some),
                    canvas,
                    schedule,
                    start=seeds[start : start + size],
                    step=Adam(self.rate or default_lr(model)),
                    progress=lambda steps: job.progress(steps, "maximise", self.steps),
                )
            )
        pixels = torch.cat([part.pixels for part in parts])
        history = torch.cat([part.history for part in parts], 1).cpu()
        dead = torch.cat([part.dead for part in parts]).cpu()
        best, where = best[units], where[units]
        found = Found(self, model, layer, names, units, pixels, best, dead)
        if layer == LOGITS:
            fresh = confidence_under_transforms(
                model, pixels, units, RandomAffine.for_side(min(model.shape[1:])), job.rng
            )
            result = found.classes(fresh)
        else:
            result = found.channels()
        return Result(
            exhibits=[*result.exhibits, found.nearest(images.select(where)), found.ascent(history)],
            numbers=result.numbers,
            warnings=result.warnings,
        )

    def _units(self, model: Model) -> tuple[Tensor, list[str]]:
        """The numbers of the units, and what they are called."""
        if self.layer:
            total, names = model.layers.find(self.layer).channels, None
        else:
            total, names = len(model.classes), model.classes
        if self.units:
            numbers = [_number(text, total, names, self.layer) for text in self.units]
        else:
            numbers = np.unique(
                np.linspace(0, total - 1, min(self.count, total)).round().astype(int)
            ).tolist()
        return torch.tensor(numbers), [names[i] if names else f"channel {i}" for i in numbers]

    def _canvas(self, model: Model, images: Images) -> Parametrisation:
        if self.canvas == "pixels":
            return Pixels(model.shape)
        mean, covariance = mean_and_covariance(
            batch.pixels for batch in images.batches(model.batch(), model.device)
        )
        colours = covariance if model.shape[0] > 1 else None
        # A class has its place in the image, and where the data are always black it has none; a channel has every place.
        mean_image = mean.mean((1, 2), keepdim=True) if self.layer else mean
        return Fourier(model.shape, covariance=colours, mean_image=mean_image, decay_power=self.decay)


def default_lr(model: Model) -> float:
    """The step length for images of this size.

    0.05 drives SqueezeNet's 227 pixels into pure colours, in which little can be recognised, to logits 50 times those of
    the data; at 0.02 dogs and arches are seen. At 64 pixels 0.02 leaves a class of vgg-shapes short of the data.
    """
    return 0.05 if max(model.shape[1:]) <= 96 else 0.02


def _number(text: str, total: int, names: tuple[str, ...] | None, layer: str) -> int:
    if names and text in names:
        return names.index(text)
    if text.isdigit() and int(text) < total:
        return int(text)
    if names and not text.isdigit():
        raise unknown("class", text, names)
    what = f"layer {layer} has {total} channels" if layer else f"the network has {total} classes"
    raise UserError(f"{what}, 0 to {total - 1}: there is no {text!r}")
